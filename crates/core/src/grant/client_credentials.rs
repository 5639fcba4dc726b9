//! The client credentials grant (RFC 6749 section 4.4): an application that acts for itself.
//!
//! There is no person, hence nothing of a person's: neither who somebody is, nor their accounts, nor a session that goes on.

use crate::client::GrantType;
use crate::grant::{AccessOnly, OF_PEOPLE, Subject, TokenRequest, proves_a_key};
use crate::refusal::Refusal;
use crate::scope::Scopes;
use crate::verdict::{Event, Verdict};

/// The token of the application that asks.
#[must_use]
pub fn decide(request: &TokenRequest<'_>) -> Verdict<Result<AccessOnly, Refusal>> {
    match token(request) {
        Ok((token, event)) => Verdict { reply: Ok(token), changes: Vec::new(), event: Some(event) },
        Err(refusal) => Verdict::answer(Err(refusal)),
    }
}

fn token(request: &TokenRequest<'_>) -> Result<(AccessOnly, Event), Refusal> {
    let TokenRequest { client, now, lifetimes, dpop_key, .. } = request;
    client.may_use(GrantType::ClientCredentials)?;
    // Anybody could be a client that proves nothing, and so have what it has (RFC 6749 section 4.4).
    let application =
        client.application().filter(|_| !client.is_public()).ok_or(Refusal::UnauthorizedClient)?;
    proves_a_key(request)?;
    let scopes = own(&client.registration().scopes).narrow(&request.scopes)?;
    if scopes.is_empty() {
        return Err(Refusal::InvalidScope);
    }
    let expires_at = now.plus(client.access_token_lifetime(lifetimes));
    let token = AccessOnly {
        subject: Subject::Application(application.client_id.clone()),
        scopes,
        audiences: application.audiences(&[], &request.audiences)?,
        expires_at,
        expires_in: now.seconds_until(expires_at),
        dpop_key: *dpop_key,
        actors: Vec::new(),
    };
    Ok((token, Event::ActedForItself { application: application.client_id.clone() }))
}

/// Those of `scopes` that need no person.
fn own(scopes: &Scopes) -> Scopes {
    scopes.filter(|scope| !OF_PEOPLE.contains(&scope))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::application::{Application, ClientAuthentication};
    use crate::client::Registration;
    use crate::fixtures::{Asker, NOW, application, later, scopes};
    use crate::secret::KeyThumbprint;
    use crate::time::Lifetime;

    const API: &str = "https://api.example";

    fn asker(edit: impl FnOnce(&mut Application)) -> Asker {
        let mut application = Application {
            grants: vec![GrantType::ClientCredentials, GrantType::RefreshToken],
            scopes: scopes("openid profile email groups offline_access sso:account:access sso-portal:* a b"),
            ..application()
        };
        edit(&mut application);
        Asker::new(|registration| *registration = Registration::of(&Arc::new(application)))
    }

    fn reply(asker: &Asker, scope: &str) -> Result<AccessOnly, Refusal> {
        let verdict = decide(&asker.asks(scope, NOW));
        assert!(verdict.changes.is_empty());
        assert_eq!(verdict.event.is_some(), verdict.reply.is_ok());
        verdict.reply
    }

    // Holds: rfc9068-2.2-sub
    #[test]
    fn an_application_gets_a_token_about_itself() {
        let verdict = decide(&asker(|_| {}).asks("", NOW));
        let client_id = application().client_id;
        let token = AccessOnly {
            subject: Subject::Application(client_id.clone()),
            scopes: scopes("a b"),
            audiences: vec![API.into()],
            expires_at: later(3600),
            expires_in: 3600,
            dpop_key: None,
            actors: vec![],
        };
        let event = Some(Event::ActedForItself { application: client_id });
        assert_eq!(verdict, Verdict { reply: Ok(token), changes: vec![], event });
        let short = asker(|application| application.access_token_lifetime = Some(Lifetime::from_seconds(60)));
        assert_eq!(reply(&short, "a").unwrap().expires_in, 60);
        assert_eq!(reply(&short, "a").unwrap().scopes, scopes("a"));
    }

    // Holds: rfc9700-4.15-client-not-a-person
    #[test]
    fn nothing_of_a_persons_is_given_to_an_application() {
        for scope in OF_PEOPLE {
            assert_eq!(reply(&asker(|_| {}), scope), Err(Refusal::InvalidScope), "{scope}");
            assert_eq!(reply(&asker(|_| {}), &format!("a {scope}")), Err(Refusal::InvalidScope), "{scope}");
        }
        assert_eq!(reply(&asker(|_| {}), "c"), Err(Refusal::InvalidScope), "not registered");
        let only_people = asker(|application| application.scopes = scopes("openid sso:account:access"));
        assert_eq!(reply(&only_people, ""), Err(Refusal::InvalidScope));
    }

    // Holds: rfc6749-4.4-confidential
    #[test]
    fn only_an_application_that_proves_who_it_is_acts_for_itself() {
        let refused = Err(Refusal::UnauthorizedClient);
        let other_grant = asker(|application| application.grants = vec![GrantType::AuthorizationCode]);
        assert_eq!(reply(&other_grant, ""), refused);
        let public = asker(|application| application.authentication = ClientAuthentication::None);
        assert_eq!(reply(&public, ""), refused);
        let tool = Asker::new(|registration| {
            registration.grants = [GrantType::ClientCredentials].into_iter().collect();
        });
        assert_eq!(reply(&tool, ""), refused);
    }

    #[test]
    fn resources_are_the_applications_and_keys_are_proved() {
        let asker = asker(|application| application.dpop_bound_access_tokens = true);
        assert!(matches!(reply(&asker, ""), Err(Refusal::InvalidDpopProof(_))));
        let key = Some(KeyThumbprint::from_bytes([1; 32]));
        let with = |audience: &str| {
            let request =
                TokenRequest { dpop_key: key, audiences: vec![audience.into()], ..asker.asks("", NOW) };
            decide(&request).reply
        };
        let token = with(API).unwrap();
        assert_eq!((token.dpop_key, token.audiences), (key, vec![API.to_owned()]));
        assert_eq!(with("https://other.example"), Err(Refusal::InvalidTarget));
    }
}
