//! CreateTokenWithIAM, as the real SDK signs and reads it.

use aws_sdk_ssooidc::config::{Credentials, Region, retry::RetryConfig};
use aws_sdk_ssooidc::error::ProvideErrorMetadata as _;
use aws_sdk_ssooidc::operation::create_token_with_iam::builders::CreateTokenWithIAMFluentBuilder;
use aws_sdk_ssooidc::operation::create_token_with_iam::{CreateTokenWithIAMError, CreateTokenWithIamOutput};
use aws_smithy_async::time::StaticTimeSource;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use doorward_core::application::Application;
use doorward_core::directory::DirectoryFile;
use doorward_core::ids::IssuerName;
use doorward_core::scope::Scopes;
use doorward_core::time::Lifetime;
use doorward_testkit::{API, Kit, OTHER_API, START, Setup, WEB, add_applications, json_request};
use doorward_testkit_oidc::{Provider, Said};
use doorward_upstream::identity::assertions::{Attribute, IssuerSettings};
use serde_json::{Value, json};

use crate::connector::InProcess;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const REFRESH_TOKEN: &str = "urn:ietf:params:oauth:token-type:refresh_token";
const ARN: &str = "arn:aws:sso::111122223333:application/ssoins-0123456789abcdef/apl-0123456789abcdef";
const KEY: [&str; 3] = [
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "arn:aws:iam::111122223333:role/Deploy",
];
const OTHER_KEY: [&str; 3] = [
    "AKIAI44QH8DHBEXAMPLE",
    "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY",
    "arn:aws:iam::444455556666:user/eve",
];

/// A server whose application `web` may be called for, and the issuer whose assertions that accepts.
struct World {
    kit: Kit,
    issuer: Provider,
}

impl World {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(edit: impl FnOnce(&mut Setup)) -> Self {
        let issuer = Provider::start().await;
        let kit = Kit::with(|setup| {
            add_applications(&mut setup.directory);
            let web = web(&mut setup.directory);
            let mut written = serde_json::to_value(&*web).expect("an application");
            let more = json!({
                "arn": ARN, "consent": false,
                "grants": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code",
                    JWT_BEARER, TOKEN_EXCHANGE],
                "trusted_issuers": [{"issuer": "corp", "audiences": ["data-app"]}],
                "iam_principals": ["arn:aws:iam::111122223333:role/*"],
                "token_exchange": {"subjects_of": ["web"], "audiences": [OTHER_API]},
            });
            written.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            *web = serde_json::from_value(written).expect("an application as operators write it");
            setup.access_keys = [KEY, OTHER_KEY].map(|key| key.map(str::to_owned)).to_vec();
            setup.trusted_issuers = vec![IssuerSettings {
                name: IssuerName::parse("corp").expect("a name"),
                issuer: issuer.issuer.clone(),
                subject_claim: "sub".into(),
                attribute: Attribute::UserName,
                algorithms: vec!["RS256".into()],
                clock_skew: Lifetime::from_seconds(60),
                longest_age: Lifetime::from_seconds(3600),
                certificate_authorities: None,
            }];
            edit(setup);
        })
        .await;
        Self { kit, issuer }
    }

    /// A client that signs with `key` for `region`.
    fn client(&self, [id, secret, _]: [&str; 3], region: &'static str) -> aws_sdk_ssooidc::Client {
        let config = aws_sdk_ssooidc::Config::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(Region::new(region))
            .endpoint_url(self.kit.base())
            .credentials_provider(Credentials::new(id, secret, None, None, "test"))
            .time_source(StaticTimeSource::from_secs(START.seconds().unsigned_abs()))
            .http_client(InProcess(self.kit.server()))
            .retry_config(RetryConfig::disabled());
        aws_sdk_ssooidc::Client::from_conf(config.build())
    }

    fn request(&self, grant: &str) -> CreateTokenWithIAMFluentBuilder {
        self.client(KEY, "us-east-1").create_token_with_iam().client_id(ARN).grant_type(grant)
    }

    fn claims(&self) -> Value {
        let now = self.kit.now().seconds();
        json!({"iss": self.issuer.issuer, "aud": "data-app", "sub": "ada", "jti": "j-1", "iat": now, "exp": now + 300})
    }

    fn assertion(&self, edit: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims();
        edit(&mut claims);
        self.issuer.key.sign(&json!({"alg": "RS256", "kid": "k1"}), &claims)
    }

    async fn presented(
        &self,
        edit: impl FnOnce(&mut Value),
    ) -> Result<CreateTokenWithIamOutput, CreateTokenWithIAMError> {
        let request = self.request(JWT_BEARER).assertion(self.assertion(edit));
        request.send().await.map_err(aws_sdk_ssooidc::error::SdkError::into_service_error)
    }
}

