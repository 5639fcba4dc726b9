//! ID tokens that must not be believed, each with the reason that the operator is told.

use serde_json::{Value, json};

use super::super::{Drawn, Kind, Step};
use super::provider::{DRAWN, Key, NOW, Provider, hmac_signed, later, unsigned};

/// Why a sign-in with the claims of `edit` is refused.
async fn refusal(provider: &Provider, edit: impl FnOnce(&mut Value)) -> String {
    let mut claims = provider.claims();
    edit(&mut claims);
    provider.gives(&claims);
    refused(provider).await
}

async fn refused(provider: &Provider) -> String {
    let error = provider.sign_in(&provider.source(|_| {}), NOW).await.expect_err("a refusal");
    assert_eq!((error.kind, error.step), (Kind::Invalid, Step::IdToken), "{error}");
    error.reason
}

#[tokio::test]
async fn a_token_with_all_that_it_should_have_is_taken() {
    let provider = Provider::start().await;
    let somebody = provider.sign_in(&provider.source(|_| {}), NOW).await.unwrap();
    assert_eq!(somebody.subject, "s-1");
    assert_eq!(somebody.described.user_name.as_str(), "ada");
    assert_eq!(somebody.refresh_token.unwrap().reveal(), "rt-1");
}

#[tokio::test]
async fn a_token_of_somebody_else_is_refused() {
    let provider = Provider::start().await;
    for (iss, told) in [
        (json!("http://127.0.0.1:1"), "iss is \"http://127.0.0.1:1\""),
        // Almost is not enough.
        (json!(format!("{}/", provider.issuer)), "iss is "),
        (json!([provider.issuer]), "no text iss"),
        (Value::Null, "no text iss"),
    ] {
        let reason = refusal(&provider, |claims| claims["iss"] = iss).await;
        assert!(reason.contains(told), "{reason}");
    }
}

#[tokio::test]
async fn ledger_24_a_token_for_somebody_else_is_refused() {
    let provider = Provider::start().await;
    for (aud, azp, told) in [
        (json!("another"), None, "it is for \"another\", and not for \"doorward\""),
        (json!(["another", "more"]), None, "it is for \"another more\", and not for"),
        (json!([]), None, "and not for \"doorward\""),
        (json!(["doorward", 5]), None, "aud holds something that is no text"),
        (json!({"doorward": true}), None, "aud is neither"),
        (Value::Null, None, "aud is neither"),
        (json!("Doorward"), None, "it is for \"Doorward\""),
        (json!(["doorward", "another"]), None, "no azp says"),
        (json!(["doorward", "another"]), Some("another"), "azp is \"\\\"another\\\"\""),
        (json!("doorward"), Some("another"), "azp is "),
    ] {
        let reason = refusal(&provider, |claims| {
            claims["aud"] = aud;
            if let Some(azp) = azp {
                claims["azp"] = json!(azp);
            }
        })
        .await;
        assert!(reason.contains(told), "{reason}");
    }
    let mut claims = provider.claims();
    claims.as_object_mut().unwrap().remove("aud");
    provider.gives(&claims);
    assert!(refused(&provider).await.contains("no aud"));

    claims["aud"] = json!(["doorward", "another"]);
    claims["azp"] = json!("doorward");
    provider.gives(&claims);
    provider.sign_in(&provider.source(|_| {}), NOW).await.unwrap();
    let two = provider.source(|settings| settings.additional_audience = Some("another".into()));
    provider.sign_in(&two, NOW).await.unwrap();
    let third = provider.source(|settings| settings.additional_audience = Some("third".into()));
    let error = provider.sign_in(&third, NOW).await.unwrap_err();
    assert!(error.reason.contains("and not for \"third\""), "{error}");
}

