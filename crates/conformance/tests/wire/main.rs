//! The testable wire behaviours of the specification, T01 to T66, T71 and T72, one test each. What only the AWS CLI
//! itself can show (T67 to T70) is in `tests/e2e`.

mod authorize;
mod brokers;
mod device;
mod metadata;
mod portal;
mod protocol;
mod registration;
mod tokens;
