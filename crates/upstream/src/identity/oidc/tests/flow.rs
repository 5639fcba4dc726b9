//! There and back: what the browser carries, what the token endpoint is told, and what it answers.

use doorward_core::secret::SourceRefreshToken;
use serde_json::json;
use url::Url;

use super::super::{Finding, Kind, Source, Step};
use super::provider::{DISCOVERY, DRAWN, JWKS, NOW, Provider, Said, TOKEN, USERINFO};

async fn finish(source: &Source, query: &str) -> String {
    let error = source.finish(query, &DRAWN, NOW).await.expect_err("a refusal");
    assert_eq!(error.step, Step::Callback, "{error}");
    error.reason
}

// Holds: rfc7636-7.2-client-no-downgrade, rfc9700-2.1.1-client-s256
#[tokio::test]
async fn the_browser_is_sent_with_everything_that_binds_the_answer_to_it() {
    let provider = Provider::start().await;
    let url = Url::parse(&provider.source(|_| {}).begin(&DRAWN, NOW).await.unwrap()).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let expected = [
        ("tenant", "1"),
        ("prompt", "consent"),
        ("response_type", "code"),
        ("client_id", "doorward"),
        ("redirect_uri", "https://sso.example.org/sign-in/corp/callback"),
        ("scope", "openid profile email offline_access"),
        ("state", "the-state"),
        ("nonce", "the-nonce"),
        // The SHA-256 of the verifier.
        ("code_challenge", "_RpfHqw8pAZIomzVUE7sjRmHSM543WVdC4o-Kc4_3C0"),
        ("code_challenge_method", "S256"),
    ];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(!url.as_str().contains(DRAWN.verifier));
}

