//! T78: what backends refuse with, and which step that means. Codes and messages are those of AWS, MinIO, Ceph and moto.

use BrokerStep::{Answer, Audience, Configuration, Issuer, OwnCredentials, Role, Session, Time, Trust};
use doorward_core::credentials::{BrokerError, BrokerStep, CredentialBroker as _};

use crate::answers::{error, old_ceph_error};
use crate::backend::{Reply, Sts};
use crate::fixtures::{Way, backend, decided, error_of, request, web_identity};

async fn refused(way: Way, status: u16, body: impl Into<String>) -> BrokerError {
    let sts = Sts::start([Reply::Text(status, body.into())]).await;
    error_of(way, &sts).await
}

/// Status, code and message, and what they mean.
type Case = (u16, &'static str, &'static str, BrokerStep, bool);

async fn check(way: Way, cases: &[Case]) {
    for (status, code, message, step, denied) in cases {
        let got = refused(way, *status, error(code, message)).await;
        assert_eq!(decided(&got), (*step, *denied), "{code} {message}: {got}");
        assert!(got.detail.starts_with(&format!("{code} ({status}), request 71f02f8c-example")), "{got}");
        assert!(got.detail.contains(&message.replace("&#34;", "\"")), "{got}");
    }
}

const NO_PROVIDER: &str = "No OpenIDConnect provider found in your account for https://sso.example.org";
const NO_KEY: &str = "Couldn't retrieve verification key from your identity provider,  please reference \
    AssumeRoleWithWebIdentity documentation for requirements";
const THUMBPRINT: &str = "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint";
const EXPIRED: &str =
    "Token expired: current date/time 1624482533 must be before the expiration date/time1624482335";
const TOO_LONG: &str = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
const NO_TAGS: &str = "User: x is not authorized to perform: sts:TagSession on resource: y";
const CHAINED: &str =
    "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";
const MOTO: &str = "1 validation error detected: Value 'x' at 'roleSessionName' failed to satisfy constraint: Member \
    must have length less than or equal to 64";