#[tokio::test]
async fn a_token_is_good_for_its_time_and_for_as_much_as_clocks_may_differ() {
    let provider = Provider::start().await;
    let now = NOW.seconds();
    // By how many seconds each claim is before or after now, and what is told if that is too much.
    for (name, offset, told) in [
        ("exp", -59, None),
        ("exp", -60, Some("expired before now by 60 s, and 60 s are allowed: do the clocks agree?")),
        ("exp", -3600, Some("expired before now by 3600 s")),
        ("iat", 60, None),
        ("iat", 61, Some("iat is after now by 61 s, and 60 s are allowed: do the clocks agree?")),
        ("nbf", 60, None),
        ("nbf", 61, Some("nbf is after now by 61 s")),
    ] {
        let mut claims = provider.claims();
        claims[name] = json!(now + offset);
        provider.gives(&claims);
        match told {
            None => drop(provider.sign_in(&provider.source(|_| {}), NOW).await.unwrap()),
            Some(told) => {
                let reason = refused(&provider).await;
                assert!(reason.contains(told), "{name} {offset}: {reason}");
            }
        }
    }
    for (name, value, told) in [
        ("exp", json!("soon"), "exp is no time"),
        ("exp", Value::Null, "exp is no time"),
        ("iat", Value::Null, "iat is no time"),
        ("exp", json!(-1e300), "expired"),
        ("iat", json!(1e300), "iat is after now"),
    ] {
        let reason = refusal(&provider, |claims| claims[name] = value).await;
        assert!(reason.contains(told), "{reason}");
    }
    for name in ["exp", "iat"] {
        let reason = refusal(&provider, |claims| drop(claims.as_object_mut().unwrap().remove(name))).await;
        assert_eq!(reason, format!("it has no {name}"));
    }
    // A fraction of a second is a time too.
    let mut claims = provider.claims();
    claims["exp"] = json!(1_800_000_300.5);
    provider.gives(&claims);
    provider.sign_in(&provider.source(|_| {}), later(359)).await.unwrap();
}

#[tokio::test]
async fn a_token_of_another_sign_in_is_refused() {
    let provider = Provider::start().await;
    let reason = refusal(&provider, |claims| claims["nonce"] = json!("another")).await;
    assert!(reason.starts_with("nonce is not the one that was sent"), "{reason}");
    let reason = refusal(&provider, |claims| drop(claims.as_object_mut().unwrap().remove("nonce"))).await;
    assert_eq!(reason, "it has no text nonce");
}

#[tokio::test]
async fn an_access_token_that_was_exchanged_for_another_is_noticed() {
    let provider = Provider::start().await;
    let reason = refusal(&provider, |claims| claims["at_hash"] = json!("AAAAAAAAAAAAAAAAAAAAAA")).await;
    assert!(reason.starts_with("at_hash is not that"), "{reason}");
    // The left half of the SHA-256 of "at".
    let mut claims = provider.claims();
    claims["at_hash"] = json!("sda5G2fCr6XjIpiNlGJjjQ");
    provider.gives(&claims);
    provider.sign_in(&provider.source(|_| {}), NOW).await.unwrap();
}

#[tokio::test]
async fn a_subject_is_never_empty_or_endless() {
    let provider = Provider::start().await;
    for sub in [json!(""), json!("x".repeat(256))] {
        assert_eq!(refusal(&provider, |claims| claims["sub"] = sub).await, "sub must have 1 to 255 bytes");
    }
    for sub in [json!(7), Value::Null] {
        assert_eq!(refusal(&provider, |claims| claims["sub"] = sub).await, "it has no text sub");
    }
}

