use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::application::{AcceptedIssuer, ClientAuthentication, ScopeDescription, TokenExchangePolicy};
use crate::client::Registration;
use crate::consent::Consent;
use crate::directory::{Departures, Directory};
use crate::fixtures::{
    Asker, NOW, Rows, SESSION, TestStore, application, block_on, directory, just_before, later, person,
    scopes, session,
};
use crate::grant::{Settled, settle};
use crate::ids::{ClientId, IssuerName};
use crate::secret::KeyThumbprint;
use crate::session::{EndReason, Holder, SessionState, Terms};

const LEDGER: &str = "https://ledger.example";
const MAIL: &str = "https://mail.example";
const ARN: &str = "arn:aws:sso::111122223333:application/ssoins-0123456789abcdef/apl-0123456789abcdef";

fn id(name: &str) -> ApplicationId {
    ApplicationId::parse(name).unwrap()
}

/// The application whose tokens are exchanged.
fn wiki() -> Application {
    Application { arn: Some(id(ARN)), ..application() }
}

/// The application that exchanges them.
fn gateway() -> Application {
    Application {
        client_id: id("gateway"),
        name: "Gateway".into(),
        grants: vec![GrantType::TokenExchange],
        scopes: scopes("openid email admin"),
        consent: false,
        token_exchange: Some(TokenExchangePolicy {
            subjects_of: vec![id("wiki")],
            audiences: vec![LEDGER.into(), MAIL.into()],
            impersonation: false,
        }),
        ..application()
    }
}

fn asker(edit: impl FnOnce(&mut Application)) -> Asker {
    let mut application = gateway();
    edit(&mut application);
    Asker::new(|registration| *registration = Registration::of(&Arc::new(application)))
}

fn policy(edit: impl FnOnce(&mut TokenExchangePolicy)) -> Asker {
    asker(|application| edit(application.token_exchange.as_mut().unwrap()))
}

/// Ann's token of the wiki, good for half an hour.
fn source() -> Source {
    Source {
        application: Some(id("wiki")),
        subject: None,
        session: Some(SESSION),
        scopes: scopes("openid email offline_access"),
        expires_at: later(1800),
        actors: vec![],
    }
}

fn rows() -> Rows {
    let mut file = directory().file().clone();
    file.scopes = vec![ScopeDescription { name: "admin".into(), description: "administer".into() }];
    file.applications = vec![wiki(), gateway()];
    let directory = Arc::new(Directory::new(file, Departures::new(), 1).unwrap());
    let holder = Holder::Client { id: ClientId::of_application(&id("wiki")), name: "Wiki".into() };
    Rows { directory, ..Rows::default() }.with(Session { holder, ..session() })
}

fn settled(
    rows: Rows,
    source: &Source,
    names_actor: bool,
    request: &TokenRequest<'_>,
) -> Settled<Result<AccessOnly, Refusal>> {
    let store = TestStore::new(rows);
    let settled = block_on(settle(&store, &Exchange { source, names_actor, request })).unwrap();
    assert_eq!(store.commits(), 0, "nothing is written");
    assert_eq!(settled.event.is_some(), settled.reply.is_ok());
    settled
}

fn reply(rows: Rows, source: &Source, asker: &Asker, scope: &str) -> Result<AccessOnly, Refusal> {
    settled(rows, source, false, &asker.asks(scope, NOW)).reply
}

fn good(source: &Source, asker: &Asker) -> AccessOnly {
    reply(rows(), source, asker, "").unwrap()
}

#[test]
fn an_application_acts_for_whom_it_was_given_a_token_of() {
    let settled = settled(rows(), &source(), false, &asker(|_| {}).asks("", NOW));
    let token = AccessOnly {
        subject: Subject::Person {
            person: person("ann"),
            session: SESSION,
            authenticated_at: NOW,
            terms: None,
        },
        scopes: scopes("openid email"),
        audiences: vec![LEDGER.into(), MAIL.into()],
        expires_at: later(1800),
        expires_in: 1800,
        dpop_key: None,
        actors: vec!["gateway".into()],
    };
    assert_eq!(settled.reply, Ok(token));
    let event = Event::TokenExchanged {
        application: id("gateway"),
        from: id("wiki"),
        subject: "ann".into(),
        session: Some(SESSION),
        audiences: vec![LEDGER.into(), MAIL.into()],
    };
    assert_eq!(settled.event, Some(event));
}

