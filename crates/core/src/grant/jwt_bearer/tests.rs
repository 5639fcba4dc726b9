use super::*;
use crate::application::{AcceptedIssuer, Application, ClientAuthentication};
use crate::client::Registration;
use crate::consent::Consent;
use crate::directory::{Departures, DirectoryFile, Person};
use crate::fixtures::{
    Asker, NOW, Rows, SESSION, TestStore, application, block_on, directory, just_before, later, person,
    scopes,
};
use crate::grant::{Settled, redeem};
use crate::scope::Scopes;
use crate::secret::KeyThumbprint;
use crate::session::{Holder, Session, SessionState};

const ONCE: OnceId = OnceId::from_bytes([8; 16]);
const API: &str = "https://api.example";

fn corp() -> IssuerName {
    IssuerName::parse("corp").unwrap()
}

/// An application that accepts assertions, of people who are not asked.
fn accepting() -> Application {
    Application {
        grants: vec![GrantType::JwtBearer, GrantType::RefreshToken],
        trusted_issuers: vec![AcceptedIssuer { issuer: corp(), audiences: vec!["wiki".into()] }],
        consent: false,
        ..application()
    }
}

fn asker(edit: impl FnOnce(&mut Application)) -> Asker {
    let mut application = accepting();
    edit(&mut application);
    Asker::new(|registration| *registration = Registration::of(&Arc::new(application)))
}

fn about(name: Named) -> Assertion {
    Assertion {
        client: ClientId::of_application(&application().client_id),
        issuer: corp(),
        person: name,
        issued_at: NOW,
        expires_at: later(300),
        id: ONCE,
        remembered_until: later(900),
    }
}

fn ann() -> Assertion {
    about(Named::UserName(person("ann")))
}

fn present(
    store: &TestStore,
    assertion: &Assertion,
    request: &TokenRequest<'_>,
) -> Settled<Result<Issued, Refusal>> {
    block_on(redeem(store, &Redeem { assertion, session: SESSION }, request)).unwrap()
}

fn reply(store: &TestStore, assertion: &Assertion, asker: &Asker, scope: &str) -> Result<Issued, Refusal> {
    let before = store.commits();
    let settled = present(store, assertion, &asker.asks(scope, later(10)));
    if settled.reply.is_err() {
        assert_eq!((settled.event, store.commits()), (None, before), "a refusal writes nothing");
    }
    settled.reply
}

fn people() -> TestStore {
    TestStore::new(Rows::with_people())
}

/// A store where ann agreed to this at that time.
fn agreed(text: &str, audiences: &[&str], given_at: Timestamp) -> TestStore {
    let audiences = audiences.iter().map(|&uri| uri.into()).collect();
    let consent = Consent { scopes: scopes(text), audiences, given_at };
    let consents = [(application().client_id, consent)].into();
    let mut rows = Rows::with_people();
    rows.consents.insert(person("ann"), (1, consents));
    TestStore::new(rows)
}

#[test]
fn an_assertion_begins_a_session_and_is_used_with_it() {
    let (store, asker) = (people(), asker(|_| {}));
    let settled = present(&store, &ann(), &asker.asks("openid email", later(10)));
    let issued = settled.reply.unwrap();
    assert_eq!((issued.session, &issued.person), (SESSION, &person("ann")));
    assert_eq!((issued.scopes, issued.refresh_generation), (scopes("openid email"), Some(0)));
    assert_eq!((issued.audiences, issued.expires_in), (vec![API.to_owned()], 3600));
    let rows = store.rows();
    let started = Session {
        id: SESSION,
        person: person("ann"),
        holder: Holder::Client { id: asker.client.id(), name: "Wiki".into() },
        scopes: scopes("openid email"),
        created_at: later(10),
        // The person had proved who they are when the issuer said so.
        authenticated_at: NOW,
        expires_at: later(10 + 28_800),
        generation: 0,
        rotated_at: later(10),
        state: SessionState::Live,
        terms: Some(Arc::new(Terms {
            issuer: Some(corp()),
            proved_at: Some(ann().issued_at),
            ..Terms::default()
        })),
    };
    assert_eq!(rows.sessions[&SESSION], started);
    assert!(rows.used.contains(&ONCE));
    let event = Event::SessionStarted {
        session: SESSION,
        person: person("ann"),
        grant: "urn:ietf:params:oauth:grant-type:jwt-bearer",
        client: "Wiki".into(),
    };
    assert_eq!(settled.event, Some(event));
}

