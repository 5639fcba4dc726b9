//! Doorward in-process, for tests: the real server, and people and tools that use it.
//!
//! [`Kit`] is the server behind its own routing table, with a clock that only a test moves. [`Browser`] is a person
//! in front of it, and the methods of [`Kit`] that begin with a verb of the API are a tool. Nothing here knows a
//! secret way in: every answer came from the server itself.
//!
//! A test that goes wrong here panics with what the server said.

mod answer;
mod applications;
mod body;
mod browser;
mod directory;
mod flows;
mod form;
mod kit;
mod logs;
mod store;
mod verifier;

pub use answer::Answer;
pub use applications::{
    API, APPLICATION_REDIRECT_URI, Application, OTHER_API, OTHER_WEB, SPA, WEB, add_applications,
    form_request,
};
pub use body::{Ending, chunked};
pub use browser::{Browser, Choice};
pub use directory::large_directory;
pub use flows::{Client, Device, Pkce, REDIRECT_URI, STATE, Tokens, json_request};
pub use form::Form;
pub use kit::{ADDRESS, Kit, START, Setup, on_every_store};
pub use logs::{Capture, Logs, capture_logs};
pub use store::WatchedStore;
pub use verifier::Verifier;
