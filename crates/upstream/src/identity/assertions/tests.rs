use doorward_testkit_oidc::{DISCOVERY, JWKS, Key, Provider, Said, hmac_signed, unsigned};
use serde_json::json;

use super::*;
use crate::provider::error::Kind;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// An issuer, and what an operator says of it.
struct World {
    issuer: Provider,
    trusted: TrustedIssuer,
}

impl World {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(edit: impl FnOnce(&mut IssuerSettings)) -> Self {
        let issuer = Provider::start().await;
        // What a cluster says of itself has neither an authorization nor a token endpoint.
        let document = json!({"issuer": issuer.issuer, "jwks_uri": format!("{}{JWKS}", issuer.issuer)});
        issuer.says(DISCOVERY, Said::json(&document));
        let mut settings = settings(&issuer.issuer);
        edit(&mut settings);
        Self { issuer, trusted: TrustedIssuer::new(settings).unwrap() }
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.issuer.issuer, "aud": "apl-1", "sub": "ann", "jti": "j-1",
            "iat": NOW.seconds(), "exp": NOW.seconds() + 300, "email": "ann@example.org",
        })
    }

    fn sign(&self, claims: &Value) -> String {
        self.issuer.key.sign(&header("RS256", "k1"), claims)
    }

    async fn verify(&self, assertion: &str) -> Result<Asserted, OidcError> {
        self.trusted.verify(assertion, &["apl-1".to_owned(), "other".to_owned()], NOW).await
    }

    /// What is said of an assertion that is as it should be but for `edit`.
    async fn says(&self, edit: impl FnOnce(&mut Value)) -> Result<Asserted, OidcError> {
        let mut claims = self.claims();
        edit(&mut claims);
        self.verify(&self.sign(&claims)).await
    }

    /// Why such an assertion is refused.
    async fn refuses(&self, edit: impl FnOnce(&mut Value)) -> String {
        let error = self.says(edit).await.unwrap_err();
        assert_eq!((error.kind, error.step), (Kind::Invalid, Step::Assertion), "{error}");
        error.reason
    }

    async fn refuses_token(&self, token: &str) -> String {
        let error = self.verify(token).await.unwrap_err();
        assert_eq!(error.kind, Kind::Invalid, "{error}");
        error.reason
    }
}

fn settings(issuer: &str) -> IssuerSettings {
    IssuerSettings {
        name: IssuerName::parse("cluster").unwrap(),
        issuer: issuer.to_owned(),
        subject_claim: "sub".into(),
        attribute: Attribute::UserName,
        algorithms: ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec(),
        clock_skew: Lifetime::from_seconds(60),
        longest_age: Lifetime::from_seconds(3600),
        certificate_authorities: None,
    }
}

fn header(algorithm: &str, key: &str) -> Value {
    json!({"alg": algorithm, "kid": key, "typ": "JWT"})
}

fn ann() -> Named {
    Named::UserName(PersonId::parse("ann").unwrap())
}

#[tokio::test]
async fn an_assertion_names_its_person_and_its_end() {
    let world = World::start().await;
    let asserted = Asserted {
        person: ann(),
        issued_at: NOW,
        expires_at: Timestamp::from_seconds(NOW.seconds() + 360),
        identifier: "jti j-1".into(),
    };
    assert_eq!(world.says(|_| {}).await.unwrap(), asserted);
    assert_eq!(world.says(|claims| claims["aud"] = json!(["x", "other"])).await.unwrap(), asserted);
    assert_eq!(issuer_of(&world.sign(&world.claims())), Some(world.issuer.issuer.clone()));
    for bad in ["", "x", "a.b.c", &unsigned(&json!({}), &json!({"iss": 5}))] {
        assert_eq!(issuer_of(bad), None, "{bad}");
    }
}

// Holds: rfc7523-3-aud-is-us
#[tokio::test]
async fn ledger_24_an_assertion_is_for_one_of_the_applications_own_audiences() {
    let world = World::start().await;
    for audience in [json!("apl-2"), json!(["apl-10", "APL-1"]), json!([]), json!("")] {
        let why = world.refuses(|claims| claims["aud"] = audience).await;
        assert!(why.starts_with("it is for "), "{why}");
    }
    assert_eq!(
        world.refuses(|claims| drop(claims.as_object_mut().unwrap().remove("aud"))).await,
        "it has no aud"
    );
    assert_eq!(world.refuses(|claims| claims["aud"] = json!(5)).await, "aud is neither a text nor a list");
    // An application that accepts none gets none.
    let token = world.sign(&world.claims());
    assert!(world.trusted.verify(&token, &[], NOW).await.is_err());
}

