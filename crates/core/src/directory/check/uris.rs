//! URIs that an administrator writes down, each for a purpose that allows some and not others.
//!
//! They are compared byte for byte when they are used, and are read here no more leniently than any browser reads them:
//! nothing outside the characters of RFC 3986, no fragment, and no user name that could look like a host.

use crate::redirect::{LONGEST_URI, is_loopback};

/// Where people may be sent back to: an `https` URI, an `http` one on 127.0.0.1, or one with a private-use scheme (RFC 8252
/// section 7).
///
/// # Errors
/// What it must be, to follow its name.
pub(super) fn redirect(text: &str) -> Result<(), &'static str> {
    written(text)?;
    if is_loopback(text) || is_https(text) || is_private_use(text) {
        return Ok(());
    }
    Err(
        "must be an https URI with a host and without a user name, an http URI on 127.0.0.1, or one with a private-use scheme \
         that has a dot in it, such as com.example.app:/signed-in",
    )
}

/// Where the server itself calls: an `https` URI, or an `http` one on 127.0.0.1.
///
/// # Errors
/// As [`redirect`].
pub(super) fn called(text: &str) -> Result<(), &'static str> {
    written(text)?;
    if is_loopback(text) || is_https(text) {
        return Ok(());
    }
    Err("must be an https URI with a host and without a user name, or an http URI on 127.0.0.1")
}

/// The name of a resource server: an absolute URI without a fragment (RFC 8707 section 2).
///
/// # Errors
/// As [`redirect`].
pub(super) fn resource(text: &str) -> Result<(), &'static str> {
    written(text)?;
    match scheme(text) {
        // An authority without a host names nothing.
        Some(("http" | "https", rest)) if authority(rest).is_none_or(|host| !is_host(host)) => {
            Err("must have a host, and no user name")
        }
        Some((_, rest)) if !rest.is_empty() => Ok(()),
        _ => Err("must be an absolute URI, such as https://api.example.org or urn:example:api"),
    }
}

/// What holds for all of them.
fn written(text: &str) -> Result<(), &'static str> {
    if text.len() > LONGEST_URI {
        return Err("must be 512 bytes at most");
    }
    if text.contains('#') {
        return Err("must not have a fragment");
    }
    if !text.bytes().all(is_uri_character) || !escapes_are_whole(text) {
        return Err(
            "must have nothing in it but the characters of a URI; others are written as % and two hexadecimal digits",
        );
    }
    Ok(())
}

/// RFC 3986 section 2.
fn is_uri_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let digits = after.bytes().take(2);
        digits.clone().count() == 2 && digits.into_iter().all(|digit| digit.is_ascii_hexdigit())
    })
}

/// The scheme, in small letters as it must be, and what follows its colon (RFC 3986 section 3.1).
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let valid = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    valid.then_some((scheme, rest))
}

/// What stands between `//` and the path (RFC 3986 section 3.2), of what follows a scheme.
fn authority(rest: &str) -> Option<&str> {
    rest.strip_prefix("//").map(|rest| rest.split(['/', '?']).next().unwrap_or(rest))
}

/// A host with or without a port, and without a user name (RFC 3986 section 3.2.2).
fn is_host(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let named =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    named && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_https(text: &str) -> bool {
    matches!(scheme(text), Some(("https", rest)) if authority(rest).is_some_and(is_host))
}

/// A scheme that is a domain name in reverse, and so one's own (RFC 8252 section 7.1), with a path.
fn is_private_use(text: &str) -> bool {
    let Some((scheme, rest)) = scheme(text) else { return false };
    let own = scheme.split('.').count() > 1 && scheme.split('.').all(|label| !label.is_empty());
    own && rest.starts_with('/') && authority(rest).is_none_or(|authority| !authority.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Holds: openid-connect-core-3.1.2.1-no-plain-http, rfc6749-3.1.2-no-fragment
    // Holds: rfc8252-7.1-private-schemes, rfc8252-8.4-scheme-with-a-period
    // Holds: rfc9700-2.6-no-plain-http-redirects
    #[test]
    fn people_are_sent_back_to_uris_of_three_kinds() {
        let long = |length: usize| format!("https://a.example/{}", "x".repeat(length - 18));
        for good in [
            "https://app.example/cb",
            "https://app.example",
            "https://app.example:8443/cb?a=b&c=%2F",
            "https://[::1]:8443/cb",
            "https://localhost/cb",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:8080/cb",
            "com.example.app:/signed-in",
            "com.example.app://signed-in",
            &long(512),
        ] {
            assert_eq!(redirect(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/cb",
            "https://",
            "https:///cb",
            "https:/cb",
            "https:cb",
            "https://?x",
            "https://:443/cb",
            "https://app.example:/cb",
            "https://app.example:0/cb",
            "https://app.example:65536/cb",
            "https://app.example:+80/cb",
            "https://user@app.example/cb",
            "https://app.example@evil.example/cb",
            "https://app.example/cb#x",
            "https://app.example/cb#",
            "https://app.example/c b",
            "https://app.example/cb\n",
            "https://app.example\\@evil.example/cb",
            "https://app.example/\u{fc}",
            "https://app.example/%zz",
            "https://app.example/%2",
            "https://app.example/<x>",
            "https://*.example/cb",
            "https://[::1/cb",
            "https://[x]/cb",
            "https://[::1]x/cb",
            "HTTPS://app.example/cb",
            "http://app.example/cb",
            "http://localhost/cb",
            "http://[::1]/cb",
            "http://127.0.0.1@evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "myapp:/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            ".a:/cb",
            "a.:/cb",
            "com.example.app:cb",
            "com.example.app:",
            "com.example.app://user@host/cb",
            "1.example:/cb",
            &long(513),
        ] {
            assert!(redirect(bad).is_err(), "{bad}");
        }
    }

    // Holds: backchannel-logout-2.2-logout-uri
    #[test]
    fn the_server_calls_https_and_its_own_machine() {
        for good in ["https://app.example/logout", "http://127.0.0.1:8080/logout"] {
            assert_eq!(called(good), Ok(()), "{good}");
        }
        for bad in
            ["com.example.app:/logout", "http://app.example/logout", "https://app.example/#x", "https://"]
        {
            assert!(called(bad).is_err(), "{bad}");
        }
    }

    // Holds: rfc8707-2-absolute
    #[test]
    fn a_resource_is_an_absolute_uri() {
        for good in
            ["https://api.example.org", "https://api.example.org/v1?x=y", "urn:example:api", "api://orders"]
        {
            assert_eq!(resource(good), Ok(()), "{good}");
        }
        let long = format!("urn:{}", "x".repeat(509));
        for bad in [
            "",
            "orders",
            "urn:",
            "/orders",
            "https://",
            "https:orders",
            "https://a@b",
            "https://api#x",
            "urn:a b",
            &long,
        ] {
            assert!(resource(bad).is_err(), "{bad}");
        }
    }
}
