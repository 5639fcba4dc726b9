//! The authorization code grant with PKCE (RFC 6749 section 4.1, RFC 7636).
//!
//! A code is sealed and stored nowhere. Redeeming it creates the session whose id is the code's own, so a second
//! redemption finds that session and ends it (RFC 6749 section 4.1.2).

use crate::client::GrantType;
use crate::grant::{Approval, Found, Grant, TokenRequest};
use crate::ids::{ClientId, CodeId, PersonId};
use crate::refusal::Refusal;
use crate::scope::Scopes;
use crate::secret::CodeChallenge;
use crate::session::{EndReason, Session, SessionState};
use crate::store::{Outage, Store};
use crate::time::Timestamp;
use crate::verdict::{Change, Event, Issued, Verdict};

/// What an authorization code says. It was sealed when the person approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The id of the session it will become.
    pub id: CodeId,
    /// For which client.
    pub client: ClientId,
    /// Where it was sent, byte for byte.
    pub redirect_uri: String,
    /// What the verifier must hash to.
    pub challenge: CodeChallenge,
    /// The scopes that were approved.
    pub scopes: Scopes,
    /// Who approved.
    pub person: PersonId,
    /// When that person had proved who they are.
    pub authenticated_at: Timestamp,
    /// When the code expires.
    pub expires_at: Timestamp,
}

/// A redemption of a code.
#[derive(Debug)]
pub struct Redeem<'a> {
    /// The code; its seal was checked.
    pub code: &'a Code,
    /// `redirectUri` of CreateToken.
    pub redirect_uri: &'a str,
    /// The challenge that `codeVerifier` amounts to.
    pub proof: CodeChallenge,
}

/// A code, and the session it has already become.
#[derive(Debug)]
pub struct FoundCode {
    code: Code,
    session: Option<Session>,
}

impl Grant for Redeem<'_> {
    type Found = FoundCode;

    const TYPE: GrantType = GrantType::AuthorizationCode;
    const UNKNOWN: Refusal = Refusal::InvalidGrant;
    const EXPIRED: Refusal = Refusal::InvalidGrant;

    async fn load(&self, store: &dyn Store) -> Result<Option<FoundCode>, Outage> {
        let session = store.session(self.code.id.into()).await?;
        Ok(Some(FoundCode { code: self.code.clone(), session }))
    }

    fn decide(&self, found: &FoundCode, request: &TokenRequest<'_>) -> Verdict<Result<Issued, Refusal>> {
        if let Some(session) = &found.session {
            return end_replayed(session, request.now);
        }
        let code = &found.code;
        // Both are checked on every path: a code without its verifier is worth nothing (RFC 7636 section 4.6), nor
        // is one sent elsewhere (RFC 6749 section 4.1.3; the port counts here).
        if !code.challenge.is_met_by(&self.proof) || code.redirect_uri != self.redirect_uri {
            return Verdict::answer(Err(Refusal::InvalidGrant));
        }
        let approval = Approval {
            session: code.id.into(),
            person: &code.person,
            granted: &code.scopes,
            authenticated_at: code.authenticated_at,
        };
        match approval.start(request) {
            Err(refusal) => Verdict::answer(Err(refusal)),
            Ok((session, issued)) => {
                let event = Event::SessionStarted {
                    session: session.id,
                    person: code.person.clone(),
                    grant: Self::TYPE.as_str(),
                };
                Verdict::change(Ok(issued), Change::StartSession(session), event)
            }
        }
    }
}

fn end_replayed(session: &Session, now: Timestamp) -> Verdict<Result<Issued, Refusal>> {
    match session.state {
        SessionState::Ended { .. } => Verdict::answer(Err(Refusal::InvalidGrant)),
        SessionState::Live => {
            let (id, why) = (session.id, EndReason::CodeReplayed);
            let event = Event::SessionEnded { session: id, person: session.person.clone(), why };
            Verdict::change(Err(Refusal::InvalidGrant), Change::EndSession { id, at: now, why }, event)
        }
    }
}

impl Found for FoundCode {
    fn client(&self) -> Option<ClientId> {
        Some(self.code.client)
    }

    fn person(&self) -> Option<&PersonId> {
        Some(&self.code.person)
    }

    fn expires_at(&self) -> Timestamp {
        self.code.expires_at
    }
}