/// The application [`WEB`] in a directory.
fn web(file: &mut DirectoryFile) -> &mut Application {
    file.applications
        .iter_mut()
        .find(|application| application.client_id.as_str() == WEB.id)
        .expect("the application")
}

async fn refused(request: CreateTokenWithIAMFluentBuilder) -> CreateTokenWithIAMError {
    request.send().await.expect_err("a refusal").into_service_error()
}

fn code(error: &CreateTokenWithIAMError) -> &str {
    error.code().unwrap_or_default()
}

/// What a token says, whoever signed it.
fn said(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).expect("claims in JSON"))
        .expect("claims in JSON")
}

#[tokio::test]
async fn t73_an_assertion_of_a_trusted_issuer_becomes_all_tokens() {
    let world = World::start().await;
    let output = world.presented(|_| {}).await.unwrap();
    assert_eq!((output.token_type(), output.expires_in()), (Some("Bearer"), 3600));
    assert_eq!(output.issued_token_type(), Some(REFRESH_TOKEN));
    let scopes =
        ["api.read", "aws", "email", "groups", "offline_access", "openid", "profile", "sts:identity_context"];
    assert_eq!(output.scope(), scopes);
    let context = output.aws_additional_details().unwrap().identity_context().unwrap();
    let id = said(output.id_token().unwrap());
    let now = world.kit.now().seconds();
    assert_eq!((&id["iss"], &id["sub"], &id["aud"]), (&json!(world.kit.base()), &json!("ada"), &json!(ARN)));
    assert_eq!((&id["iat"], &id["exp"]), (&json!(now), &json!(now + 3600)));
    assert_eq!(id["sts:identity_context"], context);
    assert_eq!((&said(context)["sub"], &said(context)["client_id"]), (&json!("ada"), &json!(ARN)));
    let access = said(output.access_token().unwrap());
    assert_eq!(
        (&access["client_id"], &access["aud"]),
        (&json!("web"), &json!([API, OTHER_API, world.kit.base()]))
    );

    // Refreshed without an ID token, for what was asked then.
    let refresh = world.request("refresh_token").refresh_token(output.refresh_token().unwrap());
    let refreshed = refresh.send().await.unwrap();
    assert!(refreshed.id_token().is_none() && refreshed.refresh_token().is_some());
    assert_eq!(said(refreshed.access_token().unwrap())["sid"], access["sid"]);
}

#[tokio::test]
async fn an_application_that_may_not_refresh_and_asks_for_little_gets_little() {
    let world = World::with(|setup| {
        web(&mut setup.directory).grants.retain(|grant| grant.as_str() != "refresh_token");
    })
    .await;
    let request = world.request(JWT_BEARER).assertion(world.assertion(|_| {})).scope("api.read");
    let output = request.send().await.unwrap();
    assert_eq!(
        (output.scope(), output.issued_token_type()),
        (&["api.read".to_owned()][..], Some(ACCESS_TOKEN))
    );
    assert!(output.refresh_token().is_none() && output.id_token().is_none());
    assert!(output.aws_additional_details().is_none());
}

#[tokio::test]
async fn ledger_23_an_assertion_is_worth_nothing_the_second_time() {
    let world = World::start().await;
    world.presented(|_| {}).await.unwrap();
    assert!(world.presented(|_| {}).await.unwrap_err().is_invalid_grant_exception());
    assert!(world.presented(|claims| claims["jti"] = json!("j-2")).await.is_ok());
}