#[tokio::test]
async fn of_web_identity_at_aws_and_moto() {
    check(
        Way::WebIdentity,
        &[
            (403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", Trust, true),
            (403, "AccessDenied", NO_TAGS, Trust, true),
            (400, "InvalidIdentityToken", "Incorrect token audience", Audience, false),
            (400, "InvalidIdentityToken", NO_PROVIDER, Issuer, false),
            (400, "InvalidIdentityToken", NO_KEY, Issuer, false),
            (400, "InvalidIdentityToken", THUMBPRINT, Issuer, false),
            (400, "InvalidIdentityToken", "Token is expired", Time, false),
            (400, "ExpiredTokenException", EXPIRED, Time, false),
            (400, "ExpiredTokenException", "Token too old: 441398", Time, false),
            (403, "IDPRejectedClaim", "", Issuer, false),
            (400, "ValidationError", TOO_LONG, Session, false),
            (400, "ValidationError", "Request ARN is invalid", Role, false),
            (400, "ValidationError", MOTO, Session, false),
            (400, "MalformedPolicyDocument", "Syntax errors in policy.", Session, false),
            (400, "PackedPolicyTooLarge", "Packed size of session tags consumes 105%", Session, false),
            (403, "RegionDisabledException", "STS is not activated in this region", Configuration, false),
            (400, "WhoKnows", "something else", Session, false),
        ],
    )
    .await;
}

const MINIO_AUD: &str = "STS JWT Token has `aud` claim invalid, `aud` must match configured OpenID Client ID";
const MINIO_AZP: &str = "STS JWT Token has `azp` claim invalid, `azp` must match configured OpenID Client ID";
const MINIO_ROLE: &str = "Error processing RoleArn parameter: Role arn:minio:iam:::role/x does not exist";
const MINIO_CLAIM: &str = "policy claim missing from the JWT token, credentials will not be generated";
const MINIO_POLICY: &str =
    "None of the given policies (`readonly`) are defined, credentials will not be generated";
const MINIO_DIAL: &str = "Get &#34;https://sso.example.org/keys&#34;: dial tcp: connection refused";

#[tokio::test]
async fn of_web_identity_at_minio_and_ceph() {
    check(
        Way::WebIdentity,
        &[
            (403, "AccessDenied", "this user does not have enough permission", Trust, true),
            (400, "ExpiredToken", "token expired", Time, false),
            (400, "InvalidParameterValue", "Token is expired", Time, false),
            (400, "InvalidParameterValue", "Token used before issued", Time, false),
            (400, "InvalidParameterValue", MINIO_AUD, Audience, false),
            (400, "InvalidParameterValue", MINIO_AZP, Audience, false),
            (400, "InvalidParameterValue", MINIO_ROLE, Role, false),
            (400, "InvalidParameterValue", MINIO_CLAIM, Session, false),
            (400, "InvalidParameterValue", MINIO_POLICY, Session, false),
            (400, "InvalidParameterValue", "No public key found for kid abc", Issuer, false),
            (400, "InvalidParameterValue", "crypto/rsa: verification error", Issuer, false),
            (400, "InvalidParameterValue", MINIO_DIAL, Issuer, false),
            (403, "AccessDenied", "", Trust, true),
            (400, "InvalidArgument", "", Session, false),
            (400, "MalformedPolicyDocument", "At character offset 1, invalid", Session, false),
        ],
    )
    .await;
}

#[tokio::test]
async fn of_assume_role() {
    check(
        Way::AssumeRole,
        &[
            (403, "AccessDenied", "User: x is not authorized to perform: sts:AssumeRole on y", Trust, true),
            (403, "AccessDenied", NO_TAGS, Trust, true),
            (403, "InvalidClientTokenId", "The security token is invalid.", OwnCredentials, false),
            (403, "ExpiredToken", "The security token is expired", OwnCredentials, false),
            (403, "InvalidAccessKeyId", "", OwnCredentials, false),
            (403, "SignatureDoesNotMatch", "It does not match.", OwnCredentials, false),
            (403, "SignatureDoesNotMatch", "Signature expired: 1 is now earlier than 2", Time, false),
            (403, "SignatureDoesNotMatch", "Signature not yet current: 2 is still later than 1", Time, false),
            (403, "RequestTimeTooSkewed", "", Time, false),
            (404, "NoSuchEntity", "", Role, false),
            (400, "ValidationError", CHAINED, Session, false),
            (400, "InvalidAction", "Could not find operation AssumeRole", Configuration, false),
        ],
    )
    .await;
}

#[tokio::test]
async fn faults_of_the_backend_are_no_refusals() {
    for (status, code) in [
        (503, "STSNotInitialized"),
        (500, "InternalError"),
        (400, "IDPCommunicationError"),
        (400, "ThrottlingException"),
    ] {
        let got = refused(Way::WebIdentity, status, error(code, "")).await;
        let step = if code == "IDPCommunicationError" { Issuer } else { Answer };
        assert_eq!(decided(&got), (step, false), "{got}");
    }
}

#[tokio::test]
async fn of_ceph_before_version_20_without_anything_around_it() {
    for way in [Way::WebIdentity, Way::AssumeRole] {
        let got = refused(way, 403, old_ceph_error("AccessDenied")).await;
        assert_eq!(decided(&got), (Trust, true), "{got}");
        assert!(got.detail.starts_with("AccessDenied (403), request tx000-example; "), "{got}");
    }
    let got = refused(Way::WebIdentity, 400, old_ceph_error("InvalidArgument")).await;
    assert_eq!(decided(&got), (Session, false), "{got}");
    assert!(got.detail.contains("longer than the role's maximum"), "{got}");
    let got = refused(Way::WebIdentity, 404, old_ceph_error("NoSuchBucket")).await;
    assert_eq!(decided(&got), (Configuration, false), "{got}");
}

#[tokio::test]
async fn of_something_that_is_no_sts() {
    for (status, body, step) in [
        (404, "<html>not found</html>", Configuration),
        (405, "", Configuration),
        (301, "", Configuration),
        (403, "<html>forbidden</html>", Answer),
        (401, "", Answer),
        (429, "", Answer),
    ] {
        let got = refused(Way::WebIdentity, status, body).await;
        assert_eq!(decided(&got), (step, false), "{got}");
        assert!(got.detail.starts_with(&format!("it answered {status} without a code")), "{got}");
    }
}

#[tokio::test]
async fn a_denial_that_can_mean_many_things_says_so() {
    let got = refused(Way::WebIdentity, 403, error("AccessDenied", "")).await;
    for cause in ["trust policy", "may not exist", "sts:TagSession", "this issuer", "out of its time"] {
        assert!(got.detail.contains(cause), "{cause}: {got}");
    }
    let got = refused(Way::AssumeRole, 403, error("AccessDenied", "")).await;
    for cause in ["trust policy", "may not exist", "external_id", "sts:AssumeRole"] {
        assert!(got.detail.contains(cause), "{cause}: {got}");
    }
}

#[tokio::test]
async fn a_token_that_a_backend_repeats_is_in_no_error() {
    let repeat = |token: &str| {
        error(
            "ValidationError",
            &format!(
                "Value '{token}' at 'webIdentityToken' is too bad\nsecret canonical string {}",
                "x".repeat(5000)
            ),
        )
    };
    // What the broker sends is known once it was sent.
    let sts = Sts::start([Reply::Text(400, String::new())]).await;
    error_of(Way::WebIdentity, &sts).await;
    let token = sts.asked_once().form()["WebIdentityToken"].clone();
    sts.then(Reply::Text(400, repeat(&token)));
    let got = error_of(Way::WebIdentity, &sts).await;
    assert_eq!(sts.asked()[1].form()["WebIdentityToken"], token, "a new broker draws the same");
    assert!(!got.detail.contains("eyJ"), "{got}");
    assert!(got.detail.contains("Value '…' at 'webIdentityToken' is too bad"), "{got}");
    assert!(!got.detail.contains("canonical"), "{got}");
    assert!(got.detail.len() < 700, "{got}");
}

#[tokio::test]
async fn errors_never_hold_credentials() {
    // An answer that breaks off in the middle, and one that is refused because it is late.
    let whole = crate::answers::AWS_WEB_IDENTITY;
    for answer in [
        whole.split_once("<Expiration>").unwrap().0.to_owned(),
        whole.replace("2027-01-15T09", "2027-01-15T07"),
    ] {
        let sts = Sts::start([Reply::ok(answer)]).await;
        let got = web_identity(backend(&sts)).role_credentials(&request(|_| {})).await.unwrap_err();
        assert_eq!(got.step, Answer, "{got}");
        for secret in ["wJalrXUtnFEMI", "AQoDYXdzEE0a8", "eyJ"] {
            assert!(!format!("{got} {got:?}").contains(secret), "{got:?}");
        }
    }
}
