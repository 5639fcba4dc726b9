//! What was answered holds, whatever is killed: all of it is in `tests/`.
