//! What the tokens of this server say to applications: access tokens (RFC 9068) and ID tokens (OpenID Connect Core 1.0
//! section 2).

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use doorward_core::assignment::{Principal, Standing};
use doorward_core::grant::{AccessOnly, Subject, TokenRequest};
use doorward_core::ids::SessionId;
use doorward_core::refusal::Refusal;
use doorward_core::scope::Scopes;
use doorward_core::secret;
use doorward_core::session::{Terms, auth_time};
use doorward_core::signing_key::SigningAlgorithm;
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use doorward_core::verdict::Issued;
use serde::{Deserialize, Serialize};

use super::client::Authenticated;
use crate::app::App;
use crate::op::{Caller, Failure};

/// `typ` of an access token (RFC 9068 section 2.1): nothing else that this server signs can pass for one.
pub(crate) const ACCESS_TOKEN_TYPE: &str = "at+jwt";
/// `typ` of an ID token.
pub(crate) const ID_TOKEN_TYPE: &str = "JWT";

/// `aud`: a string when there is one, since some verifiers read no list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    pub(crate) fn of(mut audiences: Vec<String>) -> Self {
        if audiences.len() == 1 { Self::One(audiences.remove(0)) } else { Self::Several(audiences) }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
        .iter()
        .map(String::as_str)
    }

    pub(crate) fn contains(&self, audience: &str) -> bool {
        self.iter().any(|one| one == audience)
    }
}

/// `cnf` (RFC 7800 section 3.1): the key that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confirmation {
    /// The thumbprint of the key, as base64url (RFC 9449 section 6.1).
    pub(crate) jkt: String,
}

/// `act` (RFC 8693 section 4.1): who acts for the subject, and for whom that one acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Actor {
    pub(crate) sub: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) act: Option<Box<Actor>>,
}

/// The claims of an access token for applications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessClaims {
    pub(crate) iss: String,
    /// The person's user name, or the client id of an application that acts for itself.
    pub(crate) sub: String,
    pub(crate) aud: Audience,
    /// Seconds since the Unix epoch, as the two below.
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) jti: String,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) auth_time: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acr: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) amr: Vec<String>,
    /// The session that the token came from and dies with; none for an application that acts for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cnf: Option<Confirmation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) act: Option<Actor>,
}

impl Actor {
    /// These act, the last one first.
    pub(crate) fn of(names: &[String]) -> Option<Self> {
        names.iter().rev().fold(None, |act, name| Some(Self { sub: name.clone(), act: act.map(Box::new) }))
    }

    /// Who acts, the last one first.
    pub(crate) fn names(&self) -> Vec<String> {
        std::iter::successors(Some(self), |actor| actor.act.as_deref())
            .map(|actor| actor.sub.clone())
            .collect()
    }
}

impl AccessClaims {
    /// The session behind the token.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.sid.as_deref()?.parse().ok()
    }

    /// The scopes; none if they are none.
    pub(crate) fn scopes(&self) -> Scopes {
        Scopes::parse([self.scope.as_str()]).unwrap_or_default()
    }

    /// When the token expires.
    pub(crate) const fn expires_at(&self) -> Timestamp {
        Timestamp::from_seconds(self.exp)
    }
}

/// An access token that is to be made: its form follows what it is for.
pub(crate) enum AccessToken<'a> {
    /// For this server's portal, which is the only one to read it.
    Portal(&'a Issued),
    /// For applications, which verify it themselves.
    Applications(Box<AccessClaims>, SigningAlgorithm),
}

impl<'a> AccessToken<'a> {
    /// The access token of what was issued.
    pub(crate) fn of(
        app: &App,
        caller: &Caller,
        authenticated: &Authenticated,
        request: &TokenRequest<'_>,
        issued: &'a Issued,
    ) -> Self {
        if issued.scopes.allow_account_access() {
            return Self::Portal(issued);
        }
        let base = app.site.base();
        let mut audiences = issued.audiences.clone();
        // Whoever asks for certain resources, then or now, gets a token for those alone.
        let asked = issued.terms.as_ref().is_some_and(|terms| !terms.audiences.is_empty())
            || !request.audiences.is_empty();
        let for_userinfo = issued.scopes.contains("openid") && !asked;
        if audiences.is_empty() || for_userinfo {
            audiences.push(base.to_owned());
        }
        let nothing = Terms::default();
        let terms = issued.terms.as_deref().unwrap_or(&nothing);
        let claims = AccessClaims {
            iss: base.to_owned(),
            sub: issued.person.as_str().to_owned(),
            aud: Audience::of(audiences),
            exp: issued.access_expires_at.seconds(),
            iat: caller.now.seconds(),
            jti: draw_jti(app),
            client_id: authenticated.client_id.clone(),
            scope: issued.scopes.to_string(),
            auth_time: auth_time(issued.terms.as_deref(), issued.authenticated_at).map(Timestamp::seconds),
            acr: terms.acr.clone(),
            amr: terms.amr.clone(),
            sid: Some(issued.session.to_string()),
            cnf: issued.dpop_key.map(|key| Confirmation { jkt: BASE64URL_NOPAD.encode(key.as_bytes()) }),
            act: None,
        };
        Self::Applications(Box::new(claims), authenticated.signing_algorithm())
    }

