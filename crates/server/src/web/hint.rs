//! ID tokens that come back: `id_token_hint` (OpenID Connect Core 1.0 section 3.1.2.1, RP-Initiated Logout 1.0 section 2).

use doorward_core::ids::{PersonId, SessionId};
use doorward_core::store::Outage;
use serde_json::Value;

use crate::app::App;

/// What an ID token of this server says. It may have expired long ago.
pub(super) struct Hint {
    /// `sub`.
    pub(super) person: PersonId,
    /// `aud`: the client ids.
    pub(super) clients: Vec<String>,
    /// `sid`: the browser in which its person signed in.
    pub(super) browser: Option<SessionId>,
}

impl Hint {
    /// Reads an ID token; `None` for anything that this server did not sign as one.
    pub(super) async fn read(app: &App, token: &str) -> Result<Option<Self>, Outage> {
        let claims = app.signing.verify_jwt("JWT", token).await?;
        Ok(claims.and_then(|claims| Self::of(&claims, app.site.base())))
    }

    fn of(claims: &Value, issuer: &str) -> Option<Self> {
        let text = |name: &str| claims.get(name)?.as_str();
        if text("iss") != Some(issuer) {
            return None;
        }
        let clients = match claims.get("aud")? {
            Value::String(one) => vec![one.clone()],
            Value::Array(several) => {
                several.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>()?
            }
            _ => return None,
        };
        let browser = text("sid").and_then(|sid| sid.parse().ok());
        Some(Self { person: PersonId::parse(text("sub")?).ok()?, clients, browser })
    }

    /// Whether it was made for this client.
    pub(super) fn is_for(&self, client_id: &str) -> bool {
        self.clients.iter().any(|client| client == client_id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // Holds: rp-initiated-logout-2-hint-validated
    #[test]
    fn only_what_this_server_says_of_a_person_is_a_hint() {
        let issuer = "https://sso.example";
        let claims = json!({"iss": issuer, "sub": "ada", "aud": ["web"], "sid": "0f".repeat(16)});
        let hint = Hint::of(&claims, issuer).unwrap();
        assert_eq!((hint.person.as_str(), hint.browser), ("ada", Some(SessionId::from_bytes([15; 16]))));
        assert!(hint.is_for("web") && !hint.is_for("we"));
        for (name, value) in [("iss", json!("https://other.example")), ("sub", json!(7)), ("aud", json!([7]))]
        {
            let mut wrong = claims.clone();
            wrong[name] = value;
            assert!(Hint::of(&wrong, issuer).is_none(), "{name}");
        }
    }
}