#[test]
fn an_applications_own_token_is_exchanged_as_its_own() {
    let own = Source { session: None, subject: Some(id("wiki")), ..source() };
    assert_eq!(good(&own, &asker(|_| {})).subject, Subject::Application(id("wiki")));
}

#[test]
fn a_second_exchange_is_about_whom_the_first_was_about() {
    let about = |subject| {
        let source = Source { session: None, subject, actors: vec!["wiki".into()], ..source() };
        reply(rows(), &source, &asker(|_| {}), "").map(|token| (token.subject, token.actors.join(" ")))
    };
    let gateways = (Subject::Application(id("gateway")), "gateway wiki".to_owned());
    assert_eq!(about(Some(id("gateway"))), Ok(gateways));
    for nobody in [None, Some(id("removed"))] {
        assert_eq!(about(nobody), Err(unacceptable()));
    }
}

// Holds: rfc8693-5-delegation
#[test]
fn the_policy_names_whose_tokens_are_exchanged() {
    let by_arn = policy(|policy| policy.subjects_of = vec![id(ARN)]);
    assert_eq!(good(&source(), &by_arn).scopes, scopes("openid email"));
    for other in [
        policy(|policy| policy.subjects_of = vec![id("gateway")]),
        policy(|policy| policy.subjects_of.clear()),
    ] {
        assert_eq!(reply(rows(), &source(), &other, ""), Err(unacceptable()));
    }
    // Its own tokens are no exception.
    let own = Source { application: Some(id("gateway")), ..source() };
    assert_eq!(reply(rows(), &own, &asker(|_| {}), ""), Err(unacceptable()));
    for from in [None, Some(id("removed"))] {
        let source = Source { application: from, ..source() };
        let anybody = policy(|policy| policy.subjects_of.push(id("removed")));
        assert_eq!(reply(rows(), &source, &anybody, ""), Err(unacceptable()));
    }
}

// Holds: rfc8693-2.1-client-authenticated, rfc8693-5-delegation
#[test]
fn only_who_may_exchange_and_proves_who_it_is_does() {
    let refused = Err(Refusal::UnauthorizedClient);
    let without_grant = asker(|application| application.grants = vec![GrantType::RefreshToken]);
    let without_policy = asker(|application| application.token_exchange = None);
    let public = asker(|application| application.authentication = ClientAuthentication::None);
    let tool =
        Asker::new(|registration| registration.grants = [GrantType::TokenExchange].into_iter().collect());
    for asker in [without_grant, without_policy, public, tool] {
        assert_eq!(reply(rows(), &source(), &asker, ""), refused);
    }
    let bound = asker(|application| application.dpop_bound_access_tokens = true);
    assert!(matches!(reply(rows(), &source(), &bound, ""), Err(Refusal::InvalidDpopProof(_))));
    let key = Some(KeyThumbprint::from_bytes([1; 32]));
    let request = TokenRequest { dpop_key: key, ..bound.asks("", NOW) };
    assert_eq!(settled(rows(), &source(), false, &request).reply.unwrap().dpop_key, key);
}

// Holds: ledger-06, ledger-17, rfc8693-2.1-subject-validated
#[test]
fn a_token_dies_with_its_session_and_its_person() {
    let why = EndReason::Logout;
    let ended = Session { state: SessionState::Ended { at: NOW, why }, ..session() };
    let expired = Session { expires_at: NOW, ..session() };
    for gone in [ended, expired] {
        assert_eq!(reply(rows().with(gone), &source(), &asker(|_| {}), ""), Err(unacceptable()));
    }
    let mut nothing = rows();
    nothing.sessions.clear();
    assert_eq!(reply(nothing, &source(), &asker(|_| {}), ""), Err(unacceptable()));
    // Ledger 6: bob is disabled, and nobody is nobody.
    for name in ["bob", "nobody"] {
        let theirs = rows().with(Session { person: person(name), ..session() });
        assert_eq!(reply(theirs, &source(), &asker(|_| {}), ""), Err(unacceptable()), "{name}");
    }
    // Ledger 17: an application that is not for ann cannot act for her either.
    let of_others = asker(|application| {
        application.everybody = false;
        application.people = vec![person("zed")];
    });
    assert_eq!(reply(rows(), &source(), &of_others, ""), Err(unacceptable()));
}

