//! People who sign in through an identity source, in front of a provider that says whatever a test wants.
//!
//! `sign_in` is the way there and back, `anew` the same for whoever must prove it again, `refusals` who must not come in by it, and `recheck` what follows when the source
//! says something else later, or nothing.

mod anew;
mod recheck;
mod refusals;
mod sign_in;
mod world;
