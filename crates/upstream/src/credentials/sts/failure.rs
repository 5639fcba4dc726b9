//! What the failure of a call to an STS means: the step that decided, and what an operator can do about it.
//!
//! The codes and messages are those of AWS (sts model, and messages as seen), of MinIO, and of Ceph's gateway, whose
//! messages are empty. None of this is shown to the person who asked.

use std::borrow::Cow;
use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use doorward_core::credentials::{BrokerError, BrokerStep};

/// The operation that failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Operation {
    AssumeRole,
    AssumeRoleWithWebIdentity,
}
use Operation::{AssumeRole, AssumeRoleWithWebIdentity};

/// How much is quoted of what a backend says, in characters.
const LONGEST_QUOTE: usize = 400;

/// What `error` means. Wherever the backend repeats `secret`, it is left out.
pub(in super::super) fn explain<E>(
    operation: Operation,
    error: &SdkError<E, HttpResponse>,
    secret: &str,
) -> BrokerError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    if let Some(own) = causes(error).find_map(|cause| cause.downcast_ref::<OwnCredentialsError>()) {
        return own.0.clone();
    }
    let failed = |step, detail: String| BrokerError { denied: false, step, detail };
    let why = || hide(&told(error), secret);
    match error {
        // The SDK cannot read what is not said as it expects, and no more of it is shown: there may be credentials in it.
        SdkError::ServiceError(refused) if refused.raw().status().is_success() => {
            failed(BrokerStep::Answer, "it answered 200, but not what an STS answers".into())
        }
        SdkError::ServiceError(refused) => {
            Said::read(refused.err(), refused.raw()).explain(operation, secret)
        }
        SdkError::TimeoutError(_) => failed(BrokerStep::Network, LATE.into()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            failed(BrokerStep::Network, LATE.into())
        }
        SdkError::ResponseError(response) => failed(
            BrokerStep::Answer,
            format!("its answer ({}) cannot be read: {}", response.raw().status().as_u16(), why()),
        ),
        _ if causes(error).any(<dyn Error>::is::<CredentialsError>) => {
            failed(BrokerStep::OwnCredentials, format!("there are none: {}; {NO_CREDENTIALS}", why()))
        }
        _ => {
            let why = why();
            let is_about_tls = why.contains("certificate");
            let advice = if is_about_tls { CERTIFICATE } else { "" };
            failed(BrokerStep::Network, format!("it cannot be reached: {why}{advice}"))
        }
    }
}

/// Why the server's own credentials for a backend could not be had, on its way through the SDK.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in super::super) struct OwnCredentialsError(pub(in super::super) BrokerError);

/// What a backend said when it refused.
struct Said<'a> {
    status: u16,
    code: Cow<'a, str>,
    message: Cow<'a, str>,
    request: Cow<'a, str>,
}

impl<'a> Said<'a> {
    fn read(error: &'a impl ProvideErrorMetadata, response: &'a HttpResponse) -> Self {
        let body = response.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
        let element =
            |name: &str| -> Cow<'a, str> { element(&body, name).map(Cow::Owned).unwrap_or_default() };
        let code = error.meta().code().map_or_else(|| element("Code"), Cow::Borrowed);
        let message = error.meta().message().map_or_else(|| element("Message"), Cow::Borrowed);
        let header = ["x-amzn-requestid", "x-amz-request-id"];
        let request = header.iter().find_map(|name| response.headers().get(*name)).map(Cow::Borrowed);
        let request = request.unwrap_or_else(|| element("RequestId"));
        Self { status: response.status().as_u16(), code, message, request }
    }

    fn explain(&self, operation: Operation, secret: &str) -> BrokerError {
        let Verdict { denied, step, advice } = self.judge(operation);
        let mut detail = match &*self.code {
            "" => format!("it answered {} without a code", self.status),
            code => format!("{code} ({})", self.status),
        };
        if !self.request.is_empty() {
            detail = format!("{detail}, request {}", self.request);
        }
        if !self.message.is_empty() {
            detail = format!("{detail}: {}", self.message.lines().next().unwrap_or_default());
        }
        let detail = hide(&detail, secret);
        BrokerError {
            denied,
            step,
            detail: if advice.is_empty() { detail } else { format!("{detail}; {advice}") },
        }
    }