#[test]
fn a_session_that_an_issuer_spoke_for_is_exchanged_while_its_application_trusts_that_one() {
    let corp = IssuerName::parse("corp").unwrap();
    let terms = Terms { issuer: Some(corp.clone()), ..Terms::default() };
    let with = |trusted: Vec<AcceptedIssuer>| {
        let mut rows = rows();
        let mut file = rows.directory.file().clone();
        if !trusted.is_empty() {
            file.applications[0].grants.push(GrantType::JwtBearer);
        }
        file.applications[0].trusted_issuers = trusted;
        rows.directory = Arc::new(Directory::new(file, Departures::new(), 1).unwrap());
        let held = rows.sessions[&SESSION].clone();
        let rows = rows.with(Session { terms: Some(Arc::new(terms.clone())), ..held });
        reply(rows, &source(), &asker(|_| {}), "")
    };
    assert!(with(vec![AcceptedIssuer { issuer: corp.clone(), audiences: vec!["wiki".into()] }]).is_ok());
    assert_eq!(with(vec![]), Err(unacceptable()));
}

#[test]
fn ledger_09_an_exchange_does_not_go_around_consent() {
    let asking = asker(|application| application.consent = true);
    let with = |text: Option<&str>| {
        let mut rows = rows();
        let consent = |text| Consent { scopes: scopes(text), audiences: vec![], given_at: NOW };
        let consents = text.map(|text| (id("gateway"), consent(text))).into_iter().collect();
        rows.consents.insert(person("ann"), (1, consents));
        rows
    };
    assert_eq!(reply(with(None), &source(), &asking, ""), Err(Refusal::ConsentRequired));
    assert_eq!(reply(with(Some("openid")), &source(), &asking, ""), Err(Refusal::ConsentRequired));
    assert_eq!(reply(with(Some("openid")), &source(), &asking, "openid").unwrap().scopes, scopes("openid"));
    assert!(reply(with(Some("openid email")), &source(), &asking, "").is_ok());
}

// Holds: rfc8693-5-not-longer
#[test]
fn it_ends_when_the_first_of_all_ends() {
    let at = |now, source: &Source, asker: &Asker| settled(rows(), source, false, &asker.asks("", now)).reply;
    let long = Source { expires_at: later(90_000), ..source() };
    assert_eq!(at(NOW, &long, &asker(|_| {})).unwrap().expires_in, 3600, "the lifetime");
    let short = asker(|application| {
        application.access_token_lifetime = Some(crate::time::Lifetime::from_seconds(60));
    });
    assert_eq!(at(NOW, &long, &short).unwrap().expires_in, 60);
    assert_eq!(at(later(28_790), &long, &asker(|_| {})).unwrap().expires_in, 10, "the session");
    assert!(at(just_before(later(1800)), &source(), &asker(|_| {})).is_ok());
    assert_eq!(at(later(1800), &source(), &asker(|_| {})), Err(unacceptable()));
}

// Holds: rfc8693-2.1-scope
#[test]
fn ledger_18_no_scope_comes_of_an_exchange_that_both_did_not_have() {
    let asker =
        asker(|application| application.scopes = scopes("openid admin sso:account:access sso-portal:*"));
    let source = Source { scopes: scopes("openid email sso:account:access sso-portal:*"), ..source() };
    assert_eq!(good(&source, &asker).scopes, scopes("openid"));
    for other in ["admin", "email", "openid admin", "sso:account:access", "sso-portal:*"] {
        assert_eq!(reply(rows(), &source, &asker, other), Err(Refusal::InvalidScope), "{other}");
    }
    let legacy = Source { scopes: Scopes::default(), ..source };
    assert_eq!(reply(rows(), &legacy, &asker, ""), Err(Refusal::InvalidScope));
}

// Holds: rfc8693-2.2.2-invalid-target
#[test]
fn resources_are_the_policys() {
    let with = |asker: &Asker, audiences: &[&str]| {
        let audiences = audiences.iter().map(|&uri| uri.into()).collect();
        let request = TokenRequest { audiences, ..asker.asks("", NOW) };
        settled(rows(), &source(), false, &request).reply.map(|token| token.audiences)
    };
    assert_eq!(with(&asker(|_| {}), &[MAIL]), Ok(vec![MAIL.to_owned()]));
    assert_eq!(with(&asker(|_| {}), &[MAIL, "https://api.example"]), Err(Refusal::InvalidTarget));
    assert_eq!(with(&policy(|policy| policy.audiences.clear()), &[]), Err(Refusal::InvalidTarget));
}

