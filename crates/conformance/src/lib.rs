//! What clients rely on: all of it is in `tests/`.
