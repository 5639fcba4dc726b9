//! sso-oidc: both flows, and every modelled exception as the variant of its own.

use aws_sdk_ssooidc::operation::RequestId as _;
use aws_sdk_ssooidc::operation::create_token::CreateTokenError;
use aws_sdk_ssooidc::operation::create_token::builders::CreateTokenFluentBuilder;
use aws_sdk_ssooidc::operation::register_client::RegisterClientError;
use aws_sdk_ssooidc::operation::register_client::RegisterClientOutput;
use aws_sdk_ssooidc::operation::register_client::builders::RegisterClientFluentBuilder;
use aws_sdk_ssooidc::operation::start_device_authorization::StartDeviceAuthorizationError;
use doorward_core::time::Lifetime;
use doorward_testkit::{Choice, Client, Kit, Pkce, REDIRECT_URI};

use crate::{DEVICE_GRANT, oidc, sso};

fn registration(client: &aws_sdk_ssooidc::Client) -> RegisterClientFluentBuilder {
    client.register_client().client_name("sdk").client_type("public").scopes("sso:account:access")
}

fn browser_registration(client: &aws_sdk_ssooidc::Client) -> RegisterClientFluentBuilder {
    registration(client)
        .grant_types("authorization_code")
        .grant_types("refresh_token")
        .redirect_uris("http://127.0.0.1/oauth/callback")
}

fn known(output: &RegisterClientOutput) -> Client {
    Client {
        id: output.client_id().expect("clientId").to_owned(),
        secret: output.client_secret().expect("clientSecret").to_owned(),
    }
}

fn token(client: &aws_sdk_ssooidc::Client, who: &Client, grant: &str) -> CreateTokenFluentBuilder {
    client.create_token().client_id(&who.id).client_secret(&who.secret).grant_type(grant)
}

async fn refused(request: CreateTokenFluentBuilder) -> CreateTokenError {
    request.send().await.expect_err("a refusal").into_service_error()
}

#[tokio::test]
async fn a_registration_arrives_with_its_times() {
    let kit = Kit::new().await;
    let output = registration(&oidc(&kit)).issuer_url(kit.start_url()).send().await.unwrap();
    assert_eq!(output.client_id_issued_at(), kit.now().seconds());
    assert_eq!(output.client_secret_expires_at(), kit.now().seconds() + 7_776_000);
    assert_eq!(output.authorization_endpoint(), Some(&*format!("{}/authorize", kit.base())));
    assert!(output.request_id().is_some());
}

#[tokio::test]
async fn a_device_sign_in_and_its_refreshes() {
    let kit = Kit::new().await;
    let client = oidc(&kit);
    let who = known(&registration(&client).send().await.unwrap());
    let started = client
        .start_device_authorization()
        .client_id(&who.id)
        .client_secret(&who.secret)
        .start_url(kit.start_url())
        .send()
        .await
        .unwrap();
    assert_eq!((started.expires_in(), started.interval()), (600, 1));
    let poll = || token(&client, &who, DEVICE_GRANT).device_code(started.device_code().unwrap());
    assert!(matches!(refused(poll()).await, CreateTokenError::AuthorizationPendingException(_)));

    let mut browser = kit.browser().signed_in("ada").await;
    browser.decide_device(started.user_code().unwrap(), Choice::Approve).await.ok();
    let mut tokens = poll().send().await.unwrap();
    assert_eq!((tokens.expires_in(), tokens.token_type()), (3600, Some("Bearer")));
    assert!(tokens.id_token().is_none());
    for _ in 0..3 {
        sso(&kit).list_accounts().access_token(tokens.access_token().unwrap()).send().await.unwrap();
        let refresh = token(&client, &who, "refresh_token").refresh_token(tokens.refresh_token().unwrap());
        tokens = refresh.send().await.unwrap();
    }
}

#[tokio::test]
async fn a_sign_in_through_the_browser() {
    let kit = Kit::new().await;
    let client = oidc(&kit);
    let who = known(&browser_registration(&client).send().await.unwrap());
    let code = kit.code(&who, "ada").await;
    let redeem = token(&client, &who, "authorization_code").code(code).redirect_uri(REDIRECT_URI);
    let tokens = redeem.code_verifier(Pkce::VERIFIER).send().await.unwrap();
    assert!(tokens.access_token().is_some() && tokens.refresh_token().is_some());
}

