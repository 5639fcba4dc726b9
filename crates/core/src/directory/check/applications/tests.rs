//! Each rule, by an application that keeps all of them but that one.

use super::*;
use crate::application::{AcceptedIssuer, PublicKey, ScopeDescription, SecretHash, TokenExchangePolicy};
use crate::directory::{Departures, Directory, DirectoryProblem, Group, Person};
use crate::ids::IssuerName;
use crate::scope::Scopes;

const ARN: &str = "arn:aws:sso::111122223333:application/ssoins-0123456789abcdef/apl-0123456789abcdef";

fn id(text: &str) -> ApplicationId {
    ApplicationId::parse(text).unwrap()
}

fn texts<const N: usize>(list: [&str; N]) -> Vec<String> {
    list.map(ToOwned::to_owned).to_vec()
}

fn numbered(count: usize, text: impl Fn(usize) -> String) -> Vec<String> {
    (0..count).map(text).collect()
}

/// As a file has them, unchecked.
fn scopes<const N: usize>(list: [&str; N]) -> Scopes {
    Scopes::unchecked(list)
}

fn hashes(count: u8) -> Vec<SecretHash> {
    (0..count).map(|byte| SecretHash::from_bytes([byte; 32])).collect()
}

fn key(kid: Option<&str>) -> PublicKey {
    PublicKey {
        kty: "OKP".to_owned(),
        kid: kid.map(ToOwned::to_owned),
        crv: Some("Ed25519".to_owned()),
        x: Some("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned()),
        ..PublicKey::default()
    }
}

/// A web application with a bit of everything.
fn web() -> Application {
    Application {
        client_id: id("web"),
        name: "Web".to_owned(),
        arn: Some(id(ARN)),
        authentication: ClientAuthentication::ClientSecretBasic,
        secret_hashes: hashes(1),
        keys: Vec::new(),
        redirect_uris: texts(["https://web.example/cb"]),
        post_logout_redirect_uris: texts(["https://web.example/"]),
        backchannel_logout_uri: Some("https://web.example/logout".to_owned()),
        grants: vec![
            GrantType::AuthorizationCode,
            GrantType::RefreshToken,
            GrantType::TokenExchange,
            GrantType::JwtBearer,
        ],
        scopes: scopes(["openid", "orders:read"]),
        audiences: texts(["https://orders.example"]),
        resource: Some("https://web.example".to_owned()),
        people: vec![PersonId::parse("ada").unwrap()],
        groups: vec![GroupName::parse("ops").unwrap()],
        everybody: false,
        consent: true,
        access_token_lifetime: Some(Lifetime::from_seconds(60)),
        session_lifetime: Some(Lifetime::from_seconds(300)),
        signing_algorithm: crate::signing_key::SigningAlgorithm::Es256,
        dpop_bound_access_tokens: false,
        require_pushed_authorization_requests: false,
        token_exchange: Some(TokenExchangePolicy {
            subjects_of: vec![id("web"), id("cli")],
            audiences: texts(["urn:example:stock"]),
            impersonation: false,
        }),
        trusted_issuers: vec![accepted("forge", &["doorward"])],
        iam_principals: texts(["arn:aws:iam::111122223333:role/*"]),
    }
}

fn accepted(issuer: &str, audiences: &[&str]) -> AcceptedIssuer {
    AcceptedIssuer {
        issuer: IssuerName::parse(issuer).unwrap(),
        audiences: audiences.iter().map(|&audience| audience.to_owned()).collect(),
    }
}

/// A public client, which has least of all.
fn cli() -> Application {
    Application {
        client_id: id("cli"),
        name: "Command line".to_owned(),
        arn: None,
        authentication: ClientAuthentication::None,
        secret_hashes: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        backchannel_logout_uri: None,
        redirect_uris: Vec::new(),
        grants: vec![GrantType::DeviceCode],
        scopes: scopes(["openid"]),
        audiences: Vec::new(),
        resource: None,
        people: Vec::new(),
        groups: Vec::new(),
        everybody: true,
        access_token_lifetime: None,
        session_lifetime: None,
        token_exchange: None,
        trusted_issuers: Vec::new(),
        iam_principals: Vec::new(),
        ..web()
    }
}

fn directory() -> DirectoryFile {
    DirectoryFile {
        people: vec![Person::named(PersonId::parse("ada").unwrap())],
        groups: vec![Group { name: GroupName::parse("ops").unwrap(), members: Vec::new() }],
        scopes: vec![ScopeDescription {
            name: "orders:read".to_owned(),
            description: "see orders".to_owned(),
        }],
        applications: vec![web(), cli()],
        ..DirectoryFile::default()
    }
}

/// What is wrong with the directory whose first application was changed.
fn wrong(edit: impl FnOnce(&mut Application)) -> Vec<DirectoryProblem> {
    let mut file = directory();
    edit(&mut file.applications[0]);
    file.problems()
}

const AT: Place = Place::entry("applications", 0);

/// The change makes one mistake, this one at this place; `what` begins with what follows the name of the entry.
#[track_caller]
fn mistake(edit: impl FnOnce(&mut Application), at: Place, what: &str) {
    let found = wrong(edit);
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1, "{what}: {lines:?}");
    assert!(lines[0].starts_with(&format!("application web: {what}")), "{what}: {lines:?}");
    assert_eq!(found[0].at, at, "{what}");
}