#[tokio::test]
async fn t74_an_unknown_application_and_a_bad_assertion_are_told_apart() {
    let world = World::start().await;
    for unknown in
        ["arn:aws:sso::111122223333:application/ssoins-0123456789abcdef/apl-0000000000000000", "x", "ä"]
    {
        let error = refused(world.request(JWT_BEARER).client_id(unknown).assertion("x")).await;
        assert!(error.is_invalid_client_exception(), "{error:?}");
    }
    let now = world.kit.now().seconds();
    let bad: [fn(&mut Value, i64); 5] = [
        |claims, _| claims["iss"] = json!("https://other.example"),
        |claims, now| claims["exp"] = json!(now - 61),
        |claims, _| claims["aud"] = json!("web"),
        |claims, _| claims["sub"] = json!("nobody"),
        |claims, _| drop(claims.as_object_mut().unwrap().remove("exp")),
    ];
    for (nth, edit) in bad.into_iter().enumerate() {
        let error = world.presented(|claims| edit(claims, now)).await.unwrap_err();
        assert!(error.is_invalid_grant_exception(), "{nth}: {error:?}");
    }
    for nothing in ["", "x", "a.b.c"] {
        let error = refused(world.request(JWT_BEARER).assertion(nothing)).await;
        let expected = if nothing.is_empty() { "InvalidRequestException" } else { "InvalidGrantException" };
        assert_eq!(code(&error), expected);
    }
    // An application that does not accept the issuer.
    world
        .kit
        .edit_directory(|file| {
            let web = web(file);
            web.trusted_issuers[0].issuer = IssuerName::parse("other").unwrap();
        })
        .await;
    assert!(world.presented(|_| {}).await.unwrap_err().is_invalid_grant_exception());
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_is_not_the_callers_fault() {
    let world = World::start().await;
    world.issuer.says(doorward_testkit_oidc::JWKS, Said::json(&json!({})).status(503));
    assert!(world.presented(|_| {}).await.unwrap_err().is_internal_server_exception());
}

#[tokio::test]
async fn ledger_09_people_who_are_asked_must_have_agreed_before() {
    let world = World::with(|setup| web(&mut setup.directory).consent = true).await;
    let error = world.presented(|_| {}).await.unwrap_err();
    let CreateTokenWithIAMError::InvalidGrantException(error) = error else { panic!("{error:?}") };
    assert!(error.error_description().unwrap().starts_with("consent_required"), "{error:?}");
    // A device sign-in is a way to be asked.
    world.kit.approved_application_device(WEB, &[], "ada").await;
    assert!(world.presented(|_| {}).await.is_ok());
}

#[tokio::test]
async fn t75_a_refresh_token_that_is_over_says_so() {
    let world = World::start().await;
    let output = world.presented(|_| {}).await.unwrap();
    let refresh = || world.request("refresh_token").refresh_token(output.refresh_token().unwrap());
    world.kit.advance(28_801);
    assert!(refused(refresh()).await.is_expired_token_exception());
    world.kit.app().sweep().await.unwrap();
    assert!(refused(refresh()).await.is_expired_token_exception());
    let made_up = world.request("refresh_token").refresh_token("dwr_x");
    let CreateTokenWithIAMError::InvalidGrantException(error) = refused(made_up).await else {
        panic!("another")
    };
    assert_eq!(error.error_description(), Some("Invalid refresh token provided"));
}

#[tokio::test]
async fn a_refresh_token_that_was_ended_is_not_over() {
    let world = World::start().await;
    let output = world.presented(|_| {}).await.unwrap();
    world.kit.set_disabled("ada", true).await;
    let refresh = world.request("refresh_token").refresh_token(output.refresh_token().unwrap());
    assert!(refused(refresh).await.is_invalid_grant_exception());
}

#[tokio::test]
async fn an_access_token_is_exchanged_for_one_of_less() {
    let world = World::start().await;
    let output = world.presented(|_| {}).await.unwrap();
    let exchange = |token: &str| {
        let request = world.request(TOKEN_EXCHANGE).subject_token(token).subject_token_type(ACCESS_TOKEN);
        request.scope("api.read").scope("sts:identity_context").scope("openid")
    };
    let exchanged = exchange(output.access_token().unwrap()).send().await.unwrap();
    assert_eq!(exchanged.issued_token_type(), Some(ACCESS_TOKEN));
    assert!(exchanged.refresh_token().is_none());
    let id = said(exchanged.id_token().unwrap());
    assert_eq!((&id["aud"], &id["act"]), (&json!(ARN), &json!({"sub": "web"})));
    // The first token was good for no identity context.
    assert!(exchanged.aws_additional_details().is_none());
    assert_eq!(exchanged.scope(), ["api.read", "openid"]);
    let (before, after) = (said(output.access_token().unwrap()), said(exchanged.access_token().unwrap()));
    assert_eq!((&after["aud"], &after["act"]), (&json!(OTHER_API), &json!({"sub": "web"})));
    assert_eq!(
        (&after["sid"], &after["sub"], &after["scope"]),
        (&before["sid"], &json!("ada"), &json!("api.read openid"))
    );
    for token in ["x", output.id_token().unwrap(), &world.assertion(|_| {})] {
        let CreateTokenWithIAMError::InvalidRequestException(error) = refused(exchange(token)).await else {
            panic!("another")
        };
        assert!(
            error.error_description().unwrap().starts_with("subject_token is not an access token"),
            "{error:?}"
        );
    }
}

/// Neither is in an exchange what the first token was not good for, nor is it hidden who acts.
#[tokio::test]
async fn an_exchange_tells_no_more_of_a_person_than_the_token_that_was_exchanged() {
    let with = async |impersonation: bool, scope: &[&str]| {
        let world = World::with(|setup| {
            let web = web(&mut setup.directory);
            web.scopes = web.scopes.union(&Scopes::parse(["sts:identity_context"]).expect("a scope"));
            web.token_exchange.as_mut().expect("a policy").impersonation = impersonation;
        })
        .await;
        let mut request = world.request(JWT_BEARER).assertion(world.assertion(|_| {}));
        for one in scope {
            request = request.scope(*one);
        }
        let first = request.send().await.unwrap();
        let request = world.request(TOKEN_EXCHANGE).subject_token(first.access_token().unwrap());
        let exchanged = request.subject_token_type(ACCESS_TOKEN).send().await.unwrap();
        let context = exchanged.aws_additional_details().and_then(|details| details.identity_context());
        (exchanged.id_token().map(said), context.map(said))
    };
    let act = json!({"sub": "web"});
    assert_eq!(with(false, &["api.read"]).await, (None, None));
    let (id, context) = with(false, &["api.read", "openid"]).await;
    assert_eq!((&id.unwrap()["act"], context), (&act, None));
    let (id, context) = with(false, &["api.read", "sts:identity_context"]).await;
    assert_eq!((id, &context.unwrap()["act"]), (None, &act));
    // Whoever may pass for the person does.
    let (id, context) = with(true, &["api.read"]).await;
    let context = context.unwrap();
    assert_eq!((id, &context["sub"], context.get("act")), (None, &json!("ada"), None));
}

#[tokio::test]
async fn only_whom_the_application_names_may_call_for_it() {
    let world = World::start().await;
    let request = |key, region| {
        let request = world.client(key, region).create_token_with_iam().client_id(ARN).grant_type(JWT_BEARER);
        request.assertion(world.assertion(|_| {}))
    };
    assert!(refused(request(OTHER_KEY, "us-east-1")).await.is_access_denied_exception());
    let [id, _, arn] = KEY;
    let wrong = refused(request([id, "another secret", arn], "us-east-1")).await;
    assert_eq!(code(&wrong), "InvalidSignatureException");
    let unknown = refused(request(["AKIANOBODYHASTHISONE", "secret", arn], "us-east-1")).await;
    assert_eq!(code(&unknown), "UnrecognizedClientException");
    let CreateTokenWithIAMError::InvalidRequestRegionException(elsewhere) =
        refused(request(KEY, "eu-west-1")).await
    else {
        panic!("another")
    };
    assert_eq!((elsewhere.region(), elsewhere.endpoint()), (Some("us-east-1"), Some(world.kit.base())));
    // None of them used the assertion up.
    assert!(request(KEY, "us-east-1").send().await.is_ok());
}

#[tokio::test]
async fn t72_what_is_not_signed_is_answered_in_json_and_gets_nothing() {
    let world = World::start().await;
    let body =
        json!({"clientId": ARN, "grantType": JWT_BEARER, "assertion": world.assertion(|_| {})}).to_string();
    for (target, status, exception) in [
        ("/token?aws_iam=t", 403, "MissingAuthenticationTokenException"),
        ("/token?aws_iam=f", 400, "InvalidRequestException"),
        ("/token?aws_iam=t&aws_iam=t", 400, "InvalidRequestException"),
        ("/token?aws_iam=t&X-Amz-Signature=x", 400, "InvalidRequestException"),
        ("/token", 400, "InvalidRequestException"),
    ] {
        let answer = world.kit.send(json_request(target, body.clone())).await;
        assert_eq!(answer.status.as_u16(), status, "{target}");
        assert_eq!(answer.headers["x-amzn-errortype"], exception, "{target}");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert!(!answer.text().contains("accessToken"), "{}", answer.text());
    }
    // Not even a body that is none is looked at before the signature.
    let answer = world.kit.send(json_request("/token?aws_iam=t", "{")).await;
    assert_eq!(answer.status.as_u16(), 403);
    let mut bearer = json_request("/token?aws_iam=t", body);
    bearer.headers_mut().insert("authorization", "Bearer x".parse().unwrap());
    let answer = world.kit.send(bearer).await;
    assert_eq!(
        (answer.status.as_u16(), answer.member("message").as_str()),
        (400, "Authorization header must begin with AWS4-HMAC-SHA256.")
    );
    assert!(world.presented(|_| {}).await.is_ok(), "nobody had used the assertion");
}

/// GetCallerIdentity, presigned; what else is in it is the STS's to judge.
fn presigned(sts: &str, signature: char) -> String {
    let signature = signature.to_string().repeat(64);
    let url = format!(
        "{sts}/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE\
         %2F20270110%2Fus-east-1%2Fsts%2Faws4_request&X-Amz-Date=20270110T000000Z&X-Amz-Expires=60\
         &X-Amz-SignedHeaders=host%3Bx-doorward-server-id&X-Amz-Signature={signature}"
    );
    BASE64.encode(url.as_bytes())
}

#[tokio::test]
async fn a_caller_may_be_vouched_for_by_its_sts_once() {
    let sts = Provider::start().await;
    let endpoint = sts.issuer.clone();
    let world = World::with(|setup| {
        setup.caller_identities = Some([endpoint, "sso.example.org".into()]);
        setup.access_keys.clear();
    })
    .await;
    let answer = |arn: &str| {
        Said::xml(&format!(
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{arn}</Arn></GetCallerIdentityResult>\
             </GetCallerIdentityResponse>"
        ))
    };
    sts.says("/", answer("arn:aws:sts::111122223333:assumed-role/Deploy/ci"));
    let mut nth = 0;
    let mut ask = async |header: &str| {
        nth += 1;
        let assertion = world.assertion(|claims| claims["jti"] = json!(format!("j-{nth}")));
        let body = json!({"clientId": ARN, "grantType": JWT_BEARER, "assertion": assertion}).to_string();
        let mut request = json_request("/token?aws_iam=t", body);
        request.headers_mut().insert("x-doorward-caller-identity", header.parse().unwrap());
        world.kit.send(request).await
    };
    let first = presigned(&sts.issuer, 'a');
    let tokens = ask(&first).await.ok().json();
    assert_eq!(said(tokens["idToken"].as_str().unwrap())["sub"], "ada");
    let again = ask(&first).await;
    assert_eq!(again.status.as_u16(), 400);
    assert!(again.member("message").ends_with("it was used before"), "{}", again.text());

    sts.says("/", answer("arn:aws:sts::444455556666:assumed-role/Deploy/ci"));
    let other = ask(&presigned(&sts.issuer, 'b')).await;
    assert_eq!(other.headers["x-amzn-errortype"], "AccessDeniedException");
    sts.says("/", Said::xml("<ErrorResponse/>").status(403));
    let refused = ask(&presigned(&sts.issuer, 'c')).await;
    assert_eq!(
        (refused.status.as_u16(), refused.headers["x-amzn-errortype"].to_str().unwrap()),
        (403, "UnrecognizedClientException")
    );
    sts.says("/", Said::xml("").status(503));
    assert_eq!(ask(&presigned(&sts.issuer, 'd')).await.status.as_u16(), 500);
    let elsewhere = ask(&presigned("http://127.0.0.1:1", 'e')).await;
    assert_eq!(elsewhere.status.as_u16(), 400);
}
