//! The security ledger: what went wrong in other servers of this kind, one test for each lesson, named by its line.
//! What is about stored state runs on every store.
//!
//! These lines have no test here yet:
//!
//! | line | why |
//! | --- | --- |
//! | 5 | no grant accepts a JWT, so there is no algorithm to confuse; unsigned ones are among the malformed requests |
//! | 6 | there is no JWT grant; the gate that it bypassed is tested for every grant there is in line 8 |
//! | 7, 23, 24 | there are no upstream identity providers, hence no callbacks of theirs |
//! | 9 | there is no jwt-bearer grant to skip the consent with |
//! | 27 | there is no SAML |
//! | 29 | clients have secrets, not keys: there is no `jti` to replay |
//! | 31 | there are no magic links; user codes are line 39, and what is decided twice is in `races.rs` |
//! | 32 | there is no SCIM and no LDAP; depth and length of bodies are among the malformed requests |
//! | 34 | no web identity tokens are issued |
//!
//! Two have a part elsewhere: that state outlives `kill -9` (2) and that `doorward dev` listens on loopback alone and
//! says what it is (37) is tested on the real program.

mod apart;
mod browsers;
mod clients;
mod development;
mod limits;
mod sessions;
mod sockets;