#[track_caller]
fn fine(edit: impl FnOnce(&mut Application)) {
    let found = wrong(edit);
    assert!(found.is_empty(), "{found:?}");
}

/// An application that only asks for tokens in its own name.
fn service(application: &mut Application) {
    *application = Application {
        client_id: id("web"),
        authentication: ClientAuthentication::ClientSecretBasic,
        secret_hashes: hashes(1),
        grants: vec![GrantType::ClientCredentials],
        everybody: false,
        ..cli()
    };
    // The other one still exchanges nothing of it.
}

#[test]
fn the_directory_of_these_tests_has_no_mistake() {
    fine(|_| {});
    fine(service);
}

#[test]
fn an_application_has_a_name_and_ids_of_its_own() {
    mistake(|web| web.name.clear(), AT.member("name"), "name must be 1 to 256 characters");
    mistake(|web| web.name = "x".repeat(257), AT.member("name"), "name must be 1 to 256 characters");
    fine(|web| web.name = "é".repeat(256));
    mistake(|web| web.name = "a\nb".to_owned(), AT.member("name"), "name must not have control characters");
    for bad in [
        "web",
        "arn:aws:sso::111122223333:application/ssoins-0123456789abcdef/apl-0123456789abcde",
        "arn:aws:sso::111122223333:application/ssoins-0123456789abcdef0/apl-0123456789abcdef",
        "arn:aws:sso::11112222333:application/ssoins-0123456789abcdef/apl-0123456789abcdef",
        "arn:aws:sso::11112222333x:application/ssoins-0123456789abcdef/apl-0123456789abcdef",
        "arn:aws:sso::111122223333:application/ssoins-0123456789abcd-f/apl-0123456789abcdef",
        "arn:aws:sso:::application/ssoins-0123456789abcdef/apl-0123456789abcdef",
        "arn:aws:iam::111122223333:application/ssoins-0123456789abcdef/apl-0123456789abcdef",
    ] {
        mistake(|web| web.arn = Some(id(bad)), AT.member("arn"), "arn must look like");
    }

    let mut file = directory();
    file.applications[1].arn = Some(id(ARN));
    let taken = "application cli: arn is the arn or client_id of another application";
    assert_eq!(file.problems()[0].to_string(), taken);
    file.applications[1].arn = None;
    file.applications[1].client_id = id(ARN);
    file.applications[0].token_exchange.as_mut().unwrap().subjects_of.pop();
    let found = file.problems();
    assert_eq!(found[0].to_string(), "application web: arn is the arn or client_id of another application");
    assert_eq!((found.len(), found[0].at), (1, AT.member("arn")));
    // Its own is no other's.
    file.applications[0].arn = None;
    file.applications[1].arn = Some(id(ARN));
    assert_eq!(file.problems(), []);
    file.applications[1].client_id = id("web");
    file.applications[1].arn = None;
    let found = file.problems();
    assert_eq!(found[0].to_string(), "application web occurs twice");
    assert_eq!((found.len(), found[0].at), (1, Place::entry("applications", 1)));
}