#[tokio::test]
async fn every_exception_of_register_client_is_typed() {
    use RegisterClientError as E;
    let kit = Kit::with(|setup| setup.rate_limits = true).await;
    let client = oidc(&kit);
    let refused = async |request: RegisterClientFluentBuilder| {
        request.send().await.expect_err("a refusal").into_service_error()
    };
    assert!(matches!(refused(registration(&client).client_name("")).await, E::InvalidRequestException(_)));
    let error = refused(registration(&client).client_type("confidential")).await;
    assert!(matches!(&error, E::InvalidClientMetadataException(inner)
        if inner.error() == Some("invalid_client_metadata") && inner.error_description().is_some()));
    assert!(matches!(refused(registration(&client).scopes("a\"b")).await, E::InvalidScopeException(_)));
    let error = refused(registration(&client).grant_types("password")).await;
    assert!(matches!(error, E::UnsupportedGrantTypeException(_)));
    let error = refused(registration(&client).redirect_uris("http://evil.example/")).await;
    assert!(matches!(error, E::InvalidRedirectUriException(_)));
    for _ in 0..200 {
        let _ = registration(&client).send().await;
    }
    assert!(matches!(refused(registration(&client)).await, E::SlowDownException(_)));
}

#[tokio::test]
async fn every_exception_of_start_device_authorization_is_typed() {
    use StartDeviceAuthorizationError as E;
    let kit = Kit::with(|setup| setup.device_requests.from_address = 1).await;
    let client = oidc(&kit);
    let who = known(&registration(&client).send().await.unwrap());
    let browser_only = known(&browser_registration(&client).send().await.unwrap());
    let start = |who: &Client, url: &str| {
        client
            .start_device_authorization()
            .client_id(&who.id)
            .client_secret(&who.secret)
            .start_url(url)
            .send()
    };
    let refused =
        async |who: &Client, url: &str| start(who, url).await.expect_err("a refusal").into_service_error();
    let url = kit.start_url();
    assert!(matches!(refused(&who, "https://elsewhere.example/").await, E::InvalidRequestException(_)));
    let stranger = Client { secret: "x".to_owned(), ..who.clone() };
    assert!(matches!(refused(&stranger, &url).await, E::InvalidClientException(_)));
    assert!(matches!(refused(&browser_only, &url).await, E::UnauthorizedClientException(_)));
    start(&who, &url).await.unwrap();
    assert!(matches!(refused(&who, &url).await, E::SlowDownException(_)));
    kit.store().fail(true, false);
    assert!(matches!(refused(&who, &url).await, E::InternalServerException(_)));
}

#[tokio::test]
async fn every_exception_of_create_token_is_typed() {
    use CreateTokenError as E;
    let kit = Kit::with(|setup| {
        setup.poll_interval = 30;
        setup.lifetimes.device_request = Lifetime::from_seconds(60);
    })
    .await;
    let client = oidc(&kit);
    let who = known(&registration(&client).send().await.unwrap());
    let browser_only = known(&browser_registration(&client).send().await.unwrap());
    let device = kit.start_device(&who).await;
    let poll = || token(&client, &who, DEVICE_GRANT).device_code(&device.code);

    assert!(matches!(refused(token(&client, &who, DEVICE_GRANT)).await, E::InvalidRequestException(_)));
    assert!(matches!(refused(token(&client, &who, "password")).await, E::UnsupportedGrantTypeException(_)));
    let stranger = Client { secret: "x".to_owned(), ..who.clone() };
    let error = refused(token(&client, &stranger, "refresh_token").refresh_token("x")).await;
    assert!(matches!(error, E::InvalidClientException(_)));
    let error = refused(token(&client, &who, "refresh_token").refresh_token("x")).await;
    assert!(matches!(&error, E::InvalidGrantException(inner)
        if inner.error_description() == Some("Invalid refresh token provided")));
    let error = refused(token(&client, &browser_only, DEVICE_GRANT).device_code("x")).await;
    assert!(matches!(error, E::UnauthorizedClientException(_)));
    assert!(matches!(refused(poll().scope("not:registered")).await, E::InvalidScopeException(_)));
    let error = refused(poll()).await;
    assert!(matches!(&error, E::AuthorizationPendingException(inner)
        if inner.error() == Some("authorization_pending")));
    for _ in 0..5 {
        let _ = poll().send().await;
    }
    assert!(matches!(refused(poll()).await, E::SlowDownException(_)));

    let denied = kit.start_device(&who).await;
    let mut browser = kit.browser().signed_in("ada").await;
    browser.decide_device(&denied.user_code, Choice::Deny).await.ok();
    let error = refused(token(&client, &who, DEVICE_GRANT).device_code(&denied.code)).await;
    assert!(matches!(error, E::AccessDeniedException(_)));
    kit.advance(60);
    assert!(matches!(refused(poll()).await, E::ExpiredTokenException(_)));
    kit.store().fail(true, true);
    kit.advance(60);
    assert!(matches!(refused(poll()).await, E::InternalServerException(_)));
}