// Holds: rfc8693-4.1-act, rfc8693-4.1-act-not-for-access
#[test]
fn whoever_acted_is_remembered() {
    let acted = |actors: &[&str], names_actor, impersonation| {
        let source = Source { actors: actors.iter().map(|&actor| actor.into()).collect(), ..source() };
        let asker = policy(|policy| policy.impersonation = impersonation);
        settled(rows(), &source, names_actor, &asker.asks("", NOW)).reply.map(|token| token.actors.join(" "))
    };
    assert_eq!(acted(&["b", "a"], false, false).unwrap(), "gateway b a");
    assert_eq!(acted(&["b", "a"], true, true).unwrap(), "gateway b a");
    assert_eq!(acted(&["b", "a"], false, true).unwrap(), "b a", "nobody need know that it was exchanged");
    assert_eq!(acted(&["gateway", "a"], false, false).unwrap(), "gateway a");
    assert_eq!(acted(&["d", "c", "b", "a"], false, false).unwrap(), "gateway d c b a");
    let five = ["e", "d", "c", "b", "a"];
    assert!(matches!(acted(&five, false, false), Err(Refusal::InvalidRequest(_))));
    assert!(acted(&five, false, true).is_ok());
}

#[test]
fn ledger_28_an_outage_is_no_refusal_of_an_exchange() {
    let (asker, source) = (asker(|_| {}), source());
    let exchange = Exchange { source: &source, names_actor: false, request: &asker.asks("", NOW) };
    block_on(settle(&TestStore::new(rows()).down(), &exchange)).unwrap_err();
}

const SCOPES: [&str; 6] = ["openid", "email", "admin", "a", "sso:account:access", "sso-portal:*"];
const AUDIENCES: [&str; 4] = [LEDGER, MAIL, "https://api.example", "https://x.example"];

fn some(of: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(of, 0..=of.len())
}

fn set(of: &[&str]) -> Scopes {
    Scopes::parse(of.iter().copied()).unwrap()
}

fn texts(of: &[&str]) -> Vec<String> {
    of.iter().map(|&text| text.into()).collect()
}

proptest! {
    // Holds: rfc8693-2.1-scope, rfc8693-5-not-longer
    #[test]
    fn what_comes_out_never_exceeds_what_went_in(
        (had, may, asked) in (some(&SCOPES), some(&SCOPES), some(&SCOPES)),
        (allowed, wanted) in (some(&AUDIENCES), some(&AUDIENCES)),
        (ends, now) in (0..40_000_u32, 0..30_000_u32),
        actors in vec(prop_oneof![Just("gateway"), Just("a"), Just("b")], 0..7),
        (names_actor, impersonation, own) in (any::<bool>(), any::<bool>(), any::<bool>()),
        about in prop_oneof![Just("wiki"), Just("gateway")],
    ) {
        let source = Source {
            application: Some(id("wiki")),
            subject: own.then(|| id(about)),
            session: (!own).then_some(SESSION),
            scopes: set(&had),
            expires_at: later(ends),
            actors: texts(&actors),
        };
        let asker = asker(|application| {
            application.scopes = set(&may);
            let policy = application.token_exchange.as_mut().unwrap();
            policy.audiences = texts(&allowed);
            policy.impersonation = impersonation;
        });
        let request = TokenRequest { audiences: texts(&wanted), ..asker.asks(&asked.join(" "), later(now)) };
        let Ok(token) = settled(rows(), &source, names_actor, &request).reply else { return Ok(()) };

        match &token.subject {
            Subject::Person { person: who, session, .. } => {
                prop_assert!(!own && *who == person("ann") && *session == SESSION);
            }
            Subject::Application(who) => prop_assert!(own && *who == id(about)),
        }
        prop_assert!(!token.scopes.is_empty() && !token.scopes.allow_account_access());
        prop_assert!(token.scopes.is_subset(&source.scopes) && token.scopes.is_subset(&set(&may)));
        prop_assert!(asked.is_empty() || token.scopes.is_subset(&set(&asked)));
        prop_assert!(!token.audiences.is_empty());
        prop_assert!(token.audiences.iter().all(|audience| allowed.contains(&audience.as_str())));
        prop_assert!(wanted.is_empty() || token.audiences == texts(&wanted));
        prop_assert!(later(now) < token.expires_at && token.expires_at <= source.expires_at);
        prop_assert!(own || token.expires_at <= session().expires_at);
        prop_assert!(token.actors.ends_with(&source.actors), "{:?}", token.actors);
        prop_assert!(token.actors.len() <= source.actors.len() + 1);
        prop_assert!(token.actors.len() <= MOST_ACTORS.max(source.actors.len()));
        prop_assert!(token.actors.first().is_some_and(|last| last == "gateway") || (impersonation && !names_actor));
    }
}