#[test]
fn an_application_has_what_its_authentication_takes_and_nothing_else() {
    use ClientAuthentication::{ClientSecretBasic, ClientSecretPost, None, PrivateKeyJwt};
    for way in [ClientSecretBasic, ClientSecretPost] {
        let with = |count, keys| {
            move |web: &mut Application| {
                (web.authentication, web.secret_hashes, web.keys) = (way, hashes(count), keys);
            }
        };
        fine(with(1, vec![]));
        fine(with(2, vec![]));
        for count in [0, 3] {
            mistake(with(count, vec![]), AT.member("secret_hashes"), "secret_hashes must be 1 or 2");
        }
        mistake(with(1, vec![key(Option::None)]), AT.member("keys"), "keys belong to authentication =");
    }
    mistake(
        |web| web.secret_hashes = vec![hashes(1)[0]; 2],
        AT.member("secret_hashes").element(1),
        "secret_hashes has this one twice",
    );
    let keys = |count: usize| (0..count).map(|n| key(Some(&n.to_string()))).collect::<Vec<_>>();
    let with = |count, secrets| {
        let keys = keys(count);
        move |web: &mut Application| {
            (web.authentication, web.secret_hashes, web.keys) = (PrivateKeyJwt, hashes(secrets), keys);
        }
    };
    fine(with(1, 0));
    fine(with(10, 0));
    for count in [0, 11] {
        mistake(with(count, 0), AT.member("keys"), "keys must be 1 to 10");
    }
    mistake(with(1, 1), AT.member("secret_hashes"), "secret_hashes must not be there");
    let public = |edit: fn(&mut Application)| {
        move |web: &mut Application| {
            (web.authentication, web.secret_hashes) = (None, Vec::new());
            (web.resource, web.iam_principals) = (Option::None, Vec::new());
            web.trusted_issuers.clear();
            web.grants.retain(|grant| *grant != GrantType::JwtBearer);
            edit(web);
        }
    };
    fine(public(|_| {}));
    for (edit, member, what) in [
        (
            (|web| web.secret_hashes = hashes(1)) as fn(&mut Application),
            "secret_hashes",
            "secret_hashes must not be there",
        ),
        (|web| web.keys = vec![key(Option::None)], "keys", "keys must not be there"),
        (
            |web| web.grants.push(GrantType::ClientCredentials),
            "grants",
            "grants must not have client_credentials",
        ),
        (
            |web| {
                web.grants.push(GrantType::JwtBearer);
                web.trusted_issuers = vec![accepted("ci", &["web"])];
            },
            "grants",
            "grants must not have jwt-bearer",
        ),
        (|web| web.resource = Some("urn:a:b".to_owned()), "resource", "resource must not be there"),
        (
            |web| web.iam_principals = texts(["arn:aws:iam::1:user/a"]),
            "iam_principals",
            "iam_principals would keep",
        ),
    ] {
        mistake(public(edit), AT.member(member), what);
    }
}

#[test]
fn a_key_is_told_from_others() {
    let with = |keys: Vec<PublicKey>| {
        move |web: &mut Application| {
            (web.authentication, web.secret_hashes, web.keys) =
                (ClientAuthentication::PrivateKeyJwt, Vec::new(), keys);
        }
    };
    let at = AT.member("keys");
    fine(with(vec![key(None)]));
    fine(with(vec![key(Some("a")), key(Some("b"))]));
    mistake(with(vec![key(Some("a")), key(None)]), at.element(1), "key 2 must have a kid");
    mistake(
        with(vec![key(Some("a")), key(Some("a"))]),
        at.element(1).inner("kid"),
        "key 2 has the kid of another",
    );
    for kid in ["", "a\n", "ü", &"x".repeat(257)] {
        mistake(with(vec![key(Some(kid))]), at.element(0).inner("kid"), "key 1: kid must be 1 to 256 ASCII");
    }
    let crooked = PublicKey { crv: Some("X25519".to_owned()), ..key(None) };
    mistake(with(vec![crooked]), at.element(0).inner("crv"), "key 1: crv must be Ed25519");
}

