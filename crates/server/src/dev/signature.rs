//! AWS Signature Version 4, as a server checks it: the header form, for a body that is here whole.

use aws_lc_rs::{digest, hmac};
use axum::http::request::Parts;
use data_encoding::HEXLOWER;
use doorward_core::secret::SecretAccessKey;
use doorward_core::time::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// How far a signature's time may be from ours, in seconds.
const MOST_SKEW: i64 = 900;
/// What RFC 3986 leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What an `Authorization` header says; nothing of it is proved yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signature<'a> {
    /// The key id.
    pub(crate) access_key_id: &'a str,
    /// `date/region/service/aws4_request`.
    scope: [&'a str; 4],
    signed_headers: &'a str,
    hex: &'a str,
}

impl<'a> Signature<'a> {
    /// Reads the header.
    pub(crate) fn parse(header: &'a str) -> Option<Self> {
        let rest = header.strip_prefix("AWS4-HMAC-SHA256")?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in rest.split(',') {
            let (name, value) = part.trim().split_once('=')?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return None,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        let mut credential = credential?.rsplitn(5, '/');
        let (terminator, service, region, date) =
            (credential.next()?, credential.next()?, credential.next()?, credential.next()?);
        if terminator != "aws4_request" {
            return None;
        }
        Some(Self {
            access_key_id: credential.next()?,
            scope: [date, region, service, terminator],
            signed_headers: signed_headers?,
            hex: signature?,
        })
    }

    /// Whether the request was signed with `secret`, for `service`, about now.
    pub(crate) fn holds(
        &self,
        parts: &Parts,
        body: &[u8],
        secret: &SecretAccessKey,
        service: &str,
        now: Timestamp,
    ) -> bool {
        let Some(time) = parts.headers.get("x-amz-date").and_then(|value| value.to_str().ok()) else {
            return false;
        };
        let fresh = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", time)
            .and_then(|time| time.to_datetime())
            .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
            .is_ok_and(|time| (time.timestamp().as_second() - now.seconds()).abs() <= MOST_SKEW);
        let covered: Vec<&str> = self.signed_headers.split(';').collect();
        let complete = ["host", "x-amz-date", "x-amz-security-token"]
            .iter()
            .all(|name| covered.contains(name) || (*name != "host" && !parts.headers.contains_key(*name)));
        if !fresh || !complete || self.scope[2] != service || !time.starts_with(self.scope[0]) {
            return false;
        }
        let Some(canonical) = self.canonical_request(parts, body) else { return false };
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{time}\n{}\n{}", self.scope.join("/"), hash(canonical.as_bytes()));
        let mut key = format!("AWS4{}", secret.reveal()).into_bytes();
        for part in self.scope {
            key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
        }
        let Ok(signature) = HEXLOWER.decode(self.hex.as_bytes()) else { return false };
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), to_sign.as_bytes(), &signature).is_ok()
    }

    fn canonical_request(&self, parts: &Parts, body: &[u8]) -> Option<String> {
        let mut query: Vec<(String, String)> =
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
                .map(|(name, value)| (encode(&name), encode(&value)))
                .collect();
        query.sort();
        let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers = String::new();
        for name in self.signed_headers.split(';') {
            let mut values = Vec::new();
            for value in parts.headers.get_all(name) {
                values.push(value.to_str().ok()?.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            if values.is_empty() {
                return None;
            }
            headers.push_str(name);
            headers.push(':');
            headers.push_str(&values.join(","));
            headers.push('\n');
        }
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        Some(format!(
            "{method}\n{path}\n{}\n{headers}\n{}\n{}",
            query.join("&"),
            self.signed_headers,
            hash(body)
        ))
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn hash(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    /// `post-x-www-form-urlencoded` of AWS's published test suite.
    const HEADER: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                          SignedHeaders=content-type;host;x-amz-date, \
                          Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";

    fn holds(header: &str, secret: &str, body: &[u8], at: i64) -> bool {
        let request = Request::post("/")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("host", "example.amazonaws.com")
            .header("x-amz-date", "20150830T123600Z")
            .body(())
            .unwrap();
        let signature = Signature::parse(header).unwrap();
        let (secret, now) = (SecretAccessKey::new(secret), Timestamp::from_seconds(at));
        signature.holds(&request.into_parts().0, body, &secret, "service", now)
    }

    #[test]
    fn the_published_example_holds_and_nothing_near_it() {
        const AT: i64 = 1_440_938_160;
        const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        assert!(holds(HEADER, SECRET, b"Param1=value1", AT));
        assert!(holds(HEADER, SECRET, b"Param1=value1", AT + MOST_SKEW));
        assert!(!holds(HEADER, SECRET, b"Param1=value1", AT + MOST_SKEW + 1));
        assert!(!holds(HEADER, SECRET, b"Param1=value2", AT));
        assert!(!holds(HEADER, "another", b"Param1=value1", AT));
        assert!(!holds(&HEADER.replace("/service/", "/sts/"), SECRET, b"Param1=value1", AT));
        assert!(!holds(&HEADER.replace("content-type;host;", ""), SECRET, b"Param1=value1", AT));
    }

    #[test]
    fn a_header_that_is_no_signature_is_not_read() {
        for bad in [
            "",
            "Bearer x",
            "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=h, Signature=s",
            &format!("{HEADER}, Signature=x"),
        ] {
            assert_eq!(Signature::parse(bad), None, "{bad}");
        }
    }
}
