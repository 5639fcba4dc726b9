//! The OAuth 2.0 and OpenID Connect shapes: form-encoded requests, JSON answers.

pub mod authorization;
pub mod device;
pub mod fault;
pub mod form;
pub mod metadata;
pub mod token;