#[test]
fn grants_go_with_what_they_need() {
    mistake(
        |web| {
            service(web);
            web.grants.clear();
        },
        AT.member("grants"),
        "grants must have one",
    );
    // A resource server that only asks about the tokens of others.
    fine(|web| {
        service(web);
        web.grants.clear();
        web.resource = Some("https://web.example".to_owned());
    });
    mistake(
        |web| web.grants.push(GrantType::AuthorizationCode),
        AT.member("grants").element(4),
        "grants has this one twice",
    );
    mistake(|web| web.redirect_uris.clear(), AT.member("redirect_uris"), "redirect_uris must have one");
    fine(|web| {
        web.grants.remove(0);
        web.redirect_uris.clear();
    });
}

#[test]
fn uris_are_what_they_are_for() {
    let member = |name| AT.member(name);
    mistake(
        |web| web.redirect_uris.push("http://web.example/cb".to_owned()),
        member("redirect_uris").element(1),
        "redirect_uris must be an https URI",
    );
    mistake(
        |web| web.redirect_uris.push(web.redirect_uris[0].clone()),
        member("redirect_uris").element(1),
        "redirect_uris has this one twice",
    );
    let many = |count| numbered(count, |n| format!("https://web.example/{n}"));
    fine(|web| web.redirect_uris = many(10));
    mistake(|web| web.redirect_uris = many(11), member("redirect_uris"), "redirect_uris must be 10 at most");
    let after = "post_logout_redirect_uris";
    fine(|web| web.post_logout_redirect_uris = many(10));
    fine(|web| web.post_logout_redirect_uris = texts(["com.example.web:/bye"]));
    mistake(
        |web| web.post_logout_redirect_uris = many(11),
        member(after),
        "post_logout_redirect_uris must be 10",
    );
    mistake(
        |web| web.post_logout_redirect_uris = texts(["https://web.example/#x"]),
        member(after).element(0),
        "post_logout_redirect_uris must not have a fragment",
    );
    for bad in ["http://web.example/logout", "com.example.web:/logout", "https://web.example/logout#"] {
        let set = |web: &mut Application| web.backchannel_logout_uri = Some(bad.to_owned());
        mistake(set, member("backchannel_logout_uri"), "backchannel_logout_uri must");
    }
    mistake(
        |web| web.audiences.push("orders".to_owned()),
        member("audiences").element(1),
        "audiences must be an absolute URI",
    );
    mistake(
        |web| web.audiences.push(web.audiences[0].clone()),
        member("audiences").element(1),
        "audiences has this one twice",
    );
    let many = |count| numbered(count, |n| format!("urn:example:{n}"));
    fine(|web| web.audiences = many(20));
    mistake(|web| web.audiences = many(21), member("audiences"), "audiences must be 20 at most");
    mistake(
        |web| web.resource = Some("web".to_owned()),
        member("resource"),
        "resource must be an absolute URI",
    );
}

#[test]
fn scopes_are_well_formed_and_known() {
    let at = AT.member("scopes");
    for standard in STANDARD {
        fine(|web| web.scopes = scopes([standard]));
    }
    mistake(|web| web.scopes = Scopes::default(), at, "scopes must have one");
    for bad in ["openid email", "a\"b", "", "größe", "a\\b", &"x".repeat(129)] {
        mistake(|web| web.scopes = scopes(["openid", bad]), at, "scopes must be 1 to 128 ASCII characters");
    }
    let near = "there is no scope orders:raed; did you mean orders:read?";
    mistake(|web| web.scopes = scopes(["orders:raed"]), at, near);
    let far = "there is no scope zzzzz; `scopes` of the directory describes those";
    mistake(|web| web.scopes = scopes(["zzzzz"]), at, far);

    let mut file = directory();
    let described = |n: usize| ScopeDescription { name: format!("{n:0>32}"), description: "x".to_owned() };
    file.scopes.extend((0..65).map(described));
    let names: Vec<String> = file.scopes[1..].iter().map(|scope| scope.name.clone()).collect();
    file.applications[0].scopes = Scopes::parse(names[..64].iter().map(String::as_str)).unwrap();
    assert_eq!(file.problems(), []);
    file.applications[0].scopes = Scopes::unchecked(names.iter().map(String::as_str));
    assert_eq!(
        file.problems()[0].to_string(),
        "application web: scopes must be 64 at most, with 2048 characters in all"
    );
}