#[test]
fn an_application_that_may_not_refresh_gets_no_refresh_token() {
    let asker = asker(|application| application.grants = vec![GrantType::JwtBearer]);
    assert_eq!(reply(&people(), &ann(), &asker, "").unwrap().refresh_generation, None);
}

// Holds: ledger-31, rfc7523-3-jti, rfc7523-3.1-invalid-grant
#[test]
fn ledger_23_an_assertion_is_used_once_whoever_comes_second() {
    let (store, asker) = (people(), asker(|_| {}));
    assert!(reply(&store, &ann(), &asker, "").is_ok());
    assert_eq!(reply(&store, &ann(), &asker, ""), Err(Refusal::InvalidGrant));
    assert_eq!(store.rows().sessions[&SESSION].state, SessionState::Live);
    // And when both have read before either of them writes.
    let rival = vec![Change::Use { id: ONCE, until: later(900), durable: true }];
    let store = people().with_rival(rival);
    assert_eq!(present(&store, &ann(), &asker.asks("", NOW)).reply, Err(Refusal::InvalidGrant));
    assert!(store.rows().sessions.is_empty());
}

// Holds: rfc7523-3.1-known-issuer
#[test]
fn ledger_10_an_assertion_is_the_clients_that_accepts_its_issuer() {
    let other = Assertion { client: ClientId::from_bytes([9; 16]), ..ann() };
    assert_eq!(reply(&people(), &other, &asker(|_| {}), ""), Err(Refusal::InvalidGrant));
    let other_grant = asker(|application| application.grants = vec![GrantType::AuthorizationCode]);
    assert_eq!(reply(&people(), &ann(), &other_grant, ""), Err(Refusal::UnauthorizedClient));
}

// Holds: rfc7523-3-exp
#[test]
fn an_assertion_expires_exactly_at_its_end() {
    let asker = asker(|_| {});
    let at = |now| present(&people(), &ann(), &asker.asks("", now)).reply;
    assert!(at(just_before(later(300))).is_ok());
    assert_eq!(at(later(300)), Err(Refusal::InvalidGrant));
}

#[test]
fn ledger_06_nobody_who_may_have_nothing_gets_something_by_an_assertion() {
    for name in ["bob", "nobody"] {
        let assertion = about(Named::UserName(person(name)));
        assert_eq!(reply(&people(), &assertion, &asker(|_| {}), ""), Err(Refusal::InvalidGrant), "{name}");
    }
    // Of two people who had the name one after the other, the issuer spoke of the first.
    let file = directory().file().clone();
    let departed: Departures = [(person("ann"), later(5))].into();
    let directory = Arc::new(Directory::new(file, departed, 2).unwrap());
    let store = TestStore::new(Rows { directory, ..Rows::default() });
    assert_eq!(reply(&store, &ann(), &asker(|_| {}), ""), Err(Refusal::InvalidGrant));
    assert!(reply(&store, &Assertion { issued_at: later(6), ..ann() }, &asker(|_| {}), "").is_ok());
}

#[test]
fn ledger_17_an_application_that_is_not_for_the_person_gets_nothing() {
    let asker = asker(|application| {
        application.everybody = false;
        application.people = vec![person("zed")];
    });
    assert_eq!(reply(&people(), &ann(), &asker, ""), Err(Refusal::InvalidGrant));
}

#[test]
fn only_an_application_that_proves_who_it_is_presents_one() {
    let public = asker(|application| application.authentication = ClientAuthentication::None);
    let store = people();
    assert_eq!(reply(&store, &ann(), &public, ""), Err(Refusal::UnauthorizedClient));
    // The assertion is as good as before.
    assert!(reply(&store, &ann(), &asker(|_| {}), "").is_ok());
}

#[test]
fn a_session_ends_with_the_trust_in_whose_word_it_began_with() {
    let (store, trusting) = (people(), asker(|_| {}));
    reply(&store, &ann(), &trusting, "").unwrap();
    let refresh = |asker: &Asker| {
        let token = crate::grant::refresh_token::Redeem { session: SESSION, generation: 0 };
        block_on(redeem(&store, &token, &asker.asks("", later(20)))).unwrap().reply
    };
    let other = asker(|application| {
        application.trusted_issuers[0].issuer = IssuerName::parse("other").unwrap();
    });
    let none = asker(|application| application.trusted_issuers.clear());
    for distrusting in [&other, &none] {
        assert_eq!(refresh(distrusting), Err(Refusal::InvalidRefreshToken));
        assert_eq!(reply(&people(), &ann(), distrusting, ""), Err(Refusal::InvalidGrant));
    }
    assert!(refresh(&trusting).is_ok());
}

