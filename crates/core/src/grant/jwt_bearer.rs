//! The JWT bearer grant (RFC 7523 section 2.1): another issuer says who the person is.
//!
//! An assertion begins a session and is used with it, in one commit: whoever presents it again finds it used.

use std::sync::Arc;

use crate::client::GrantType;
use crate::directory::Directory;
use crate::grant::{Approval, Found, Grant, TokenRequest};
use crate::ids::{ClientId, IssuerName, OnceId, PersonId, SessionId};
use crate::refusal::Refusal;
use crate::session::Terms;
use crate::store::{Outage, Store};
use crate::time::Timestamp;
use crate::verdict::{Change, Event, Issued, Verdict};

/// What an assertion says that holds: its issuer's signature, its audience, and its times were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// The application that accepts its issuer and its audience.
    pub client: ClientId,
    /// Whose it is, as the configuration names it.
    pub issuer: IssuerName,
    /// Whom it is about.
    pub person: Named,
    /// When the issuer said so: the person had proved who they are to the issuer by then.
    pub issued_at: Timestamp,
    /// From when on it is not taken.
    pub expires_at: Timestamp,
    /// What tells it from all others.
    pub id: OnceId,
    /// How long it is remembered that it was used.
    pub remembered_until: Timestamp,
}

/// By what an issuer knows a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// By the user name.
    UserName(PersonId),
    /// By the e-mail address that the directory has.
    Email(String),
}

impl Named {
    /// Who that is; none if the directory has nobody with that address, or several.
    #[must_use]
    pub fn person(&self, directory: &Directory) -> Option<PersonId> {
        match self {
            Self::UserName(person) => Some(person.clone()),
            Self::Email(email) => directory.person_with_email(email).map(|person| person.user_name.clone()),
        }
    }
}

/// A redemption of an assertion.
#[derive(Debug)]
pub struct Redeem<'a> {
    /// The assertion.
    pub assertion: &'a Assertion,
    /// The id of the session it will become, drawn at random.
    pub session: SessionId,
}

/// An assertion, whose person is known.
#[derive(Debug)]
pub struct FoundAssertion {
    assertion: Assertion,
    person: PersonId,
    used: bool,
}

impl Grant for Redeem<'_> {
    type Found = FoundAssertion;

    const TYPE: GrantType = GrantType::JwtBearer;
    const UNKNOWN: Refusal = Refusal::InvalidGrant;
    const EXPIRED: Refusal = Refusal::InvalidGrant;
    const GOES_ON: bool = false;

    async fn load(&self, store: &dyn Store) -> Result<Option<FoundAssertion>, Outage> {
        let directory = store.directory().await?;
        let Some(person) = self.assertion.person.person(&directory) else { return Ok(None) };
        let used = store.used(self.assertion.id).await?;
        Ok(Some(FoundAssertion { assertion: self.assertion.clone(), person, used }))
    }

    fn decide(&self, found: &FoundAssertion, request: &TokenRequest<'_>) -> Verdict<Result<Issued, Refusal>> {
        // Ours is the client's own session: it is not ended because somebody holds a copy, who gets nothing by it.
        if found.used {
            return Verdict::answer(Err(Refusal::InvalidGrant));
        }
        let begin = || {
            // A client that proves nothing is whoever holds the assertion, and nobody was asked about a tool.
            let application = request.client.application().filter(|_| !request.client.is_public());
            let application = application.ok_or(Refusal::UnauthorizedClient)?;
            let issuer = &found.assertion.issuer;
            if !application.trusts(issuer) {
                return Err(Refusal::InvalidGrant);
            }
            // Frozen here, as if they had been approved: nobody was asked for more.
            let granted = request.client.registration().scopes.narrow(&request.scopes)?;
            let approval = Approval {
                session: self.session,
                person: &found.person,
                granted: &granted,
                authenticated_at: found.assertion.issued_at,
                terms: Some(Arc::new(Terms {
                    audiences: request.audiences.clone(),
                    issuer: Some(issuer.clone()),
                    proved_at: Some(found.assertion.issued_at),
                    ..Terms::default()
                })),
            };
            approval.start(request)
        };
        match begin() {
            Err(refusal) => Verdict::answer(Err(refusal)),
            Ok((session, issued)) => {
                let event = Event::SessionStarted {
                    session: session.id,
                    person: found.person.clone(),
                    grant: Self::TYPE.as_str(),
                    client: request.client.registration().name.clone(),
                };
                let Assertion { id, remembered_until: until, .. } = found.assertion;
                let changes = vec![Change::Use { id, until, durable: true }, Change::StartSession(session)];
                Verdict { reply: Ok(issued), changes, event: Some(event) }
            }
        }
    }
}

impl Found for FoundAssertion {
    fn client(&self) -> Option<ClientId> {
        Some(self.assertion.client)
    }

    fn person(&self) -> Option<(&PersonId, Timestamp)> {
        Some((&self.person, self.assertion.issued_at))
    }

    fn expires_at(&self) -> Timestamp {
        self.assertion.expires_at
    }
}

#[cfg(test)]
mod tests;