#[test]
fn a_scope_is_described_once_and_shortly() {
    let found = |edit: &dyn Fn(&mut Vec<ScopeDescription>)| {
        let mut file = directory();
        edit(&mut file.scopes);
        file.problems().into_iter().map(|problem| (problem.to_string(), problem.at)).collect::<Vec<_>>()
    };
    let scope = |name: &str, description: &str| ScopeDescription {
        name: name.to_owned(),
        description: description.to_owned(),
    };
    // What everybody knows may be said in other words.
    assert_eq!(found(&|scopes| scopes.push(scope("openid", &"é".repeat(200)))), []);
    let at = Place::entry("scopes", 1);
    for (bad, member, what) in [
        (scope("orders:read", "x"), None, "scope orders:read occurs twice"),
        (scope("a b", "x"), Some("name"), "scope 2: name must be 1 to 128 ASCII characters without spaces"),
        (scope("", "x"), Some("name"), "scope 2: name must be 1 to 128 ASCII characters without spaces"),
        (scope("a", ""), Some("description"), "scope 2: description must be 1 to 200 characters"),
        (
            scope("a", &"x".repeat(201)),
            Some("description"),
            "scope 2: description must be 1 to 200 characters",
        ),
        (scope("a", "x\ny"), Some("description"), "scope 2: description must not have control characters"),
    ] {
        let found = found(&|scopes| scopes.push(bad.clone()));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].0.starts_with(what), "{found:?}");
        assert_eq!(found[0].1, Place { member, ..at }, "{what}");
    }
}

#[test]
fn who_may_use_an_application_is_said_in_one_way() {
    mistake(
        |web| web.everybody = true,
        AT.member("everybody"),
        "everybody and people or groups exclude each other",
    );
    mistake(
        |web| {
            web.people.clear();
            web.groups.clear();
        },
        AT,
        "say who may use it",
    );
    fine(|web| web.people.clear());
    fine(|web| web.groups.clear());
    // Each of the grants that give tokens for a person needs somebody.
    for grant in FOR_PEOPLE {
        let found = wrong(|web| {
            web.grants = vec![grant];
            web.people.clear();
            web.groups.clear();
        });
        assert!(
            found.iter().any(|problem| problem.what.contains("say who may use it")),
            "{grant:?}: {found:?}"
        );
    }
    let nobody = "must not be there: none of grants gives a token for a person";
    for (edit, member) in [
        ((|web| web.everybody = true) as fn(&mut Application), "everybody"),
        (|web| web.people = vec![PersonId::parse("ada").unwrap()], "people"),
        (|web| web.groups = vec![GroupName::parse("ops").unwrap()], "groups"),
    ] {
        let both = |web: &mut Application| {
            service(web);
            edit(web);
        };
        mistake(both, AT.member(member), &format!("{member} {nobody}"));
    }
    mistake(
        |web| web.people.push(PersonId::parse("adda").unwrap()),
        AT.member("people").element(1),
        "there is no person adda; did you mean ada?",
    );
    mistake(
        |web| web.groups.insert(0, GroupName::parse("opps").unwrap()),
        AT.member("groups").element(0),
        "there is no group opps; did you mean ops?",
    );
}

#[test]
fn lifetimes_have_bounds() {
    let seconds = |seconds| Some(Lifetime::from_seconds(seconds));
    for good in [60, 43_200] {
        fine(|web| web.access_token_lifetime = seconds(good));
    }
    for bad in [0, 59, 43_201] {
        let set = |web: &mut Application| web.access_token_lifetime = seconds(bad);
        mistake(set, AT.member("access_token_lifetime"), "access_token_lifetime must be 60 to 43200 seconds");
    }
    for good in [300, 7_776_000] {
        fine(|web| web.session_lifetime = seconds(good));
    }
    for bad in [0, 299, 7_776_001] {
        let set = |web: &mut Application| web.session_lifetime = seconds(bad);
        mistake(set, AT.member("session_lifetime"), "session_lifetime must be 300 to 7776000 seconds");
    }
}