// Holds: rfc7523-3-algorithm, rfc7523-3-signature, rfc7523-5-rs256
#[tokio::test]
async fn ledger_05_the_key_decides_the_algorithm() {
    let world = World::start().await;
    let (p256, p384, ed) = (Key::p256(), Key::p384(), Key::ed());
    let keys = json!({"keys": [world.issuer.key.jwk("k1"), p256.jwk("k2"), ed.jwk("k3"), p384.jwk("k4")]});
    world.issuer.says(JWKS, Said::json(&keys));
    let claims = world.claims();
    for (key, algorithm, id) in
        [(&p256, "ES256", "k2"), (&ed, "EdDSA", "k3"), (&world.issuer.key, "RS256", "k1")]
    {
        let token = key.sign(&header(algorithm, id), &claims);
        assert!(world.verify(&token).await.is_ok(), "{algorithm}");
    }
    // Not among those that the operator takes.
    for (key, algorithm, id) in [(&p384, "ES384", "k4"), (&world.issuer.key, "PS256", "k1")] {
        let why = world.refuses_token(&key.sign(&header(algorithm, id), &claims)).await;
        assert_eq!(why, format!("{algorithm} is not among its algorithms"));
    }
    let public = world.issuer.key.jwk("k1")["n"].as_str().unwrap().to_owned();
    world.refuses_token(&hmac_signed(public.as_bytes(), &header("HS256", "k1"), &claims)).await;
    world.refuses_token(&format!("{}.", unsigned(&header("none", "k1"), &claims))).await;
    // Another's signature, another's key, and a type that is no assertion's.
    world.refuses_token(&Key::rsa().sign(&header("RS256", "k1"), &claims)).await;
    let why = world.refuses_token(&world.issuer.key.sign(&header("RS256", "k2"), &claims)).await;
    assert!(why.contains("not what its key is for"), "{why}");
    let access_token = json!({"alg": "RS256", "kid": "k1", "typ": "at+jwt"});
    world.refuses_token(&world.issuer.key.sign(&access_token, &claims)).await;
    for none in ["HS256", "none", "ES512", "rs256"] {
        let made = TrustedIssuer::new(IssuerSettings {
            algorithms: vec![none.into()],
            ..settings("https://x.example")
        });
        assert!(made.unwrap_err().starts_with("algorithms must be of"), "{none}");
    }
}

// Holds: rfc7523-3-exp, rfc7523-3-far-exp, rfc7523-3-nbf
#[tokio::test]
async fn an_assertion_is_recent_and_ends_soon() {
    let world = World::start().await;
    let now = NOW.seconds();
    let at = async |edits: &[(&str, Option<i64>)]| {
        let edit = |claims: &mut Value| {
            for (name, offset) in edits {
                match offset {
                    Some(offset) => claims[*name] = json!(now + offset),
                    None => drop(claims.as_object_mut().unwrap().remove(*name)),
                }
            }
        };
        world.says(edit).await.map_err(|error| error.reason)
    };
    for good in [
        &[("exp", Some(-59))][..],
        &[("exp", Some(3660))],
        &[("iat", Some(60))],
        &[("iat", Some(-3660))],
        &[("nbf", Some(60))],
        &[("iat", None)],
    ] {
        assert!(at(good).await.is_ok(), "{good:?}");
    }
    for (bad, why) in [
        (("exp", Some(-60)), "it expired before now by 60 s"),
        (("exp", None), "it has no exp"),
        (("exp", Some(3661)), "exp is further ahead than longest_age: 3661 s"),
        (("iat", Some(61)), "iat is after now by 61 s"),
        (("iat", Some(-3661)), "it is older than longest_age: 3661 s"),
        (("nbf", Some(61)), "nbf is after now by 61 s"),
    ] {
        assert_eq!(at(&[bad]).await.unwrap_err(), why, "{bad:?}");
    }
    assert_eq!(world.refuses(|claims| claims["exp"] = json!("soon")).await, "exp is no time");
    assert_eq!(at(&[("iat", Some(-5))]).await.unwrap().issued_at.seconds(), now - 5);
    assert_eq!(at(&[("iat", Some(5))]).await.unwrap().issued_at, NOW, "nobody has said anything tomorrow");
    // Without a word on that, as early as it can have been.
    assert_eq!(at(&[("iat", None)]).await.unwrap().issued_at.seconds(), now + 300 - 3600);
}

// Holds: rfc7523-3-iss-sub-aud-exp
#[tokio::test]
async fn the_issuer_is_named_to_the_letter_and_there_is_a_subject() {
    let world = World::start().await;
    let iss = format!("{}/", world.issuer.issuer);
    let why = world.refuses(|claims| claims["iss"] = json!(iss)).await;
    assert!(why.starts_with("iss is "), "{why}");
    assert_eq!(world.refuses(|claims| claims["sub"] = json!("")).await, "sub must have 1 to 255 bytes");
    assert_eq!(
        world.refuses(|claims| claims["sub"] = json!("x".repeat(256))).await,
        "sub must have 1 to 255 bytes"
    );
    assert_eq!(world.refuses(|claims| claims["sub"] = json!(7)).await, "it has no text sub");
    let why = world.refuses(|claims| claims["sub"] = json!("a b")).await;
    assert!(why.starts_with("subject_claim: sub is \"a b\""), "{why}");
}