    fn judge(&self, operation: Operation) -> Verdict {
        let message = self.message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        let is_late = || {
            says(&["expired", "before issued", "issued in the future", "not valid yet", "not yet", "too old"])
        };
        if self.status >= 500 || self.status == 429 || self.is_throttled() {
            return answer("the backend is overloaded or broken, see its own log");
        }
        match (&*self.code, operation) {
            ("AccessDenied" | "AccessDeniedException" | "Forbidden", AssumeRoleWithWebIdentity) => Verdict {
                denied: true,
                ..trust(if says(&["tagsession"]) { TAG_SESSION } else { WEB_IDENTITY_DENIED })
            },
            ("AccessDenied" | "AccessDeniedException" | "Forbidden", AssumeRole) => Verdict {
                denied: true,
                ..trust(if says(&["tagsession"]) { TAG_SESSION } else { ASSUME_ROLE_DENIED })
            },
            ("ExpiredTokenException" | "ExpiredToken", AssumeRoleWithWebIdentity) => time(TOKEN_TIME),
            ("ExpiredTokenException" | "ExpiredToken", AssumeRole) => own(OWN_EXPIRED),
            ("InvalidIdentityToken" | "InvalidIdentityTokenException", _) => match () {
                () if says(&["audience"]) => audience(AUDIENCE),
                () if is_late() => time(TOKEN_TIME),
                () if says(&["provider found", "no openidconnect provider"]) => issuer(NO_PROVIDER),
                () => issuer(ISSUER),
            },
            ("IDPCommunicationError" | "IDPRejectedClaim" | "IDPRejectedClaimException", _) => issuer(ISSUER),
            ("NoSuchEntity" | "NoSuchEntityException" | "NoSuchRole", _) => role(NO_ROLE),
            ("MalformedPolicyDocument" | "MalformedPolicyDocumentException", _) => session(POLICY),
            ("PackedPolicyTooLarge" | "PackedPolicyTooLargeException", _) => session(PACKED),
            ("RegionDisabledException", _) => configuration(REGION),
            ("SignatureDoesNotMatch", _) if is_late() || says(&["signature not yet current"]) => time(CLOCK),
            ("RequestExpired" | "RequestTimeTooSkewed", _) => time(CLOCK),
            (
                "InvalidClientTokenId"
                | "InvalidAccessKeyId"
                | "UnrecognizedClientException"
                | "SignatureDoesNotMatch"
                | "IncompleteSignature"
                | "MissingAuthenticationToken"
                | "AuthFailure"
                | "OptInRequired"
                | "InvalidToken",
                _,
            ) => own(OWN_REFUSED),
            (
                "ValidationError"
                | "ValidationException"
                | "InvalidParameterValue"
                | "InvalidParameterCombination"
                | "InvalidArgument"
                | "InvalidRequest"
                | "MissingParameter",
                _,
            ) => match () {
                () if says(&["`aud`", "`azp`", "audience"]) => audience(AUDIENCE),
                () if is_late() => time(TOKEN_TIME),
                () if says(&["rolearn", "role arn", "request arn", "arn is invalid"]) => role(ROLE_ARN),
                () if says(&["claim missing", "given policies", "`policy` claim"]) => session(MINIO_POLICIES),
                () if says(&["durationseconds", "duration"]) => session(DURATION),
                () if &*self.code == "InvalidParameterValue" && says(&KEY_TROUBLE) => issuer(ISSUER),
                () if message.is_empty() && operation == AssumeRoleWithWebIdentity => session(CEPH_ARGUMENT),
                () => session(""),
            },
            ("InvalidAction" | "NotImplemented" | "MethodNotAllowed" | "NoSuchBucket" | "NoSuchKey", _) => {
                configuration(NO_STS)
            }
            ("", _) if matches!(self.status, 301..=399 | 404 | 405) => configuration(NO_STS),
            ("", _) => answer("perhaps sts_endpoint does not lead to an STS"),
            // It answers, so it is in order; what it does not take must be of this person or permission set.
            _ => session("this error is not known here"),
        }
    }

    fn is_throttled(&self) -> bool {
        let code = &*self.code;
        code.starts_with("Throttl")
            || matches!(code, "RequestLimitExceeded" | "TooManyRequestsException" | "SlowDown")
    }
}

struct Verdict {
    denied: bool,
    step: BrokerStep,
    advice: &'static str,
}