#[test]
fn a_token_exchange_says_of_whom_and_for_what() {
    let at = AT.member("token_exchange");
    mistake(|web| web.token_exchange = None, at, "token_exchange is missing");
    mistake(
        |web| web.grants.retain(|grant| *grant != GrantType::TokenExchange),
        at,
        "token_exchange needs urn:ietf:params:oauth:grant-type:token-exchange in grants",
    );
    let policy = |edit: fn(&mut TokenExchangePolicy)| {
        move |web: &mut Application| edit(web.token_exchange.as_mut().unwrap())
    };
    let subjects = at.inner("subjects_of");
    for (edit, at, what) in [
        (
            (|policy| policy.subjects_of.push(id("clii"))) as fn(&mut TokenExchangePolicy),
            subjects.element(2),
            "there is no application clii; did you mean cli?",
        ),
        // Tokens name the client_id, and so does this.
        (|policy| policy.subjects_of.push(id(ARN)), subjects.element(2), "there is no application arn:"),
        (
            |policy| policy.subjects_of.push(id("web")),
            subjects.element(2),
            "token_exchange.subjects_of has this one twice",
        ),
        (|policy| policy.subjects_of.clear(), subjects, "token_exchange.subjects_of must have one"),
        (|policy| policy.audiences.clear(), at.inner("audiences"), "token_exchange.audiences must have one"),
        (
            |policy| policy.audiences.push("stock".to_owned()),
            at.inner("audiences").element(1),
            "token_exchange.audiences must be an absolute URI",
        ),
        (
            |policy| policy.audiences.push(policy.audiences[0].clone()),
            at.inner("audiences").element(1),
            "token_exchange.audiences has this one twice",
        ),
        (
            |policy| policy.audiences = numbered(21, |n| format!("urn:example:{n}")),
            at.inner("audiences"),
            "token_exchange.audiences must be 20 at most",
        ),
    ] {
        mistake(policy(edit), at, what);
    }
}

#[test]
fn assertions_come_from_issuers_and_name_audiences() {
    let at = AT.member("trusted_issuers");
    mistake(|web| web.trusted_issuers.clear(), at, "trusted_issuers must have one");
    mistake(
        |web| web.grants.retain(|grant| *grant != GrantType::JwtBearer),
        at,
        "trusted_issuers needs urn:ietf:params:oauth:grant-type:jwt-bearer in grants",
    );
    mistake(
        |web| web.trusted_issuers.push(accepted("forge", &["x"])),
        at.element(1).inner("issuer"),
        "trusted_issuers has this issuer twice",
    );
    let many = |count| (0..count).map(|n| accepted(&format!("issuer-{n}"), &["x"])).collect();
    fine(|web| web.trusted_issuers = many(20));
    mistake(|web| web.trusted_issuers = many(21), at, "trusted_issuers must be 20 at most");
    let audiences = at.element(0).inner("audiences");
    for (list, at, what) in [
        (vec![], audiences, "must have one"),
        (numbered(11, |n| n.to_string()), audiences, "must be 10 at most"),
        (texts(["a", "a"]), audiences.element(1), "has this one twice"),
        (texts([""]), audiences.element(0), "must be 1 to 512 characters"),
        (texts([&"x".repeat(513)]), audiences.element(0), "must be 1 to 512 characters"),
        (texts(["a\nb"]), audiences.element(0), "must be 1 to 512 characters"),
    ] {
        let set = |web: &mut Application| web.trusted_issuers[0].audiences = list;
        mistake(set, at, &format!("trusted_issuers.audiences {what}"));
    }
    fine(|web| web.trusted_issuers[0].audiences = numbered(10, |n| n.to_string()));

    let known = IssuerName::parse("forges").unwrap();
    let missing = directory().unconfigured(&HashSet::new(), &HashSet::new(), &[&known].into());
    assert_eq!(
        missing[0].to_string(),
        "application web: there is no trusted issuer forge; did you mean forges?"
    );
    assert_eq!((missing.len(), missing[0].at), (1, at.element(0).inner("issuer")));
    let known = IssuerName::parse("forge").unwrap();
    assert_eq!(directory().unconfigured(&HashSet::new(), &HashSet::new(), &[&known].into()), []);
}

