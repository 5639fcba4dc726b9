//! What the grants owe when the client is an application.

use std::sync::Arc;

use proptest::prelude::*;

use super::{TokenRequest, authorization_code, device_code, redeem, refresh_token};
use crate::application::{Application, ClientAuthentication};
use crate::client::{GrantType, Registration};
use crate::consent::Consent;
use crate::directory::{Departures, Directory, DirectoryFile, Group, Person};
use crate::fixtures::{
    Asker, CHALLENGE, NOW, REDIRECT_URI, REQUEST, Rows, SESSION, TestStore, approved_by, block_on, code,
    device_request, later, person, scopes, session,
};
use crate::ids::{ApplicationId, ClientId, GroupName};
use crate::refusal::Refusal;
use crate::secret::KeyThumbprint;
use crate::session::{Holder, Session, Terms};
use crate::time::Timestamp;
use crate::verdict::Issued;

const KEY: KeyThumbprint = KeyThumbprint::from_bytes([1; 32]);
const OTHER_KEY: KeyThumbprint = KeyThumbprint::from_bytes([2; 32]);
const API: &str = "https://api.example";
const OTHER_API: &str = "https://other.example";

fn application() -> Application {
    Application {
        client_id: ApplicationId::parse("web").unwrap(),
        name: "Web".into(),
        arn: None,
        authentication: ClientAuthentication::ClientSecretBasic,
        secret_hashes: vec![],
        keys: vec![],
        redirect_uris: vec![],
        post_logout_redirect_uris: vec![],
        backchannel_logout_uri: None,
        grants: vec![GrantType::DeviceCode, GrantType::AuthorizationCode, GrantType::RefreshToken],
        scopes: scopes("openid api.read api.write"),
        audiences: vec![API.into(), OTHER_API.into()],
        resource: None,
        people: vec![],
        groups: vec![],
        everybody: true,
        consent: true,
        access_token_lifetime: None,
        session_lifetime: None,
        signing_algorithm: crate::signing_key::SigningAlgorithm::default(),
        dpop_bound_access_tokens: false,
        require_pushed_authorization_requests: false,
        token_exchange: None,
        trusted_issuers: vec![],
        iam_principals: vec![],
    }
}

fn asker(edit: impl FnOnce(&mut Application)) -> Asker {
    let mut application = application();
    edit(&mut application);
    Asker::new(|registration| *registration = Registration::of(&Arc::new(application)))
}

fn client() -> ClientId {
    ClientId::of_application(&application().client_id)
}

