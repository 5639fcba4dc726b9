//! AWS Signature Version 4, as a server checks it: the header form, for a body that is here whole.
//!
//! The request is signed once more, by the signer of the AWS SDK, over exactly the headers that the caller says are signed;
//! the signature holds if it comes out the same. What is left to this file is to read the `Authorization` header, and to
//! insist that everything that matters is signed, is there once, and is recent.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign};
use aws_sigv4::sign::v4;
use doorward_core::secret::SecretAccessKey;
use doorward_core::time::{Lifetime, Timestamp};
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use subtle::ConstantTimeEq as _;

/// How far a signature's time may be from ours.
pub const MOST_SKEW: Lifetime = Lifetime::from_seconds(900);
/// The longest `Authorization` header that is read, in bytes. Real ones have some three hundred.
const LONGEST_HEADER: usize = 4096;
/// The most headers that are signed.
const MOST_SIGNED: usize = 64;
/// Headers that must be signed where they are sent.
const SIGNED_WHEN_SENT: [&str; 3] = ["content-type", "x-amz-content-sha256", "x-amz-security-token"];
/// By these parameters a request would carry its signature in its query.
const PRESIGNED: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// Why a request is not taken for signed. No text repeats what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature.
    #[error("Missing Authentication Token")]
    Missing,
    /// It is no signature that could be checked.
    #[error("{0}")]
    Incomplete(String),
    /// Nobody has such an access key.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// It does not hold: too old or too new, of another service, or made of something else.
    #[error("{0}")]
    Wrong(String),
}

fn incomplete<T>(why: impl Into<String>) -> Result<T, SignatureError> {
    Err(SignatureError::Incomplete(why.into()))
}

fn wrong<T>(why: impl Into<String>) -> Result<T, SignatureError> {
    Err(SignatureError::Wrong(why.into()))
}

/// What a request says of its signature. Nothing of it is proved before [`Claimed::verify`].
#[derive(Debug)]
pub struct Claimed<'a> {
    /// Whose key it is.
    pub access_key_id: &'a str,
    /// The region that the signature is for.
    pub region: &'a str,
    service: &'a str,
    signed_at: Timestamp,
    signed_headers: Vec<(&'a str, &'a str)>,
    signature: &'a str,
}

impl<'a> Claimed<'a> {
    /// Reads what a request says, strictly.
    ///
    /// # Errors
    /// [`SignatureError`]: what is missing, or there twice, or not as it must be.
    pub fn read(parts: &'a Parts) -> Result<Self, SignatureError> {
        let query = parts.uri.query().unwrap_or_default();
        if url::form_urlencoded::parse(query.as_bytes())
            .any(|(name, _)| PRESIGNED.iter().any(|own| name.eq_ignore_ascii_case(own)))
        {
            return incomplete("The signature must be in the Authorization header, and not in the query.");
        }
        let header = header(parts, AUTHORIZATION.as_str())?.ok_or(SignatureError::Missing)?;
        if header.len() > LONGEST_HEADER {
            return incomplete("Authorization header is too long.");
        }
        let Some(rest) = header.strip_prefix("AWS4-HMAC-SHA256 ") else {
            return incomplete("Authorization header must begin with AWS4-HMAC-SHA256.");
        };
        let [credential, signed, signature] = fields(rest)?;
        let mut credential = credential.split('/');
        let scope: [&str; 5] = match std::array::from_fn(|_| credential.next().unwrap_or_default()) {
            scope if credential.next().is_none() && scope.iter().all(|part| !part.is_empty()) => scope,
            _ => {
                return incomplete(
                    "Credential must be a key id, a date, a region, a service and aws4_request.",
                );
            }
        };
        let [access_key_id, date, region, service, "aws4_request"] = scope else {
            return incomplete("Credential must end with aws4_request.");
        };
        if signature.len() != 64
            || !signature.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        {
            return incomplete("Signature must be 64 lower-case hexadecimal digits.");
        }
        let signed_headers = signed_headers(parts, signed)?;
        let Some((_, at)) = signed_headers.iter().find(|(name, _)| *name == "x-amz-date") else {
            return incomplete("SignedHeaders must hold x-amz-date.");
        };
        let Some(signed_at) = amz_date(at) else {
            return incomplete("X-Amz-Date must be of the form YYYYMMDDTHHMMSSZ.");
        };
        if at[..8] != *date {
            return wrong("Credential should be scoped to the day of X-Amz-Date.");
        }
        Ok(Self { access_key_id, region, service, signed_at, signed_headers, signature })
    }

    /// Whether the request, with this body, was signed with `secret`, for `service`, about `now`.
    ///
    /// # Errors
    /// [`SignatureError::Wrong`] if not.
    pub fn verify(
        &self,
        parts: &Parts,
        body: &[u8],
        secret: &SecretAccessKey,
        service: &str,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        if self.service != service {
            return wrong(format!("Credential should be scoped to correct service: '{service}'."));
        }
        if self.signed_at < now.minus(MOST_SKEW) || self.signed_at > now.plus(MOST_SKEW) {
            return wrong(
                "Signature expired, or not yet current: it must be of within 15 minutes of this server's clock.",
            );
        }
        let ours = self.again(parts, body, secret).ok_or_else(mismatch)?;
        if bool::from(ours.as_bytes().ct_eq(self.signature.as_bytes())) { Ok(()) } else { Err(mismatch()) }
    }