#[test]
fn callers_are_named_by_arns() {
    let at = AT.member("iam_principals");
    let long = format!("arn:{}", "x".repeat(2045));
    let everybodys =
        ["arn:*", "arn:aws:iam::*:root", "arn:aws:iam::1*:role/x", "arn:*:iam::1:role/x", "arn:aws:*"];
    for bad in ["", "*", "role/x", "arn:a b", "arn:ü", &long].into_iter().chain(everybodys) {
        mistake(|web| web.iam_principals = texts([bad]), at.element(0), "iam_principals must");
    }
    fine(|web| web.iam_principals = texts([&long[..2048]]));
    fine(|web| web.iam_principals = texts(["arn:aws:iam::1:*", "arn:aws:sts::1:assumed-role/a:*/*"]));
    let many = |count| numbered(count, |n| format!("arn:aws:iam::{n}:user/x"));
    fine(|web| web.iam_principals = many(50));
    mistake(|web| web.iam_principals = many(51), at, "iam_principals must be 50 at most");
    mistake(
        |web| web.iam_principals = texts(["arn:a", "arn:a"]),
        at.element(1),
        "iam_principals has this one twice",
    );
}

// Holds: ledger-34, rfc9068-5-distinct-aud
#[test]
fn no_token_of_an_application_is_for_a_brokers_service() {
    let broker = BrokerName::parse("minio").unwrap();
    let taken = |audience: &str| directory().taken_audiences(&[(audience, &broker)].into());
    let exchanged = AT.member("token_exchange").inner("audiences").element(0);
    for (audience, member, at) in [
        ("web", "client_id", AT.member("client_id")),
        (ARN, "arn", AT.member("arn")),
        ("https://orders.example", "audiences", AT.member("audiences").element(0)),
        ("https://web.example", "resource", AT.member("resource")),
        ("urn:example:stock", "token_exchange.audiences", exchanged),
    ] {
        let found = taken(audience);
        assert_eq!((found.len(), found[0].at), (1, at), "{found:?}");
        let begins =
            format!("application web: {member} is the audience of broker minio, whose service would");
        assert!(found[0].what.starts_with(&begins), "{found:?}");
    }
    assert_eq!(taken("webb"), []);
}

#[test]
fn what_a_store_has_is_held_to_references_alone() {
    let stored = |edit: &dyn Fn(&mut DirectoryFile)| {
        let mut file = directory();
        edit(&mut file);
        Directory::stored(file, Departures::new(), 1).map(drop).map_err(|problems| problems.0.len())
    };
    for limit in [
        &(|file: &mut DirectoryFile| file.applications[0].name.clear()) as &dyn Fn(&mut DirectoryFile),
        &|file: &mut DirectoryFile| file.applications[0].redirect_uris = texts(["http://web.example"]),
        &|file: &mut DirectoryFile| file.applications[0].scopes = scopes(["newer"]),
        &|file: &mut DirectoryFile| file.applications[0].token_exchange = None,
        &|file: &mut DirectoryFile| file.scopes[0].description.clear(),
    ] {
        assert_eq!(stored(limit), Ok(()));
    }
    for contradiction in [
        &(|file: &mut DirectoryFile| file.applications[1].client_id = id("web"))
            as &dyn Fn(&mut DirectoryFile),
        &|file: &mut DirectoryFile| file.applications[1].arn = Some(id(ARN)),
        &|file: &mut DirectoryFile| file.people.clear(),
        &|file: &mut DirectoryFile| file.groups.clear(),
        &|file: &mut DirectoryFile| file.scopes.push(file.scopes[0].clone()),
    ] {
        assert!(stored(contradiction).is_err());
    }
}

#[test]
fn tokens_that_are_bound_to_a_key_are_none_for_the_portal() {
    let bound = |scopes: &'static str| {
        move |web: &mut Application| {
            web.dpop_bound_access_tokens = true;
            web.scopes = Scopes::parse([scopes]).unwrap();
        }
    };
    fine(bound("openid"));
    for scopes in ["openid sso:account:access", "sso-portal:*"] {
        let what = "dpop_bound_access_tokens must be without account access";
        mistake(bound(scopes), AT.member("dpop_bound_access_tokens"), what);
    }
}