#[tokio::test]
async fn the_code_is_redeemed_with_the_verifier_by_a_client_that_proves_itself() {
    let provider = Provider::start().await;
    provider.sign_in(&provider.source(|_| {}), NOW).await.unwrap();
    let asked = provider.asked(TOKEN).remove(0);
    assert_eq!(asked.form["grant_type"], "authorization_code");
    assert_eq!(asked.form["code"], "c-1");
    assert_eq!(asked.form["redirect_uri"], "https://sso.example.org/sign-in/corp/callback");
    assert_eq!(asked.form["code_verifier"], DRAWN.verifier);
    assert_eq!(asked.form.len(), 4);
    assert_eq!(asked.headers["authorization"], "Basic ZG9vcndhcmQ6czNjcmV0");

    // By form, where the source wants that.
    let mut document = provider.document();
    document["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    provider.says(DISCOVERY, Said::json(&document));
    provider.sign_in(&provider.source(|_| {}), NOW).await.unwrap();
    let asked = provider.asked(TOKEN).remove(1);
    assert!(!asked.headers.contains_key("authorization"));
    assert_eq!(
        (asked.form["client_id"].as_str(), asked.form["client_secret"].as_str()),
        ("doorward", "s3cret")
    );

    // A public client has nothing to prove with.
    provider.sign_in(&provider.source(|settings| settings.client_secret = None), NOW).await.unwrap();
    let asked = provider.asked(TOKEN).remove(2);
    assert!(!asked.headers.contains_key("authorization") && !asked.form.contains_key("client_secret"));
    assert_eq!(asked.form["client_id"], "doorward");

    document["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
    provider.says(DISCOVERY, Said::json(&document));
    let error = provider.sign_in(&provider.source(|_| {}), NOW).await.unwrap_err();
    assert_eq!((error.kind, error.step), (Kind::Unusable, Step::TokenEndpoint), "{error}");
}

#[tokio::test]
async fn what_the_browser_brings_is_checked_before_anybody_is_asked() {
    let provider = Provider::start().await;
    let source = provider.source(|_| {});
    for (query, told) in [
        ("", "state is not the one that was sent"),
        ("code=c", "state is not the one that was sent"),
        ("code=c&state=another", "state is not the one that was sent"),
        ("code=c&state=the-state&state=the-state", "state occurs twice"),
        ("code=c&code=d&state=the-state", "code occurs twice"),
        ("state=the-state", "there is no code"),
        ("code=c&state=the-state&iss=https%3A%2F%2Fevil.example", "iss is \"https://evil.example\""),
        (
            "error=access_denied&state=the-state&iss=https%3A%2F%2Fevil.example",
            "iss is \"https://evil.example\"",
        ),
        (
            "error=access_denied&error_description=no%0Away&state=the-state",
            "the source answered \"access_denied\": \"no\\nway\"",
        ),
    ] {
        let reason = finish(&source, query).await;
        assert!(reason.contains(told), "{query}: {reason}");
    }
    assert!(provider.asked(TOKEN).is_empty());

    for (error, kind) in [
        ("access_denied", Kind::Denied),
        ("login_required", Kind::Denied),
        ("invalid_scope", Kind::Unusable),
        ("server_error", Kind::Unreachable),
    ] {
        let query = format!("error={error}&state=the-state");
        assert_eq!(source.finish(&query, &DRAWN, NOW).await.unwrap_err().kind, kind, "{error}");
    }
}

// Holds: rfc9207-2.4-client-compares
#[tokio::test]
async fn a_source_that_says_it_names_itself_must_do_so() {
    let provider = Provider::start().await;
    let mut document = provider.document();
    document["authorization_response_iss_parameter_supported"] = json!(true);
    provider.says(DISCOVERY, Said::json(&document));
    let source = provider.source(|_| {});
    assert!(finish(&source, "code=c&state=the-state").await.starts_with("iss is missing"));
    let query = format!("code=c&state=the-state&iss={}", provider.issuer.replace(':', "%3A"));
    source.finish(&query, &DRAWN, NOW).await.unwrap();
}

#[tokio::test]
async fn what_the_token_endpoint_says_against_it_is_told() {
    let provider = Provider::start().await;
    let source = provider.source(|_| {});
    let fault = |error: &str| Said::json(&json!({"error": error, "error_description": "because"}));
    for (said, kind, told) in [
        (
            fault("invalid_grant").status(400),
            Kind::Invalid,
            "did not take its code back: \"invalid_grant\": \"because\"",
        ),
        (fault("invalid_client").status(401), Kind::Unusable, "401 Unauthorized: \"invalid_client\""),
        (fault("invalid_grant").status(500), Kind::Unreachable, "500 Internal Server Error"),
        (Said::json(&json!("x")).status(503), Kind::Unreachable, "503 Service Unavailable"),
        (Said::json(&json!("x")), Kind::Unusable, "not the JSON it should be"),
        (Said::json(&json!({"access_token": "at"})), Kind::Invalid, "no ID token came"),
        (
            Said::json(&json!({})).status(302).header("location", "https://evil.example"),
            Kind::Unusable,
            "302",
        ),
    ] {
        provider.says(TOKEN, said);
        let error = provider.sign_in(&source, NOW).await.unwrap_err();
        assert_eq!((error.kind, error.step), (kind, Step::TokenEndpoint), "{error}");
        assert!(error.reason.contains(told), "{error}");
    }
}

#[tokio::test]
async fn asked_again_a_source_confirms_denies_or_cannot_tell() {
    let provider = Provider::start().await;
    let source = provider.source(|_| {});
    // No nonce: nobody was sent anywhere. Other groups meanwhile.
    let mut claims = provider.claims();
    claims.as_object_mut().unwrap().remove("nonce");
    claims["groups"] = json!(["guests"]);
    provider.gives(&claims);
    let answer = provider.ask_again(&source, NOW).await.unwrap();
    assert_eq!(answer.refresh_token.unwrap().reveal(), "rt-1");
    let described = answer.said.unwrap().unwrap();
    assert_eq!(described.groups.iter().map(ToString::to_string).collect::<Vec<_>>(), ["guests"]);
    let asked = provider.asked(TOKEN).remove(0);
    assert_eq!(
        (asked.form["grant_type"].as_str(), asked.form["refresh_token"].as_str()),
        ("refresh_token", "rt-1")
    );

    for (error, status, kind) in [
        ("invalid_grant", 400, Kind::Denied),
        ("interaction_required", 400, Kind::Denied),
        ("invalid_request", 400, Kind::Denied),
        ("invalid_request", 500, Kind::Unreachable),
        ("invalid_client", 401, Kind::Unusable),
        ("temporarily_unavailable", 400, Kind::Unusable),
        ("invalid_grant", 502, Kind::Unreachable),
    ] {
        provider.says(TOKEN, Said::json(&json!({"error": error})).status(status));
        assert_eq!(provider.ask_again(&source, NOW).await.unwrap_err().kind, kind, "{error} {status}");
    }
}

#[tokio::test]
async fn a_new_refresh_token_is_never_lost() {
    let provider = Provider::start().await;
    let source = provider.source(|_| {});
    for edit in [("iss", "https://evil.example"), ("sub", "s-2")] {
        let mut claims = provider.claims();
        claims[edit.0] = json!(edit.1);
        provider.gives(&claims);
        let answer = provider.ask_again(&source, NOW).await.unwrap();
        assert_eq!(answer.said.unwrap_err().kind, Kind::Invalid);
        assert!(answer.refresh_token.is_some(), "the old one may be worth nothing now");
    }
}

#[tokio::test]
async fn a_refresh_without_an_id_token_is_asked_about_at_userinfo() {
    let provider = Provider::start().await;
    let source = provider.source(|_| {});
    provider.says(TOKEN, Said::json(&json!({"access_token": "at-2"})));
    provider.says(
        USERINFO,
        Said::json(&json!({"sub": "s-1", "preferred_username": "ada", "groups": ["guests"]})),
    );
    let answer = provider.ask_again(&source, NOW).await.unwrap();
    assert!(answer.refresh_token.is_none());
    assert_eq!(answer.said.unwrap().unwrap().groups.len(), 1);
    assert_eq!(provider.asked(USERINFO)[0].headers["authorization"], "Bearer at-2");
    provider.says(USERINFO, Said::json(&json!({"sub": "s-2", "preferred_username": "ada"})));
    assert_eq!(provider.ask_again(&source, NOW).await.unwrap().said.unwrap_err().kind, Kind::Invalid);
    // Where there is no userinfo, that it gave a token says enough.
    let mut document = provider.document();
    document.as_object_mut().unwrap().remove("userinfo_endpoint");
    provider.says(DISCOVERY, Said::json(&document));
    let answer = provider.ask_again(&provider.source(|_| {}), NOW).await.unwrap();
    assert_eq!(answer.said, Ok(None));
}

#[tokio::test]
async fn no_answer_is_read_without_end_or_from_elsewhere() {
    let provider = Provider::start().await;
    let long = json!({"access_token": "x".repeat(600_000)});
    provider.says(TOKEN, Said::json(&long));
    let error = provider.sign_in(&provider.source(|_| {}), NOW).await.unwrap_err();
    assert!(error.reason.contains("longer than 524288 bytes"), "{error}");

    let source = provider.source(|_| {});
    source.warm(NOW).await.unwrap();
    provider.says(TOKEN, Said::json(&json!({})).hanging());
    let error = source.ask_again("s-1", &SourceRefreshToken::new("rt"), NOW).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(error.reason.contains("no answer within 5 s"), "{error}");
}

// Holds: rfc8414-6.2-impersonation, rfc9700-4.9.1-client-no-foreign-tokens
#[tokio::test]
async fn a_source_under_another_name_is_not_the_one() {
    let provider = Provider::start().await;
    let started = |source: Source| async move { source.begin(&DRAWN, NOW).await.unwrap_err() };
    let error = started(provider.source(|settings| settings.issuer.push('/'))).await;
    assert_eq!((error.kind, error.step), (Kind::Unusable, Step::Discovery));
    assert!(error.reason.contains("must be the same to the letter"), "{error}");
    for (what, url) in [
        ("token_endpoint", "http://sso.example.org/token"),
        ("jwks_uri", "http://192.0.2.1/jwks"),
        ("userinfo_endpoint", "file:///etc/passwd"),
        ("authorization_endpoint", "javascript:alert(1)"),
    ] {
        let mut document = provider.document();
        document[what] = json!(url);
        provider.says(DISCOVERY, Said::json(&document));
        let error = started(provider.source(|_| {})).await;
        assert!(error.reason.ends_with(&format!("{what} does not begin with https://")), "{error}");
    }
    provider.says(DISCOVERY, Said::json(&json!({})).status(301).header("location", "/elsewhere"));
    assert!(started(provider.source(|_| {})).await.reason.contains("no redirect is followed"));
    provider.says(DISCOVERY, Said::json(&json!({"issuer": provider.issuer})));
    assert!(started(provider.source(|_| {})).await.reason.contains("missing field `authorization_endpoint`"));
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let provider = Provider::start().await;
    let wrong = |edit: fn(&mut super::super::Settings)| {
        let mut settings = provider.settings();
        edit(&mut settings);
        Source::new(settings).unwrap_err()
    };
    assert_eq!(wrong(|s| s.issuer = "http://sso.example.org".into()), "issuer must begin with https://");
    assert_eq!(
        wrong(|s| s.issuer = "https://a?b".into()),
        "issuer must have no query, fragment or user name"
    );
    assert!(wrong(|s| s.issuer = "sso.example.org".into()).starts_with("issuer: "));
    assert_eq!(wrong(|s| s.client_id = String::new()), "client_id must not be empty");
    assert_eq!(wrong(|s| s.scopes = vec!["profile".into()]), "scopes must hold \"openid\"");
    assert_eq!(wrong(|s| s.scopes.push("a b".into())), "scopes: not a scope");
    assert!(
        wrong(|s| drop(s.authorization_parameters.insert("state".into(), "x".into())))
            .contains("state is not for")
    );
    assert!(wrong(|s| std::mem::swap(&mut s.recheck, &mut s.trust)).contains("must not be more than trust"));
    assert!(
        wrong(|s| s.certificate_authorities = Some(b"x".to_vec()))
            .starts_with("ca_file: there is no certificate")
    );
}

#[tokio::test]
async fn a_probe_says_what_an_operator_would_find_out_later() {
    let provider = Provider::start().await;
    let date = |seconds: i64| {
        let at = jiff::Timestamp::from_second(NOW.seconds() + seconds).unwrap();
        at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let mut document = provider.document();
    document["scopes_supported"] = json!(["openid", "profile", "email"]);
    document["code_challenge_methods_supported"] = json!(["plain"]);
    provider.says(DISCOVERY, Said::json(&document).header("date", &date(-30)));
    let findings = provider.source(|_| {}).probe(|| NOW).await.unwrap();
    let [Finding::Good(keys), Finding::Good(clock), Finding::Doubtful(scope), Finding::Doubtful(pkce)] =
        &findings[..]
    else {
        panic!("{findings:?}")
    };
    assert!(keys.contains("1 signing keys"), "{keys}");
    assert_eq!(clock, "its clock is 30 s behind ours");
    assert!(scope.contains("offline_access") && pkce.contains("S256"));
    provider.says(DISCOVERY, Said::json(&provider.document()).header("date", &date(3600)));
    let findings = provider.source(|_| {}).probe(|| NOW).await.unwrap();
    assert!(
        findings.contains(&Finding::Doubtful(
            "its clock is 3600 s ahead of ours, and clock_skew allows 60 s: sign-in may fail".into()
        )),
        "{findings:?}"
    );
    provider.says(JWKS, Said::json(&json!({"keys": [{"kty": "oct", "k": "AAAA"}]})));
    let error = provider.source(|_| {}).probe(|| NOW).await.unwrap_err();
    assert_eq!((error.kind, error.step), (Kind::Unusable, Step::Keys));
    assert!(error.reason.ends_with("none of its 1 keys can check a signature"), "{error}");
}