    /// The signature that this request has when it is signed with `secret`.
    fn again(&self, parts: &Parts, body: &[u8], secret: &SecretAccessKey) -> Option<String> {
        let identity = Credentials::new(self.access_key_id, secret.reveal(), None, None, "doorward").into();
        let mut settings = SigningSettings::default();
        // What a signer leaves out of its own accord, a caller may have signed.
        settings.excluded_headers = None;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(self.signed_at.seconds().try_into().ok()?))
            .settings(settings)
            .build()
            .ok()?;
        let params = SigningParams::V4(params);
        let target = parts.uri.path_and_query()?.as_str();
        let headers = self.signed_headers.iter().copied();
        let request =
            SignableRequest::new(parts.method.as_str(), target, headers, SignableBody::Bytes(body)).ok()?;
        // The signer tells of what it signs, session tokens included, to whoever traces it.
        let unheard = tracing::subscriber::NoSubscriber::default();
        let signed = tracing::subscriber::with_default(unheard, || sign(request, &params));
        Some(signed.ok()?.into_parts().1)
    }
}

fn mismatch() -> SignatureError {
    SignatureError::Wrong(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
         and signing method."
            .to_owned(),
    )
}

/// `Credential`, `SignedHeaders` and `Signature`, in any order, each once, and nothing else.
fn fields(rest: &str) -> Result<[&str; 3], SignatureError> {
    const NAMES: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];
    let mut found = [None; 3];
    for part in rest.split(',') {
        let Some((name, value)) = part.trim_matches(' ').split_once('=') else {
            return incomplete("Authorization header must hold name=value pairs.");
        };
        let Some(at) = NAMES.iter().position(|known| *known == name) else {
            return incomplete("Authorization header has an unknown parameter.");
        };
        if found[at].replace(value).is_some() {
            return incomplete(format!("Authorization header has {name} twice."));
        }
    }
    let missing = NAMES.iter().zip(found).find(|(_, value)| value.is_none()).map(|(name, _)| name);
    match (found, missing) {
        ([Some(credential), Some(headers), Some(signature)], None) => Ok([credential, headers, signature]),
        (_, missing) => {
            let name = missing.copied().unwrap_or_default();
            incomplete(format!("Authorization header requires '{name}' parameter."))
        }
    }
}

/// The signed headers with their values: all that must be signed, each of them sent once.
fn signed_headers<'a>(parts: &'a Parts, list: &'a str) -> Result<Vec<(&'a str, &'a str)>, SignatureError> {
    let names: Vec<&str> = list.split(';').collect();
    if names.len() > MOST_SIGNED {
        return incomplete("SignedHeaders has too many names.");
    }
    // So each is there once.
    if !names.is_sorted_by(|one, next| one < next) {
        return incomplete("SignedHeaders must be in order, without any name twice.");
    }
    let is_name = |name: &&str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if !names.iter().all(is_name) || names.contains(&AUTHORIZATION.as_str()) {
        return incomplete("SignedHeaders must be lower-case names of headers.");
    }
    let always = [HOST.as_str(), "x-amz-date"];
    let sent = SIGNED_WHEN_SENT.into_iter().filter(|name| parts.headers.contains_key(*name));
    if let Some(unsigned) = always.into_iter().chain(sent).find(|name| !names.contains(name)) {
        return incomplete(format!("SignedHeaders must hold {unsigned}."));
    }
    let value = |name: &'a str| match header(parts, name)? {
        Some(value) => Ok((name, value)),
        // HTTP/2 has it elsewhere (RFC 9113 section 8.3.1).
        None if name == HOST => match parts.uri.authority() {
            Some(authority) => Ok((name, authority.as_str())),
            None => incomplete("SignedHeaders names a header that was not sent."),
        },
        None => incomplete("SignedHeaders names a header that was not sent."),
    };
    names.into_iter().map(value).collect()
}

/// A header that is there once at most.
fn header<'a>(parts: &'a Parts, name: &str) -> Result<Option<&'a str>, SignatureError> {
    let mut values = parts.headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return incomplete("A header that counts for the signature was sent twice.");
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => incomplete("A header that counts for the signature is not visible ASCII."),
    }
}

/// A moment as `X-Amz-Date` has it, and in no other way of writing it.
pub(super) fn amz_date(text: &str) -> Option<Timestamp> {
    const FORM: &str = "%Y%m%dT%H%M%SZ";
    let time = jiff::fmt::strtime::parse(FORM, text).ok()?.to_datetime().ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    (time.strftime(FORM).to_string() == text && time.timestamp().as_second() >= 0)
        .then(|| Timestamp::from_seconds(time.timestamp().as_second()))
}

#[cfg(test)]
mod tests;
