//! A relying party that is written with somebody else's library: `openidconnect`, which reads the discovery document,
//! verifies ID tokens, and knows what to expect of every endpoint it calls.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::SystemTime;

use axum::body::Body;
use doorward_core::time::Timestamp;
use doorward_testkit::{APPLICATION_REDIRECT_URI, Choice, Kit, SPA, Setup, WEB};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreDeviceAuthorizationResponse, CoreErrorResponseType,
    CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreUserInfoClaims,
};
use openidconnect::url::{Position, Url};
use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    DeviceAuthorizationUrl, HttpRequest, HttpResponse, IssuerUrl, Nonce, OAuth2TokenResponse as _,
    PkceCodeChallenge, RedirectUrl, RequestTokenError, Scope, TokenResponse as _,
};

use crate::token::applications;

/// A server whose clock is right, since the library looks at its own, and which has looked after its keys, since the
/// library fetches them but once.
async fn kit() -> Kit {
    let kit = Kit::with(|setup: &mut Setup| {
        applications(setup);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        setup.now =
            Timestamp::from_seconds(i64::try_from(now.as_secs()).expect("before the year 292 277 026 596"));
    })
    .await;
    kit.signing().look().await.expect("keys can be made");
    kit
}

type Answered<'k> = Pin<Box<dyn Future<Output = Result<HttpResponse, Infallible>> + 'k>>;

/// An HTTP client whose every connection ends in a server of this process.
fn http<'k>(kit: &'k Kit) -> impl Fn(HttpRequest) -> Answered<'k> {
    move |request| {
        Box::pin(async move {
            let answer = kit.send(request.map(Body::from)).await;
            let mut response = HttpResponse::new(answer.body.to_vec());
            (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.headers);
            Ok(response)
        })
    }
}

async fn metadata(kit: &Kit) -> CoreProviderMetadata {
    let issuer = IssuerUrl::new(kit.base().to_owned()).expect("an issuer");
    CoreProviderMetadata::discover_async(issuer, &http(kit)).await.expect("a document that it understands")
}

fn scope(name: &str) -> Scope {
    Scope::new(name.to_owned())
}

#[tokio::test]
async fn openidconnect_signs_a_person_in_with_a_code() {
    let kit = kit().await;
    let http = http(&kit);
    let secret = ClientSecret::new(WEB.secret.unwrap().to_owned());
    let client = CoreClient::from_provider_metadata(
        metadata(&kit).await,
        ClientId::new(WEB.id.to_owned()),
        Some(secret),
    )
    .set_redirect_uri(RedirectUrl::new(APPLICATION_REDIRECT_URI.to_owned()).unwrap());
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .add_scopes(["profile", "email", "api.read"].map(scope))
        .set_pkce_challenge(challenge)
        .url();
    let mut browser = kit.browser().signed_in("ada").await;
    let answer = browser.decide_authorize(&url[Position::BeforePath..], Choice::Approve).await;
    assert_eq!(answer.location_parameter("state").as_deref(), Some(state.secret().as_str()));
    assert_eq!(answer.location_parameter("iss").as_deref(), Some(kit.base()));

    let code = AuthorizationCode::new(answer.location_parameter("code").expect("a code"));
    let redeem = client.exchange_code(code).unwrap().set_pkce_verifier(verifier);
    let tokens = redeem.request_async(&http).await.expect("tokens");
    let id_token = tokens.id_token().expect("an ID token");
    let verifies = client.id_token_verifier();
    let claims = id_token.claims(&verifies, &nonce).expect("an ID token that verifies");
    assert_eq!(claims.subject().as_str(), "ada");
    assert!(claims.auth_time().is_some());
    let hash = AccessTokenHash::from_token(
        tokens.access_token(),
        id_token.signing_alg().unwrap(),
        id_token.signing_key(&verifies).unwrap(),
    );
    assert_eq!(claims.access_token_hash(), Some(&hash.unwrap()));
    assert_eq!(id_token.signing_alg().unwrap(), &CoreJwsSigningAlgorithm::EcdsaP256Sha256);
    let other = id_token.claims(&verifies, &Nonce::new_random()).expect_err("another sign-in's nonce");
    assert!(matches!(other, ClaimsVerificationError::InvalidNonce(_)), "{other}");

    let subject = Some(claims.subject().clone());
    let asked = client.user_info(tokens.access_token().clone(), subject).unwrap();
    let info: CoreUserInfoClaims = asked.request_async(&http).await.expect("who it is");
    assert_eq!(info.preferred_username().map(|name| name.as_str()), Some("ada"));
    assert_eq!((info.email().is_some(), info.email()), (true, claims.email()));

    let refresh = tokens.refresh_token().expect("a refresh token");
    let next = client.exchange_refresh_token(refresh).unwrap().request_async(&http).await.expect("tokens");
    let no_nonce =
        |nonce: Option<&Nonce>| nonce.map_or(Ok(()), |_| Err("a refreshed token has none".to_owned()));
    let claims =
        next.id_token().expect("an ID token").claims(&verifies, no_nonce).expect("one that verifies");
    assert_eq!(claims.subject().as_str(), "ada");
    assert_ne!(next.refresh_token().map(openidconnect::RefreshToken::secret), Some(refresh.secret()));
}

#[tokio::test]
async fn openidconnect_waits_for_a_device_sign_in() {
    let kit = kit().await;
    let http = http(&kit);
    let endpoint = DeviceAuthorizationUrl::new(format!("{}/device_authorization", kit.base())).unwrap();
    let client =
        CoreClient::from_provider_metadata(metadata(&kit).await, ClientId::new(SPA.id.to_owned()), None)
            .set_device_authorization_url(endpoint);
    let asked = client.exchange_device_code().add_scopes(["profile", "api.read"].map(scope));
    let asked: CoreDeviceAuthorizationResponse = asked.request_async(&http).await.expect("a device code");
    let complete = Url::parse(asked.verification_uri_complete().unwrap().secret()).unwrap();
    assert!(complete.as_str().starts_with(asked.verification_uri().as_str()));

    // It polls before anybody has approved, is told to wait, and Ada approves while it does.
    let code = asked.user_code().secret().as_str();
    let approve = async |interval: std::time::Duration| {
        kit.advance(u32::try_from(interval.as_secs()).unwrap());
        kit.browser().signed_in("ada").await.decide_device(code, Choice::Approve).await.ok();
    };
    let poll = client.exchange_device_access_token(&asked).unwrap();
    let tokens = poll.request_async(&http, approve, None).await.expect("tokens");
    let verifies = client.id_token_verifier();
    let no_nonce = |nonce: Option<&Nonce>| nonce.map_or(Ok(()), |_| Err("nobody sent one".to_owned()));
    let claims =
        tokens.id_token().expect("an ID token").claims(&verifies, no_nonce).expect("one that verifies");
    assert_eq!(claims.subject().as_str(), "ada");
    assert!(tokens.refresh_token().is_some());

    // The code is used up.
    let again = client.exchange_device_access_token(&asked).unwrap();
    let refused = again.request_async(&http, async |_| {}, None).await.expect_err("a code that was redeemed");
    let RequestTokenError::ServerResponse(said) = refused else { panic!("{refused}") };
    assert_eq!(said.error().to_string(), CoreErrorResponseType::InvalidGrant.to_string());
}