    /// An access token that comes alone.
    pub(crate) fn alone(
        app: &App,
        caller: &Caller,
        authenticated: &Authenticated,
        token: &AccessOnly,
    ) -> Self {
        let issuer = app.site.base();
        let audiences =
            if token.audiences.is_empty() { vec![issuer.to_owned()] } else { token.audiences.clone() };
        let nothing = Terms::default();
        let (sub, session, auth_time, terms) = match &token.subject {
            Subject::Person { person, session, authenticated_at, terms } => {
                let auth_time = auth_time(terms.as_deref(), *authenticated_at).map(Timestamp::seconds);
                let terms = terms.as_deref().unwrap_or(&nothing);
                (person.as_str(), Some(session.to_string()), auth_time, terms)
            }
            Subject::Application(application) => (application.as_str(), None, None, &nothing),
        };
        let claims = AccessClaims {
            iss: issuer.to_owned(),
            sub: sub.to_owned(),
            aud: Audience::of(audiences),
            exp: token.expires_at.seconds(),
            iat: caller.now.seconds(),
            jti: draw_jti(app),
            client_id: authenticated.client_id.clone(),
            scope: token.scopes.to_string(),
            auth_time,
            acr: terms.acr.clone(),
            amr: terms.amr.clone(),
            sid: session,
            cnf: token.dpop_key.map(|key| Confirmation { jkt: BASE64URL_NOPAD.encode(key.as_bytes()) }),
            act: Actor::of(&token.actors),
        };
        Self::Applications(Box::new(claims), authenticated.signing_algorithm())
    }

    /// `token_type`: what has to be sent with it. The portal's clients have no proof to send.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Applications(claims, _) if claims.cnf.is_some() => "DPoP",
            Self::Applications(..) | Self::Portal(_) => "Bearer",
        }
    }

    /// Makes it.
    ///
    /// # Errors
    /// [`Outage`] when there is no key to sign with.
    pub(crate) async fn make(&self, app: &App) -> Result<secret::AccessToken, Outage> {
        match self {
            Self::Portal(issued) => Ok(app.tokens.access_token(issued)),
            Self::Applications(claims, algorithm) => {
                let token = app.signing.sign_jwt(*algorithm, ACCESS_TOKEN_TYPE, claims).await?;
                Ok(secret::AccessToken::new(token))
            }
        }
    }
}

/// What an access token for applications says, if this server made it and `caller` comes before it expires. It may have
/// been revoked, and its session may have ended.
///
/// # Errors
/// [`Outage`] when the keys cannot be read.
pub(crate) async fn read(app: &App, caller: &Caller, token: &str) -> Result<Option<AccessClaims>, Outage> {
    let claims = app.signing.verify_jwt(ACCESS_TOKEN_TYPE, token).await?;
    let claims = claims.and_then(|claims| serde_json::from_value::<AccessClaims>(claims).ok());
    Ok(claims.filter(|claims| claims.iss == app.site.base() && caller.now < claims.expires_at()))
}

/// An identifier that no other token has.
pub(crate) fn draw_jti(app: &App) -> String {
    HEXLOWER.encode(&app.tokens.draw::<16>())
}

/// What a person is, as far as scopes let an application know (OpenID Connect Core 1.0 section 5.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PersonClaims {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) preferred_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    /// Said only of addresses that an administrator wrote down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) groups: Option<Vec<String>>,
}

impl PersonClaims {
    pub(crate) fn of(principal: &Principal, scopes: &Scopes) -> Self {
        let profile = scopes.contains("profile");
        let email = principal.email().filter(|_| scopes.contains("email"));
        let groups = || principal.groups().iter().map(|group| group.as_str().to_owned()).collect();
        Self {
            name: profile.then(|| principal.shown_name().to_owned()),
            preferred_username: profile.then(|| principal.id().as_str().to_owned()),
            email: email.map(|(email, _)| email.to_owned()),
            email_verified: email.and_then(|(_, listed)| listed.then_some(true)),
            groups: scopes.contains("groups").then(groups),
        }
    }
}

