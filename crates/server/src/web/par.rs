//! Pushed authorization requests (RFC 9126).

use doorward_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::authorize::request::Request;
use crate::app::App;
use crate::tokens::About;

/// What every `request_uri` of ours begins with (RFC 9126 section 2.2); what follows is the request, sealed.
pub(crate) const REQUEST_URI_PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// A request that was pushed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Pushed {
    pub(crate) request: Request,
    pub(crate) expires_at: Timestamp,
}

impl Pushed {
    /// Reads what follows [`REQUEST_URI_PREFIX`].
    pub(crate) fn open(app: &App, sealed: &str) -> Option<Self> {
        app.tokens.asked(About::Pushed, sealed)
    }
}
