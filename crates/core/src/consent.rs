//! What people agreed to: which application may have which scopes without asking again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::ApplicationId;
use crate::scope::Scopes;
use crate::time::Timestamp;

/// What one person agreed to, by application.
pub type Consents = BTreeMap<ApplicationId, Consent>;

/// What one person agreed to for one application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The scopes, of all times that the person was asked.
    pub scopes: Scopes,
    /// The resources beside the application's own (RFC 8707).
    pub audiences: Vec<String>,
    /// When the person agreed last.
    pub given_at: Timestamp,
}