#[tokio::test]
async fn the_person_is_where_the_operator_says() {
    let world = World::with(|settings| settings.subject_claim = "/k8s~1io/user".into()).await;
    let named = world.says(|claims| claims["k8s/io"] = json!({"user": "bob"})).await.unwrap();
    assert_eq!(named.person, Named::UserName(PersonId::parse("bob").unwrap()));
    let why = world.refuses(|claims| claims["k8s/io"] = json!({"user": ["bob"]})).await;
    assert_eq!(why, "subject_claim: it has no text /k8s~1io/user");
    assert!(world.refuses(|_| {}).await.starts_with("subject_claim: it has no text"));
}

#[tokio::test]
async fn an_address_that_is_not_verified_is_nobodys() {
    let by_email = |settings: &mut IssuerSettings| {
        settings.subject_claim = "/email".into();
        settings.attribute = Attribute::Email;
    };
    let world = World::with(by_email).await;
    let ann = Named::Email("ann@example.org".into());
    for verified in [json!(true), json!("true")] {
        assert_eq!(world.says(|claims| claims["email_verified"] = verified).await.unwrap().person, ann);
    }
    assert_eq!(world.says(|_| {}).await.unwrap().person, ann);
    for verified in [json!(false), json!("false"), json!(null), json!(1)] {
        let why = world.refuses(|claims| claims["email_verified"] = verified).await;
        assert_eq!(why, "the e-mail address is not verified (email_verified)");
    }
    for address in [String::new(), "x".repeat(255)] {
        let why = world.refuses(|claims| claims["email"] = json!(address)).await;
        assert_eq!(why, "subject_claim: /email must have 1 to 254 bytes");
    }
}

#[tokio::test]
async fn without_a_jti_what_was_signed_tells_one_from_another() {
    let world = World::start().await;
    let key = Key::p256();
    world.issuer.says(JWKS, Said::json(&json!({"keys": [key.jwk("k2")]})));
    let mut claims = world.claims();
    claims.as_object_mut().unwrap().remove("jti");
    // A second signature of the same: whoever has the token can make one, too.
    let tokens = [(); 2].map(|()| key.sign(&header("ES256", "k2"), &claims));
    assert_ne!(tokens[0], tokens[1]);
    let [one, other] = [world.verify(&tokens[0]).await.unwrap(), world.verify(&tokens[1]).await.unwrap()];
    assert!(one.identifier.starts_with("sha256 ") && one.identifier == other.identifier);
    claims["more"] = json!(1);
    let third = world.verify(&key.sign(&header("ES256", "k2"), &claims)).await.unwrap();
    assert_ne!(third.identifier, one.identifier);
    claims["jti"] = json!("");
    let why = world.refuses_token(&key.sign(&header("ES256", "k2"), &claims)).await;
    assert_eq!(why, "jti must be a text of 1 to 256 bytes");
}

#[tokio::test]
async fn an_issuer_that_cannot_be_read_is_not_the_callers_fault() {
    for (path, said, kind) in [
        (DISCOVERY, Said::json(&json!({})).status(503), Kind::Unreachable),
        (JWKS, Said::json(&json!({})).status(500), Kind::Unreachable),
        (DISCOVERY, Said::json(&json!({})).status(404), Kind::Unusable),
        (
            DISCOVERY,
            Said::json(&json!({"issuer": "https://other.example", "jwks_uri": "https://other.example"})),
            Kind::Unusable,
        ),
        (JWKS, Said::json(&json!({"keys": []})), Kind::Unusable),
    ] {
        let world = World::start().await;
        world.issuer.says(path, said);
        assert_eq!(world.says(|_| {}).await.unwrap_err().kind, kind, "{path}");
        assert!(world.trusted.warm(NOW).await.is_err());
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let wrong = |edit: fn(&mut IssuerSettings)| {
        let mut settings = settings("https://issuer.example");
        edit(&mut settings);
        TrustedIssuer::new(settings).unwrap_err()
    };
    assert!(TrustedIssuer::new(settings("https://issuer.example")).is_ok());
    assert_eq!(
        wrong(|settings| settings.issuer = "http://issuer.example".into()),
        "issuer must begin with https://"
    );
    assert!(
        wrong(|settings| settings.issuer = "https://issuer.example?x".into())
            .starts_with("issuer must have no")
    );
    assert_eq!(wrong(|settings| settings.subject_claim.clear()), "subject_claim must not be empty");
    assert_eq!(wrong(|settings| settings.algorithms.clear()), "algorithms must not be empty");
    assert!(wrong(|settings| settings.certificate_authorities = Some(vec![])).starts_with("ca_file: "));
}