#[test]
fn ledger_09_an_assertion_does_not_go_around_consent() {
    let asking = asker(|application| application.consent = true);
    let refused = Err(Refusal::ConsentRequired);
    assert_eq!(reply(&people(), &ann(), &asking, ""), refused);
    assert_eq!(reply(&agreed("openid", &[API], NOW), &ann(), &asking, "openid email"), refused);
    assert_eq!(
        reply(&agreed("openid email", &[], NOW), &ann(), &asking, "openid"),
        refused,
        "not the resource"
    );
    let all = "openid email offline_access";
    assert_eq!(reply(&agreed(all, &[API], NOW), &ann(), &asking, "").unwrap().scopes, scopes(all));
    let some = agreed("openid", &[API], NOW);
    assert!(reply(&some, &ann(), &asking, "openid").is_ok());
    // What is refreshed later is no more than that.
    assert_eq!(some.rows().sessions[&SESSION].scopes, scopes("openid"));
    // Somebody else who had the name agreed to it.
    let file = directory().file().clone();
    let departed: Departures = [(person("ann"), later(5))].into();
    let store = agreed(all, &[API], later(5));
    let directory = Arc::new(Directory::new(file, departed, 2).unwrap());
    let store = TestStore::new(Rows { directory, ..store.rows() });
    let later_one = Assertion { issued_at: later(6), ..ann() };
    assert_eq!(reply(&store, &later_one, &asking, ""), refused);
}

#[test]
fn an_address_that_several_have_is_nobodys() {
    let with = |addresses: &[(&str, &str)]| {
        let people = addresses
            .iter()
            .map(|(name, email)| Person { email: Some((*email).into()), ..Person::named(person(name)) });
        let file = DirectoryFile { people: people.collect(), ..DirectoryFile::default() };
        let directory = Arc::new(Directory::new(file, Departures::new(), 1).unwrap());
        TestStore::new(Rows { directory, ..Rows::default() })
    };
    let by_email = |email: &str| about(Named::Email(email.into()));
    let one = || with(&[("ann", "ann@example.org"), ("cy", "cy@example.org")]);
    let asker = asker(|_| {});
    assert_eq!(reply(&one(), &by_email("ann@example.org"), &asker, "").unwrap().person, person("ann"));
    for other in ["Ann@example.org", "ann@example.org ", "ann", ""] {
        assert_eq!(reply(&one(), &by_email(other), &asker, ""), Err(Refusal::InvalidGrant), "{other}");
    }
    let two = with(&[("ann", "ann@example.org"), ("cy", "ann@example.org")]);
    assert_eq!(reply(&two, &by_email("ann@example.org"), &asker, ""), Err(Refusal::InvalidGrant));
}

#[test]
fn scopes_resources_and_keys_are_held_to() {
    let asker = asker(|application| application.dpop_bound_access_tokens = true);
    let key = Some(KeyThumbprint::from_bytes([1; 32]));
    let with = |scope: &str, audience: &str| {
        let audiences = vec![audience.to_owned()];
        let request = TokenRequest { dpop_key: key, audiences, ..asker.asks(scope, NOW) };
        present(&people(), &ann(), &request).reply
    };
    assert!(matches!(reply(&people(), &ann(), &asker, ""), Err(Refusal::InvalidDpopProof(_))));
    assert_eq!(with("openid", API).unwrap().dpop_key, key);
    assert_eq!(with("openid admin", API), Err(Refusal::InvalidScope));
    assert_eq!(with("openid", "https://other.example"), Err(Refusal::InvalidTarget));
    assert_eq!(Scopes::default(), scopes(""));
}

#[test]
fn ledger_28_an_outage_is_no_refusal_of_an_assertion() {
    let asker = asker(|_| {});
    let (down, assertion) = (people().down(), ann());
    let redeemed = Redeem { assertion: &assertion, session: SESSION };
    block_on(redeem(&down, &redeemed, &asker.asks("", NOW))).unwrap_err();
}
