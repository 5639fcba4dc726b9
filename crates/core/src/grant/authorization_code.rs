//! The authorization code grant with PKCE (RFC 6749 section 4.1, RFC 7636).
//!
//! A code is sealed and stored nowhere. Redeeming it creates the session whose id is the code's own, so a second
//! redemption finds that session and ends it (RFC 6749 section 4.1.2).

use std::sync::Arc;

use crate::client::GrantType;
use crate::grant::{Approval, Found, Grant, TokenRequest, holds_key};
use crate::ids::{ClientId, CodeId, PersonId};
use crate::refusal::Refusal;
use crate::scope::Scopes;
use crate::secret::CodeChallenge;
use crate::session::{EndReason, Session, SessionState, Terms};
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
    /// What was agreed on beside the scopes, if the client is an application. A key in it must be proved at the
    /// redemption (`dpop_jkt` of RFC 9449 section 10).
    pub terms: Option<Arc<Terms>>,
    /// `nonce` of the authentication request (OpenID Connect Core 1.0 section 3.1.2.1).
    pub nonce: Option<String>,
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
    const GOES_ON: bool = false;

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
        if !holds_key(code.terms.as_ref().and_then(|terms| terms.dpop_key), request) {
            return Verdict::answer(Err(Refusal::InvalidGrant));
        }
        let approval = Approval {
            session: code.id.into(),
            person: &code.person,
            granted: &code.scopes,
            authenticated_at: code.authenticated_at,
            terms: code.terms.clone(),
        };
        match approval.start(request) {
            Err(refusal) => Verdict::answer(Err(refusal)),
            Ok((session, issued)) => {
                let event = Event::SessionStarted {
                    session: session.id,
                    person: code.person.clone(),
                    grant: Self::TYPE.as_str(),
                    client: request.client.registration().name.clone(),
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

    fn person(&self) -> Option<(&PersonId, Timestamp)> {
        Some((&self.code.person, self.code.authenticated_at))
    }

    /// A used code is judged by the session that it became: presented again it ends that one, however late.
    fn expires_at(&self) -> Timestamp {
        self.session.as_ref().map_or(self.code.expires_at, |session| session.expires_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{
        Asker, CHALLENGE, CLIENT, CODE, GRANTED, NOW, REDIRECT_URI, WRONG_PROOF, code, later, person, scopes,
        session,
    };
    use crate::session::Holder;

    fn redeem<'a>(code: &'a Code, redirect_uri: &'a str, proof: CodeChallenge) -> Redeem<'a> {
        Redeem { code, redirect_uri, proof }
    }

    fn unspent() -> FoundCode {
        FoundCode { code: code(), session: None }
    }

    /// The code, after it became a session in `state`.
    fn spent(state: SessionState) -> FoundCode {
        FoundCode { code: code(), session: Some(Session { id: CODE.into(), state, ..session() }) }
    }

    #[test]
    fn a_code_with_its_verifier_becomes_the_session_of_its_own_id() {
        let (code, asker) = (code(), Asker::default());
        let request = asker.asks("", later(10));
        let verdict = redeem(&code, REDIRECT_URI, CHALLENGE).decide(&unspent(), &request);

        let started = Session {
            id: CODE.into(),
            person: person("ann"),
            holder: Holder::Client { id: CLIENT, name: "cli".into() },
            scopes: scopes(GRANTED),
            created_at: later(10),
            authenticated_at: NOW,
            expires_at: later(10 + 28_800),
            generation: 0,
            rotated_at: later(10),
            state: SessionState::Live,
            terms: None,
        };
        let issued = Issued {
            session: CODE.into(),
            person: person("ann"),
            scopes: scopes(GRANTED),
            access_expires_at: later(10 + 3600),
            expires_in: 3600,
            refresh_generation: Some(0),
            authenticated_at: NOW,
            audiences: Vec::new(),
            dpop_key: None,
            terms: None,
        };
        let event = Event::SessionStarted {
            session: CODE.into(),
            person: person("ann"),
            grant: "authorization_code",
            client: "cli".into(),
        };
        assert_eq!(verdict, Verdict::change(Ok(issued), Change::StartSession(started), event));
    }

    #[test]
    fn a_code_for_another_redirect_port_is_refused() {
        let (code, asker) = (code(), Asker::default());
        for elsewhere in [
            "http://127.0.0.1:45344/oauth/callback",
            // Registered, and yet not where this code was sent.
            "http://127.0.0.1/oauth/callback",
            "http://127.0.0.1:45343/oauth/callback/",
            "http://127.0.0.1:45343/oauth/callback?x",
            "http://127.0.0.1:45343/OAUTH/callback",
            "",
        ] {
            let verdict = redeem(&code, elsewhere, CHALLENGE).decide(&unspent(), &asker.asks("", NOW));
            assert_eq!(verdict, Verdict::answer(Err(Refusal::InvalidGrant)), "{elsewhere}");
        }
    }

    #[test]
    fn ledger_15_a_code_without_its_own_verifier_is_refused() {
        let (code, asker) = (code(), Asker::default());
        let verdict = redeem(&code, REDIRECT_URI, WRONG_PROOF).decide(&unspent(), &asker.asks("", NOW));
        assert_eq!(verdict, Verdict::answer(Err(Refusal::InvalidGrant)));
    }

    #[test]
    fn a_replayed_code_ends_the_session_it_made_and_is_still_refused() {
        let (code, asker) = (code(), Asker::default());
        let (id, why) = (CODE.into(), EndReason::CodeReplayed);
        // Whoever presents it again holds a copy, with or without the verifier (RFC 6749 section 4.1.2).
        for proof in [CHALLENGE, WRONG_PROOF] {
            let verdict = redeem(&code, REDIRECT_URI, proof)
                .decide(&spent(SessionState::Live), &asker.asks("", later(20)));
            let end = Change::EndSession { id, at: later(20), why };
            let event = Event::SessionEnded { session: id, person: person("ann"), why };
            assert_eq!(verdict, Verdict::change(Err(Refusal::InvalidGrant), end, event));
        }
    }

    #[test]
    fn a_code_replayed_after_its_session_ended_writes_nothing() {
        let (code, asker) = (code(), Asker::default());
        for why in [EndReason::CodeReplayed, EndReason::Logout] {
            let found = spent(SessionState::Ended { at: later(5), why });
            let verdict = redeem(&code, REDIRECT_URI, CHALLENGE).decide(&found, &asker.asks("", later(20)));
            assert_eq!(verdict, Verdict::answer(Err(Refusal::InvalidGrant)));
        }
    }

    #[test]
    fn ledger_18_a_code_yields_no_scope_that_was_not_approved() {
        let (code, asker) = (code(), Asker::default());
        let decide =
            |scope| redeem(&code, REDIRECT_URI, CHALLENGE).decide(&unspent(), &asker.asks(scope, NOW));
        // Registered, but not approved.
        assert_eq!(decide("email"), Verdict::answer(Err(Refusal::InvalidScope)));

        let narrowed = decide("openid");
        assert_eq!(narrowed.reply.unwrap().scopes, scopes("openid"));
        // The refresh token keeps what was approved (RFC 6749 section 6).
        let [Change::StartSession(session)] = &narrowed.changes[..] else { panic!("{:?}", narrowed.changes) };
        assert_eq!(session.scopes, scopes(GRANTED));
    }

    #[test]
    fn a_code_leads_to_what_was_sealed_into_it() {
        for found in [unspent(), spent(SessionState::Live)] {
            assert_eq!(found.client(), Some(CLIENT));
            assert_eq!(found.person(), Some((&person("ann"), NOW)));
        }
    }

    #[test]
    fn a_code_expires_by_itself_and_a_used_one_with_its_session() {
        assert_eq!(unspent().expires_at(), later(300));
        let used = spent(SessionState::Live);
        assert_eq!(used.expires_at(), used.session.as_ref().unwrap().expires_at);
        assert!(used.expires_at() > later(300));
    }
}