#[tokio::test]
async fn every_algorithm_of_a_key_is_taken_and_no_other() {
    let provider = Provider::start().await;
    let keys: [(&str, Key, &[&str]); 4] = [
        ("rsa", Key::rsa(), &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        ("p256", Key::p256(), &["ES256"]),
        ("p384", Key::p384(), &["ES384"]),
        ("ed", Key::ed(), &["EdDSA"]),
    ];
    let jwks: Vec<Value> = keys.iter().map(|(id, key, _)| key.jwk(id)).collect();
    provider.says(super::provider::JWKS, super::provider::Said::json(&json!({"keys": jwks})));
    let source = provider.source(|_| {});
    for (id, key, algorithms) in &keys {
        for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"] {
            let token = key.sign(&json!({"alg": algorithm, "kid": id}), &provider.claims());
            provider.gives_token(&token);
            let outcome = provider.sign_in(&source, NOW).await;
            assert_eq!(outcome.is_ok(), algorithms.contains(&algorithm), "{id} {algorithm}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn ledger_05_no_token_chooses_how_it_is_checked() {
    let provider = Provider::start().await;
    let claims = provider.claims();
    let Key::Rsa(pair) = &provider.key else { panic!("an RSA key") };
    let der = aws_lc_rs::signature::KeyPair::public_key(pair).as_ref();
    let jwk = provider.key.jwk("k1");
    let modulus = data_encoding::BASE64URL_NOPAD.decode(jwk["n"].as_str().unwrap().as_bytes()).unwrap();
    let header = |alg: &str| json!({"alg": alg, "kid": "k1", "typ": "JWT"});
    let unsigned_token = |alg: &str| format!("{}.", unsigned(&header(alg), &claims));
    let stranger = Key::rsa();
    let mut own_key = header("RS256");
    own_key["jwk"] = stranger.jwk("k1");
    own_key["jku"] = json!("https://evil.example/jwks");
    for (what, token, told) in [
        ("none", unsigned_token("none"), "names an algorithm that nobody should use"),
        ("None", unsigned_token("None"), "names an algorithm that nobody should use"),
        ("no signature", unsigned_token("RS256"), "signature does not hold"),
        ("HS256 with the key's DER", hmac_signed(der, &header("HS256"), &claims), "not what its key is for"),
        (
            "HS256 with the modulus",
            hmac_signed(&modulus, &header("HS256"), &claims),
            "not what its key is for",
        ),
        ("HS256, no kid", hmac_signed(der, &json!({"alg": "HS256"}), &claims), "not what its key is for"),
        ("a stranger's key", stranger.sign(&header("RS256"), &claims), "signature does not hold"),
        ("a key of its own", stranger.sign(&own_key, &claims), "signature does not hold"),
        ("another algorithm's name", provider.key.sign(&header("ES256"), &claims), "not what its key is for"),
        (
            "a critical header",
            provider.key.sign(&json!({"alg": "RS256", "kid": "k1", "crit": ["b64"], "b64": false}), &claims),
            "crit",
        ),
        (
            "another kind of token",
            provider.key.sign(&json!({"alg": "RS256", "kid": "k1", "typ": "at+jwt"}), &claims),
            "type is \"at+jwt\"",
        ),
        ("encrypted", "a.b.c.d.e".into(), "header cannot be read"),
        ("empty", String::new(), "header cannot be read"),
        ("endless", "a".repeat(70_000), "longer than 65536 bytes"),
    ] {
        provider.gives_token(&token);
        let reason = refused(&provider).await;
        assert!(reason.contains(told), "{what}: {reason}");
    }
    // One letter of a good one.
    let good = provider.key.sign(&header("RS256"), &claims);
    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let other = provider.key.sign(&header("RS256"), &json!({"sub": "root"}));
    let other_body = other.split('.').nth(1).unwrap();
    for token in [
        format!("{head}.{other_body}.{signature}"),
        format!("{head}.{body}.{}", &signature[..signature.len() - 4]),
    ] {
        provider.gives_token(&token);
        assert!(refused(&provider).await.contains("signature does not hold"));
    }
}

#[tokio::test]
async fn a_key_is_for_what_its_set_says() {
    use super::provider::{JWKS, Said};
    let provider = Provider::start().await;
    let token = |alg: &str| provider.key.sign(&json!({"alg": alg, "kid": "k1"}), &provider.claims());
    let with = |name: &str, value: Value| {
        let mut jwk = provider.key.jwk("k1");
        jwk[name] = value;
        jwk
    };
    for (jwk, algorithm, taken) in [
        (with("alg", json!("RS256")), "RS256", true),
        (with("alg", json!("RS512")), "RS256", false),
        (with("alg", json!("PS256")), "RS256", false),
        (with("alg", json!("RSA-OAEP")), "RS256", false),
        (with("use", json!("enc")), "RS256", false),
        (with("key_ops", json!(["verify"])), "RS256", true),
        (with("key_ops", json!(["encrypt"])), "RS256", false),
        (with("kty", json!("oct")), "RS256", false),
        (with("n", json!("AQAB")), "RS256", false),
    ] {
        // Beside a key that nobody signs with: a set of none would be another fault.
        provider.says(JWKS, Said::json(&json!({"keys": [jwk, Key::p256().jwk("other")]})));
        provider.gives_token(&token(algorithm));
        let outcome = provider.sign_in(&provider.source(|_| {}), NOW).await;
        assert_eq!(outcome.is_ok(), taken, "{jwk}: {outcome:?}");
    }
    // Without a key id there must be one key that fits, and one that is too short does not.
    let nameless = provider.key.sign(&json!({"alg": "RS256"}), &provider.claims());
    provider.gives_token(&nameless);
    let short = json!({"kty": "RSA", "kid": "short", "n": "A".repeat(340), "e": "AQAB"});
    for (other, taken) in [(Key::p256().jwk("other"), true), (short, true), (Key::rsa().jwk("other"), false)]
    {
        provider.says(JWKS, Said::json(&json!({"keys": [provider.key.jwk("k1"), other]})));
        match provider.sign_in(&provider.source(|_| {}), NOW).await {
            Ok(_) => assert!(taken, "{other}"),
            Err(error) => {
                assert!(!taken, "{error}");
                assert!(
                    error.reason.contains("it names no key, and several could have signed it"),
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn whoever_was_to_sign_in_anew_must_have_done_so() {
    let provider = Provider::start().await;
    let source = provider.source(|_| {});
    let drawn = Drawn { since: Some(later(1000)), ..DRAWN };
    let address = source.begin(&drawn, later(1003)).await.unwrap();
    // The operator's own prompt would contradict it.
    assert!(address.contains("&prompt=login&max_age=3") && !address.contains("prompt=consent"), "{address}");
    assert!(source.begin(&DRAWN, later(1003)).await.unwrap().contains("prompt=consent"));
    // A clock may be off by a minute here.
    for (auth_time, told) in [
        (json!(later(940).seconds()), None),
        (json!(later(939).seconds()), Some("auth_time is 61 s before")),
        (Value::Null, Some("auth_time is no time")),
        (json!("now"), Some("auth_time is no time")),
    ] {
        let mut claims = provider.claims();
        claims["exp"] = json!(later(2000).seconds());
        claims["auth_time"] = auth_time;
        provider.gives(&claims);
        match (source.finish("code=c-1&state=the-state", &drawn, later(1003)).await, told) {
            (Ok(somebody), None) => assert_eq!(somebody.subject, "s-1"),
            (Err(error), Some(told)) => assert!(error.reason.contains(told), "{error}"),
            (other, told) => panic!("{other:?} where {told:?} was expected"),
        }
    }
    provider.gives(&{
        let mut claims = provider.claims();
        claims["exp"] = json!(later(2000).seconds());
        claims
    });
    let error = source.finish("code=c-1&state=the-state", &drawn, later(1003)).await.expect_err("a refusal");
    assert!(error.reason.contains("it has no auth_time"), "{error}");
}

#[tokio::test]
async fn how_somebody_signed_in_is_what_the_source_says_within_bounds() {
    let provider = Provider::start().await;
    let mut claims = provider.claims();
    let long = "x".repeat(65);
    for (amr, acr, methods, class) in [
        (json!(["pwd", "otp"]), json!("urn:mace:silver"), vec!["pwd", "otp"], Some("urn:mace:silver")),
        (json!(["mfa", 7, "", "a b", long]), json!(2), vec!["mfa"], None),
        (json!("pwd"), json!(long), vec![], None),
        (json!(vec!["pwd"; 40]), Value::Null, vec!["pwd"; 16], None),
    ] {
        (claims["amr"], claims["acr"]) = (amr, acr);
        provider.gives(&claims);
        let proof = provider.sign_in(&provider.source(|_| {}), NOW).await.unwrap().proof;
        assert_eq!(
            (proof.methods, proof.class.as_deref()),
            (methods.iter().map(|&it| it.into()).collect(), class)
        );
    }
}