/// The claims of an ID token.
#[derive(Serialize)]
struct IdClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    amr: &'a [String],
    at_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    /// Who the person is, for `ProvidedContexts` of STS.
    #[serde(rename = "sts:identity_context", skip_serializing_if = "Option::is_none")]
    identity_context: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor>,
    #[serde(flatten)]
    person: PersonClaims,
}

/// What an ID token says beside what was issued.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beside<'a> {
    /// `nonce` of the authentication request. Refreshed ones have none (OpenID Connect Core 1.0 section 12.2).
    pub(crate) nonce: Option<&'a str>,
    /// The answer's identity context.
    pub(crate) identity_context: Option<&'a str>,
    /// Who acts for the person, the last one first.
    pub(crate) actors: &'a [String],
}

/// An ID token.
pub(crate) struct IdToken;

impl IdToken {
    /// Makes the ID token that goes with `access_token`.
    pub(crate) async fn make(
        app: &App,
        caller: &Caller,
        authenticated: &Authenticated,
        issued: &Issued,
        beside: Beside<'_>,
        access_token: &secret::AccessToken,
    ) -> Result<String, Failure<Refusal>> {
        let standing = Standing::load(&*app.store, app.identity.trust(), Some(&issued.person)).await?;
        let principal = standing
            .principal(&issued.person, issued.authenticated_at, caller.now)
            .ok_or(Refusal::InvalidGrant)?;
        let nothing = Terms::default();
        let terms = issued.terms.as_deref().unwrap_or(&nothing);
        let algorithm = authenticated.signing_algorithm();
        let claims = IdClaims {
            iss: app.site.base(),
            sub: issued.person.as_str(),
            aud: &authenticated.client_id,
            exp: issued.access_expires_at.seconds(),
            iat: caller.now.seconds(),
            auth_time: auth_time(issued.terms.as_deref(), issued.authenticated_at).map(Timestamp::seconds),
            nonce: beside.nonce,
            acr: terms.acr.as_deref(),
            amr: &terms.amr,
            at_hash: half_hash(algorithm, access_token.reveal()),
            sid: terms.browser.map(|browser| browser.to_string()),
            identity_context: beside.identity_context,
            act: Actor::of(beside.actors),
            person: PersonClaims::of(&principal, &issued.scopes),
        };
        Ok(app.signing.sign_jwt(algorithm, ID_TOKEN_TYPE, &claims).await?)
    }
}

/// `at_hash`: the left half of the hash that the signature algorithm uses (OpenID Connect Core 1.0 section 3.1.3.6).
/// EdDSA with Ed25519 uses SHA-512.
fn half_hash(algorithm: SigningAlgorithm, token: &str) -> String {
    let hash = match algorithm {
        SigningAlgorithm::Rs256 | SigningAlgorithm::Es256 => &aws_lc_rs::digest::SHA256,
        SigningAlgorithm::EdDsa => &aws_lc_rs::digest::SHA512,
    };
    let digest = aws_lc_rs::digest::digest(hash, token.as_bytes());
    BASE64URL_NOPAD.encode(&digest.as_ref()[..digest.as_ref().len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_nested_and_read_back() {
        let names = ["c", "b", "a"].map(str::to_owned);
        let act = Actor::of(&names).unwrap();
        assert_eq!(
            serde_json::to_string(&act).unwrap(),
            r#"{"sub":"c","act":{"sub":"b","act":{"sub":"a"}}}"#
        );
        assert_eq!(act.names(), names);
        assert_eq!(Actor::of(&[]), None);
    }

    #[test]
    fn one_audience_is_a_string_and_several_are_a_list() {
        let text = |audiences: &[&str]| {
            let audiences = audiences.iter().map(|audience| (*audience).to_owned()).collect();
            serde_json::to_string(&Audience::of(audiences)).unwrap()
        };
        assert_eq!(text(&["https://api"]), r#""https://api""#);
        assert_eq!(text(&["https://api", "https://sso"]), r#"["https://api","https://sso"]"#);
        let read: Audience = serde_json::from_str(r#"["a","b"]"#).unwrap();
        assert!(read.contains("b") && !read.contains("c"));
    }

    /// The token of OpenID Connect Core 1.0 appendix A.3 and its hash in A.3's ID token.
    // Holds: openid-connect-core-3.1.3.6-at-hash
    #[test]
    fn the_hash_of_an_access_token_is_that_of_the_specification() {
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(half_hash(SigningAlgorithm::Rs256, token), "77QmUPtjPfzWtF2AnpK9RQ");
        assert_eq!(
            BASE64URL_NOPAD.decode(half_hash(SigningAlgorithm::EdDsa, token).as_bytes()).unwrap().len(),
            32
        );
    }
}