fn terms(audiences: &[&str], dpop_key: Option<KeyThumbprint>) -> Terms {
    Terms { audiences: audiences.iter().map(|&uri| uri.into()).collect(), dpop_key, ..Terms::default() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Artefact {
    Code,
    Device,
    Refresh,
}

const ARTEFACTS: [Artefact; 3] = [Artefact::Code, Artefact::Device, Artefact::Refresh];

/// What came of redeeming an artefact of ann's that was agreed on these terms.
fn redeemed(
    artefact: Artefact,
    terms: &Terms,
    request: &TokenRequest<'_>,
) -> (Result<Issued, Refusal>, TestStore) {
    redeemed_with(Some(("openid api.read", &[API, OTHER_API])), artefact, terms, request)
}

/// The same, where this is kept of what ann agreed to.
fn redeemed_with(
    kept: Option<(&str, &[&str])>,
    artefact: Artefact,
    terms: &Terms,
    request: &TokenRequest<'_>,
) -> (Result<Issued, Refusal>, TestStore) {
    let granted = scopes("openid api.read");
    let mut rows = Rows::with_people();
    if let Some((text, audiences)) = kept {
        let audiences = audiences.iter().map(|&uri| uri.into()).collect();
        let consent = Consent { scopes: scopes(text), audiences, given_at: NOW };
        rows.consents.insert(person("ann"), (1, [(application().client_id, consent)].into()));
    }
    let rows = rows
        .with(Session {
            holder: Holder::Client { id: client(), name: "Web".into() },
            scopes: granted.clone(),
            terms: Some(Arc::new(terms.clone())),
            ..session()
        })
        .with_request(crate::device::DeviceRequest {
            client: client(),
            scopes: granted.clone(),
            ..device_request(approved_by("ann"))
        });
    let store = TestStore::new(rows);
    let reply = match artefact {
        Artefact::Code => {
            let code = authorization_code::Code {
                client: client(),
                scopes: granted,
                terms: Some(Arc::new(terms.clone())),
                ..code()
            };
            let redeem_code =
                authorization_code::Redeem { code: &code, redirect_uri: REDIRECT_URI, proof: CHALLENGE };
            block_on(redeem(&store, &redeem_code, request)).unwrap().reply
        }
        Artefact::Device => {
            block_on(redeem(&store, &device_code::Redeem { id: REQUEST }, request)).unwrap().reply
        }
        Artefact::Refresh => {
            let token = refresh_token::Redeem { session: SESSION, generation: 5 };
            block_on(redeem(&store, &token, request)).unwrap().reply
        }
    };
    (reply, store)
}

fn unknown(artefact: Artefact) -> Refusal {
    match artefact {
        Artefact::Code | Artefact::Device => Refusal::InvalidGrant,
        Artefact::Refresh => Refusal::InvalidRefreshToken,
    }
}

#[test]
fn ledger_17_every_grant_asks_who_may_use_the_application() {
    let ann_alone: fn(&mut Application) = |app| (app.everybody, app.people) = (false, vec![person("ann")]);
    let bob_alone: fn(&mut Application) = |app| (app.everybody, app.people) = (false, vec![person("bob")]);
    for artefact in ARTEFACTS {
        for (edit, admitted) in [(ann_alone, true), (bob_alone, false)] {
            let asker = asker(edit);
            let (reply, store) = redeemed(artefact, &Terms::default(), &asker.asks("", later(9)));
            assert_eq!(reply.is_ok(), admitted, "{artefact:?}");
            if !admitted {
                assert_eq!((reply, store.commits()), (Err(unknown(artefact)), 0));
            }
        }
    }
}

// Holds: ledger-09
#[test]
fn what_was_withdrawn_before_a_session_began_begins_none() {
    let all = Terms::default();
    for artefact in [Artefact::Code, Artefact::Device] {
        let with = |kept, scope| {
            let (asking, unasked) = (asker(|_| {}), asker(|app| app.consent = false));
            let (reply, store) = redeemed_with(kept, artefact, &all, &asking.asks(scope, later(9)));
            assert_eq!(reply.is_ok(), store.commits() == 1, "{artefact:?}");
            assert!(redeemed_with(kept, artefact, &all, &unasked.asks(scope, later(9))).0.is_ok());
            reply.map(|issued| issued.scopes)
        };
        let both: &[&str] = &[API, OTHER_API];
        assert_eq!(with(Some(("openid api.read", both)), ""), Ok(scopes("openid api.read")));
        assert_eq!(with(None, ""), Err(Refusal::ConsentRequired), "{artefact:?}");
        assert_eq!(with(Some(("openid", both)), ""), Err(Refusal::ConsentRequired));
        // The session would have more than this token.
        assert_eq!(with(Some(("openid", both)), "openid"), Err(Refusal::ConsentRequired));
        assert_eq!(with(Some(("openid api.read", &[API])), ""), Err(Refusal::ConsentRequired));
    }
    // Those of a session that began are ended with it, and not asked about.
    let refreshed = redeemed_with(None, Artefact::Refresh, &all, &asker(|_| {}).asks("", later(9)));
    assert!(refreshed.0.is_ok());
}

#[test]
fn a_group_lets_its_members_in() {
    let ops = GroupName::parse("ops").unwrap();
    let application = Application { everybody: false, groups: vec![ops.clone()], ..application() };
    let file = DirectoryFile {
        people: vec![Person::named(person("ann")), Person::named(person("cy"))],
        groups: vec![Group { name: ops, members: vec![person("ann")] }],
        ..DirectoryFile::default()
    };
    let directory = Directory::new(file, Departures::new(), 1).unwrap();
    let standing = crate::assignment::Standing::new(Arc::new(directory), &crate::fixtures::sources(), None);
    let admits = |name: &str| {
        let principal = standing.principal(&person(name), NOW, NOW).unwrap();
        application.admits(principal.id(), principal.groups())
    };
    assert!(admits("ann") && !admits("cy"));
}

#[test]
fn what_is_bound_to_a_key_is_redeemed_with_that_key_alone() {
    let asker = asker(|_| {});
    for artefact in [Artefact::Code, Artefact::Refresh] {
        for (proved, good) in [(Some(KEY), true), (Some(OTHER_KEY), false), (None, false)] {
            let request = TokenRequest { dpop_key: proved, ..asker.asks("", later(9)) };
            let (reply, store) = redeemed(artefact, &terms(&[], Some(KEY)), &request);
            if good {
                assert_eq!(reply.unwrap().dpop_key, Some(KEY), "{artefact:?}");
            } else {
                assert_eq!((reply, store.commits()), (Err(unknown(artefact)), 0), "{artefact:?}");
            }
        }
    }
}

// Holds: rfc9449-5-refresh-public, rfc9700-2.2.2-public-refresh
#[test]
fn the_refresh_tokens_of_a_public_client_are_bound_to_the_key_it_proves_first() {
    for (authentication, bound) in
        [(ClientAuthentication::None, Some(KEY)), (ClientAuthentication::ClientSecretBasic, None)]
    {
        let asker = asker(|app| app.authentication = authentication);
        for artefact in [Artefact::Code, Artefact::Device] {
            let request = TokenRequest { dpop_key: Some(KEY), ..asker.asks("", later(9)) };
            let (reply, store) = redeemed(artefact, &Terms::default(), &request);
            let session = &store.rows().sessions[&reply.unwrap().session];
            assert_eq!(session.terms.as_ref().unwrap().dpop_key, bound, "{artefact:?}");
        }
    }
}

// Holds: rfc9449-5.2-bound-clients
#[test]
fn an_application_of_bound_tokens_gets_no_others() {
    let asker = asker(|app| app.dpop_bound_access_tokens = true);
    for artefact in ARTEFACTS {
        let (reply, store) = redeemed(artefact, &Terms::default(), &asker.asks("", later(9)));
        assert!(matches!(reply, Err(Refusal::InvalidDpopProof(_))), "{artefact:?}");
        assert_eq!(store.commits(), 0);
        let request = TokenRequest { dpop_key: Some(KEY), ..asker.asks("", later(9)) };
        assert_eq!(redeemed(artefact, &Terms::default(), &request).0.unwrap().dpop_key, Some(KEY));
    }
}

#[test]
fn a_refused_request_leaves_the_refresh_token_as_it_was() {
    let asker = asker(|app| app.scopes = scopes("api.write"));
    let (reply, store) = redeemed(Artefact::Refresh, &Terms::default(), &asker.asks("", later(9)));
    // All that was granted has been taken from the application.
    assert_eq!((reply, store.commits()), (Err(Refusal::InvalidScope), 0));
}

#[test]
fn a_session_whose_resources_were_all_taken_away_is_for_nothing() {
    let left = |audiences: &[&str], granted: &[&str]| {
        let asker = asker(|app| app.audiences = audiences.iter().map(|&uri| uri.into()).collect());
        let (reply, store) = redeemed(Artefact::Refresh, &terms(granted, None), &asker.asks("", later(9)));
        assert_eq!(reply.is_ok(), store.commits() == 1);
        reply.map(|issued| issued.audiences.join(" "))
    };
    assert_eq!(left(&[OTHER_API], &[API]), Err(Refusal::InvalidTarget));
    assert_eq!(left(&[], &[API]), Err(Refusal::InvalidTarget));
    assert_eq!(left(&[API], &[API, OTHER_API]), Ok(API.into()));
    // This server alone, of whom never another was asked for.
    assert_eq!(left(&[], &[]), Ok(String::new()));
}

fn some_of(all: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(all, 0..=all.len())
}

const SCOPES: &[&str] = &["openid", "api.read", "api.write", "email"];
const RESOURCES: &[&str] = &[API, OTHER_API, "https://third.example"];

proptest! {
    /// Whatever was granted, whatever the administrator leaves of it, and whatever is asked for.
    // Holds: rfc8707-2.2-not-more, rfc9700-2.3-least-privilege
    #[test]
    fn no_token_has_more_than_was_granted_and_than_the_application_may_have(
        allowed in some_of(SCOPES), audiences in some_of(RESOURCES), agreed in some_of(RESOURCES),
        asked in some_of(SCOPES), resources in some_of(RESOURCES), lifetime in 60..43_200_u32,
        left in 1..28_000_u32,
    ) {
        let asker = asker(|app| {
            app.scopes = scopes(&allowed.join(" "));
            app.audiences = audiences.iter().map(|&uri| uri.into()).collect();
            app.access_token_lifetime = Some(crate::time::Lifetime::from_seconds(lifetime));
        });
        let now = Timestamp::from_seconds(NOW.seconds() + i64::from(left));
        let request = TokenRequest {
            audiences: resources.iter().map(|&uri| uri.into()).collect(),
            ..asker.asks(&asked.join(" "), now)
        };
        let (reply, store) = redeemed(Artefact::Refresh, &terms(&agreed, None), &request);
        let Ok(issued) = reply else {
            prop_assert_eq!(store.commits(), 0);
            return Ok(());
        };
        for scope in issued.scopes.iter() {
            prop_assert!(["openid", "api.read"].contains(&scope) && allowed.contains(&scope), "{scope}");
            prop_assert!(asked.is_empty() || asked.contains(&scope), "{scope}");
        }
        prop_assert!(!issued.scopes.is_empty(), "a token without scopes would be a legacy tool's");
        for uri in issued.audiences.iter().map(String::as_str) {
            prop_assert!(audiences.contains(&uri), "{uri}");
            prop_assert!(agreed.is_empty() || agreed.contains(&uri), "{uri}");
            prop_assert!(resources.is_empty() || resources.contains(&uri), "{uri}");
        }
        prop_assert!(agreed.is_empty() || !issued.audiences.is_empty(), "it would be for this server");
        let session = &store.rows().sessions[&SESSION];
        prop_assert!(issued.access_expires_at <= session.expires_at);
        prop_assert!(issued.expires_in <= lifetime);
    }
}

#[test]
fn the_first_tokens_of_a_code_have_what_was_agreed_on() {
    let asker = asker(|app| app.session_lifetime = Some(crate::time::Lifetime::from_seconds(700)));
    let agreed = Terms { amr: vec!["pwd".into()], browser: Some(SESSION), ..terms(&[API], None) };
    let (reply, store) = redeemed(Artefact::Code, &agreed, &asker.asks("", later(9)));
    let issued = reply.unwrap();
    assert_eq!((&issued.audiences[..], issued.terms.as_deref()), (&[API.to_owned()][..], Some(&agreed)));
    assert_eq!((issued.expires_in, issued.refresh_generation), (700, Some(0)));
    let session = &store.rows().sessions[&issued.session];
    assert_eq!((session.terms.as_deref(), session.expires_at), (Some(&agreed), later(709)));
}
