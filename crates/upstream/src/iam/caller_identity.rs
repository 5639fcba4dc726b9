//! Who a caller is, in the words of the caller's own STS.
//!
//! The caller presigns GetCallerIdentity with whatever AWS credentials it has, and sends the URL. This server asks exactly
//! that of the one STS it was told of, and learns whose credentials they are, without ever seeing them. The name of this
//! server is among what is signed, so that a URL that was made for another service is of no use here, and the other way
//! round. That it is used once is for whoever asks to see to.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use doorward_core::time::{Lifetime, Timestamp};
use tokio::sync::Semaphore;
use url::Url;

use super::sigv4::amz_date;
use crate::provider::error::Kind;
use crate::provider::http::{Http, is_acceptable, send};

/// The header that is signed, and says which server the caller means.
pub const SERVER_ID: &str = "x-doorward-server-id";
/// How long a URL may be good for.
pub const LONGEST_LIFE: Lifetime = Lifetime::from_seconds(900);
/// By how much the caller's clock may be ahead.
const MOST_AHEAD: Lifetime = Lifetime::from_seconds(300);
/// The longest header that is read, in bytes. A session token may have two thousand, and is escaped twice here.
const LONGEST_HEADER: usize = 8 * 1024;
/// How many may be asked about at once.
const AT_ONCE: usize = 32;
/// The parameters of such a URL.
const PARAMETERS: [&str; 9] = [
    "Action",
    "Version",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
];
/// The one of them that may be missing.
const OPTIONAL: &str = "X-Amz-Security-Token";

/// An STS that is asked.
#[derive(Debug)]
pub struct CallerIdentities {
    endpoint: Url,
    server_id: String,
    http: Http,
    asking: Semaphore,
}

/// A presigned GetCallerIdentity, which asks that and nothing else. Whether its signature holds the STS alone can tell.
pub struct Presigned {
    url: Url,
    /// Its signature, which no other URL has.
    pub signature: [u8; 32],
    /// When it is of no use to anybody any more.
    pub expires_at: Timestamp,
}

/// The URL is as good as the caller's credentials, until it was used.
impl fmt::Debug for Presigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presigned").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Why nobody knows who the caller is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTold {
    /// The STS does not take the signature.
    #[error("the STS refused the presigned request: {0}")]
    Refused(String),
    /// The STS does not answer, or not as an STS does.
    #[error("the STS cannot be asked: {0}")]
    Unavailable(String),
}

impl CallerIdentities {
    /// Asks the STS at `endpoint` about callers who mean the server called `server_id`; it proves itself by a certificate of
    /// `authorities`, in PEM, or of the system's.
    ///
    /// # Errors
    /// The key of the configuration, and what it must be.
    pub fn new(endpoint: &str, server_id: &str, authorities: Option<&[u8]>) -> Result<Self, String> {
        let endpoint = Url::parse(endpoint).map_err(|error| format!("sts_endpoint: {error}"))?;
        if !is_acceptable(&endpoint) {
            return Err("sts_endpoint must begin with https://".to_owned());
        }
        let more = endpoint.query().is_some() || endpoint.fragment().is_some();
        if more || !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err("sts_endpoint must have no query, fragment or user name".to_owned());
        }
        let fits =
            (1..=255).contains(&server_id.len()) && server_id.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            return Err("server_id must be 1 to 255 ASCII characters without spaces".to_owned());
        }
        let http = Http::new(authorities).map_err(|why| format!("sts_ca_file: {why}"))?;
        Ok(Self { endpoint, server_id: server_id.to_owned(), http, asking: Semaphore::new(AT_ONCE) })
    }

    /// Reads what a caller sent: the URL in base64.
    ///
    /// # Errors
    /// What is wrong with it. Nothing of it is repeated.
    pub fn read(&self, header: &str, now: Timestamp) -> Result<Presigned, String> {
        if header.len() > LONGEST_HEADER {
            return Err("it is too long".to_owned());
        }
        let text = BASE64.decode(header.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or("it must be a URL in base64")?;
        let url = Url::parse(&text).map_err(|_| "it must be a URL in base64")?;
        // What is sent on is what was signed, to the letter.
        if url.as_str() != text || url.fragment().is_some() {
            return Err("the URL must be written as it is signed".to_owned());
        }
        if url.origin() != self.endpoint.origin()
            || url.path() != self.endpoint.path()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(format!("the URL must be one of {}", self.endpoint));
        }
        let mut values: [Option<String>; PARAMETERS.len()] = Default::default();
        for (name, value) in url.query_pairs() {
            let known = PARAMETERS.iter().position(|known| *known == name);
            let at = known
                .ok_or("the URL has a parameter that does not belong to a presigned GetCallerIdentity")?;
            if values[at].replace(value.into_owned()).is_some() {
                return Err(format!("{} occurs twice", PARAMETERS[at]));
            }
        }
        let mut needed = PARAMETERS.into_iter().zip(&values).filter(|(name, _)| *name != OPTIONAL);
        if let Some((name, _)) = needed.find(|(_, value)| value.is_none()) {
            return Err(format!("{name} is missing"));
        }
        let [action, version, algorithm, credential, date, life, signed_headers, signature, _] =
            values.map(Option::unwrap_or_default);
        for (name, value, must) in [
            ("Action", &*action, "GetCallerIdentity"),
            ("Version", &version, "2011-06-15"),
            ("X-Amz-Algorithm", &algorithm, "AWS4-HMAC-SHA256"),
            ("X-Amz-SignedHeaders", &signed_headers, "host;x-doorward-server-id"),
        ] {
            if value != must {
                return Err(format!("{name} must be {must}"));
            }
        }
        if credential.split('/').nth(3) != Some("sts") {
            return Err("X-Amz-Credential must be for the service sts".to_owned());
        }
        let expires_at = lifetime(&date, &life, now)?;
        let signature = HEXLOWER.decode(signature.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        let signature = signature.ok_or("X-Amz-Signature must be 64 lower-case hexadecimal digits")?;
        Ok(Presigned { url, signature, expires_at })
    }

    /// The ARN of the caller, as the STS has it; of an assumed role, that of the role ([`principal`]).
    ///
    /// # Errors
    /// [`NotTold`] when the STS does not say so.
    pub async fn ask(&self, presigned: &Presigned) -> Result<String, NotTold> {
        let unavailable = |why: &str| NotTold::Unavailable(why.to_owned());
        let _asking = self.asking.try_acquire().map_err(|_| unavailable("too many callers at once"))?;
        let request = self.http.get(&presigned.url).header(SERVER_ID, &self.server_id);
        let answer = send(request).await.map_err(|no| NotTold::Unavailable(no.why))?;
        if !answer.status.is_success() {
            let why = format!("it answered {}", answer.status);
            let refused = answer.failure() != Kind::Unreachable && answer.status.is_client_error();
            return Err(if refused { NotTold::Refused(why) } else { NotTold::Unavailable(why) });
        }
        let arn = arn(&answer.body).ok_or_else(|| unavailable("its answer holds no Arn"))?;
        principal(&arn).ok_or_else(|| unavailable("its answer holds an Arn that is none"))
    }
}