/// Declares a function that makes a verdict of one step.
macro_rules! verdicts {
    ($($name:ident: $step:ident,)*) => {
        $(const fn $name(advice: &'static str) -> Verdict {
            Verdict { denied: false, step: BrokerStep::$step, advice }
        })*
    };
}

verdicts! {
    configuration: Configuration,
    own: OwnCredentials,
    issuer: Issuer,
    audience: Audience,
    time: Time,
    role: Role,
    trust: Trust,
    session: Session,
    answer: Answer,
}

/// What MinIO says when it cannot verify a token, in lower case.
const KEY_TROUBLE: [&str; 10] = [
    "verification",
    "signature",
    "kid",
    "public key",
    "signing method",
    "jwt",
    "dial tcp",
    "x509",
    "status(",
    "http",
];

const WEB_IDENTITY_DENIED: &str = "the role may not exist, its trust policy may not let this person, this issuer or this \
    audience in, or it may not allow sts:TagSession although there are session_tags; Ceph says the same of a token that it \
    cannot verify or that is out of its time, and the gateway's log says which";
const ASSUME_ROLE_DENIED: &str = "the role may not exist, its trust policy may not let this server in (or wants another \
    external_id), or the server's own credentials may not be allowed sts:AssumeRole on it";
const TAG_SESSION: &str = "there are session_tags: the role's trust policy must allow sts:TagSession too";
const TOKEN_TIME: &str = "a token is good from a minute before it is made to four minutes after: compare this machine's clock \
    with the backend's";
const CLOCK: &str = "compare this machine's clock with the backend's";
const AUDIENCE: &str = "`audience` must be one of the client ids that the backend has for this issuer";
const NO_PROVIDER: &str = "the account has no OIDC provider with this server's issuer URL, to the byte";
const ISSUER: &str = "the backend must have an OIDC provider with this server's issuer URL, to the byte, and must be able to \
    fetch the URL's /.well-known/openid-configuration and the keys named there";
const NO_ROLE: &str = "look at the role_arn of the permission set or of the broker";
const ROLE_ARN: &str = "look at the role_arn of the permission set or of the broker; with MinIO it is the one that MinIO \
    prints when it starts, or minio_policies are used";
const MINIO_POLICIES: &str = "minio_policies of the permission set must name policies that MinIO has";
const DURATION: &str = "session_duration must be no longer than the role's maximum, and 3600 at most where the server's own \
    credentials are a role's";
const CEPH_ARGUMENT: &str = "with Ceph: session_duration is longer than the role's maximum, or (from version 20 on) the \
    gateway could not fetch this server's keys";
const POLICY: &str = "look at session_policy of the permission set";
const PACKED: &str =
    "session_policy, session_policy_arns and session_tags of the permission set are too long together";
const LATE: &str = "it did not answer in time";
const CERTIFICATE: &str =
    "; its certificate must name its host, and descend from one of ca_file or of the system's roots";
const NO_CREDENTIALS: &str = "access_key_file must be set, or the AWS SDK's default chain must find some: in environment \
    variables, ~/.aws, a web identity token file, or from the container or machine";
const REGION: &str = "enable STS for the region in the account, or set another `region`";
const OWN_EXPIRED: &str = "the server's own credentials have expired";
const OWN_REFUSED: &str = "the backend does not take the server's own credentials";
const NO_STS: &str = "sts_endpoint does not lead to an STS";

/// The text of the first element of this name, where the SDK found none: Ceph before version 20 has no `ErrorResponse`
/// around its `Error`.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, from) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = from.split_once(&format!("</{name}>"))?;
    Some(text.to_owned())
}

/// `text` on one line, not too long, and without `secret`.
fn hide(text: &str, secret: &str) -> String {
    let hidden =
        if secret.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(text.replace(secret, "…")) };
    let mut line: String =
        hidden.chars().take(LONGEST_QUOTE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if hidden.chars().nth(LONGEST_QUOTE).is_some() {
        line.push('…');
    }
    line
}

/// What an error and its causes say, each thing once.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    // The SDK's own first lines say only that something failed, and of what kind that is.
    let causes = causes(error).skip(1).filter(|cause| !cause.is::<ConnectorError>());
    for text in causes.map(ToString::to_string) {
        if said.last().is_none_or(|last| !last.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
