//! The security ledger: what went wrong in other servers of this kind, one test for each lesson, named by its line.
//! What is about stored state runs on every store.
//!
//! Lines 5, 7, 22 to 24 and 26 have tests in `tests/identity` too, where identity sources are. These lines have no test yet:
//!
//! | line | why |
//! | --- | --- |
//! | 6 | there is no JWT grant; the gate that it bypassed is tested for every grant there is in line 8 |
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