/// When a URL that was signed at `date` for `life` seconds is over.
fn lifetime(date: &str, life: &str, now: Timestamp) -> Result<Timestamp, String> {
    let signed_at = amz_date(date).ok_or("X-Amz-Date must be of the form YYYYMMDDTHHMMSSZ")?;
    let is_number = !life.is_empty() && life.bytes().all(|byte| byte.is_ascii_digit());
    let life = life.parse().ok().filter(|life| is_number && (1..=LONGEST_LIFE.seconds()).contains(life));
    let life = life.ok_or_else(|| format!("X-Amz-Expires must be 1 to {}", LONGEST_LIFE.seconds()))?;
    let expires_at = signed_at.plus(Lifetime::from_seconds(life));
    if now >= expires_at {
        return Err("the URL has expired".to_owned());
    }
    if signed_at > now.plus(MOST_AHEAD) {
        return Err("X-Amz-Date is in the future".to_owned());
    }
    Ok(expires_at)
}

/// `GetCallerIdentityResponse/GetCallerIdentityResult/Arn`.
fn arn(body: &[u8]) -> Option<String> {
    let mut document = aws_smithy_xml::decode::Document::try_from(body).ok()?;
    let mut root = document.root_element().ok()?;
    if !root.start_el().matches("GetCallerIdentityResponse") {
        return None;
    }
    while let Some(mut result) = root.next_tag() {
        if !result.start_el().matches("GetCallerIdentityResult") {
            continue;
        }
        while let Some(mut member) = result.next_tag() {
            if member.start_el().matches("Arn") {
                return aws_smithy_xml::decode::try_data(&mut member).ok().map(|arn| arn.trim().to_owned());
            }
        }
    }
    None
}

/// The principal behind an ARN of STS: of `assumed-role/ROLE/SESSION` the role, since sessions are named as one likes. Paths
/// of roles are not in it. None if it is no ARN.
#[must_use]
pub fn principal(arn: &str) -> Option<String> {
    let is_arn = arn.len() <= 2048 && arn.bytes().all(|byte| byte.is_ascii_graphic());
    let mut parts = arn.splitn(6, ':');
    let mut next = || parts.next().filter(|_| is_arn);
    let ("arn", partition, service, region, account, resource) =
        (next()?, next()?, next()?, next()?, next()?, next()?)
    else {
        return None;
    };
    if partition.is_empty() || resource.is_empty() {
        return None;
    }
    let role = resource.strip_prefix("assumed-role/").filter(|_| service == "sts");
    Some(match role.map(|role| role.split_once('/')) {
        Some(Some((role, session))) if !role.is_empty() && !session.is_empty() => {
            format!("arn:{partition}:iam:{region}:{account}:role/{role}")
        }
        Some(_) => return None,
        None => arn.to_owned(),
    })
}

#[cfg(test)]
mod tests;
