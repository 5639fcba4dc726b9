//! Bodies that are no JSON object, or not read at all; the same for every POST route of sso-oidc.

use axum::body::Body;
use bytes::Bytes;
use doorward_testkit::{Ending, chunked};
use http::Request;

use crate::world::{Expected, MARKER, POSTS, Row, SPOKEN_TWICE, post};

/// The longest body that is read.
const LONGEST: usize = 64 * 1024;
const TOO_LARGE: Expected = Expected::Oidc(413, "InvalidRequestException");
const UNSUPPORTED: Expected = Expected::Oidc(415, "InvalidRequestException");

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (path, member) in POSTS {
        for (name, body) in texts(member) {
            rows.push(post(format!("{path} {name}"), path, body, Expected::INVALID_REQUEST));
        }
        for (name, body) in bytes(member) {
            rows.push(post(format!("{path} {name}"), path, body, Expected::INVALID_REQUEST));
        }
        rows.extend(sizes(path, member));
        rows.extend(media_types(path));
    }
    rows
}

/// Texts that are no JSON object with the members they need.
fn texts(member: &str) -> Vec<(&'static str, String)> {
    vec![
        ("nothing", String::new()),
        ("white space", " \r\n\t ".to_owned()),
        ("an open brace", "{".to_owned()),
        ("no members", "{}".to_owned()),
        ("an empty member", format!(r#"{{"{member}":""}}"#)),
        ("a null member", format!(r#"{{"{member}":null}}"#)),
        ("an array", "[]".to_owned()),
        ("an object in an array", format!(r#"[{{"{member}":"{MARKER}"}}]"#)),
        ("members in an array", format!(r#"["{MARKER}","{MARKER}","{MARKER}"]"#)),
        ("null", "null".to_owned()),
        ("a boolean", "true".to_owned()),
        ("a number", "5".to_owned()),
        ("a string", format!(r#""{MARKER}""#)),
        ("a member without a value", format!(r#"{{"{member}":}}"#)),
        ("a member without a colon", format!(r#"{{"{member}" "{MARKER}"}}"#)),
        ("a comma too many", format!(r#"{{"{member}":"{MARKER}",}}"#)),
        ("a comma too few", format!(r#"{{"{member}":"{MARKER}" "x":1}}"#)),
        ("single quotes", format!("{{'{member}':'{MARKER}'}}")),
        ("a name without quotes", format!(r#"{{{member}:"{MARKER}"}}"#)),
        ("a comment", format!(r#"{{/* x */"{member}":"{MARKER}"}}"#)),
        ("two documents", format!(r#"{{"{member}":"{MARKER}"}}{{"{member}":"{MARKER}"}}"#)),
        ("something behind", format!(r#"{{"{member}":"{MARKER}"}}x"#)),
        ("a string that does not end", format!(r#"{{"{member}":"{MARKER}"#)),
        ("a form", format!("{member}={MARKER}")),
        ("XML", format!("<{member}>{MARKER}</{member}>")),
        ("a byte order mark", format!("\u{feff}{{\"{member}\":\"{MARKER}\"}}")),
        ("a NUL behind", format!("{{\"{member}\":\"{MARKER}\"}}\0")),
        ("a NUL in front", format!("\0{{\"{member}\":\"{MARKER}\"}}")),
        ("a raw line break in a string", format!("{{\"{member}\":\"{MARKER}\n\"}}")),
        ("a lone high surrogate", format!(r#"{{"{member}":"{MARKER}\ud800"}}"#)),
        ("a lone low surrogate", format!(r#"{{"{member}":"{MARKER}\udc00"}}"#)),
        ("surrogates in the wrong order", format!(r#"{{"{member}":"{MARKER}\udc00\ud800"}}"#)),
        ("an unknown escape", format!(r#"{{"{member}":"{MARKER}\x41"}}"#)),
        ("half an escape", format!(r#"{{"{member}":"{MARKER}\u12"}}"#)),
        ("not a number", format!(r#"{{"{member}":NaN}}"#)),
        ("a number beyond all bounds", format!(r#"{{"{member}":1e999}}"#)),
        ("a number with a zero in front", format!(r#"{{"{member}":0123}}"#)),
        ("200 arrays", nested("[", "]", 200)),
        ("30 000 arrays", nested("[", "]", 30_000)),
        ("30 000 arrays that do not end", "[".repeat(30_000)),
        ("200 arrays in a member", format!(r#"{{"{member}":{}}}"#, nested("[", "]", 200))),
        ("200 objects in a member", format!(r#"{{"{member}":{}}}"#, nested(r#"{"a":"#, "}", 200))),
        ("10 000 objects that do not end", r#"{"a":"#.repeat(10_000)),
        ("10 000 members of another name", many_members()),
        ("a member twice", format!(r#"{{"{member}":"{MARKER}","{member}":"{MARKER}"}}"#)),
        ("a member twice, once escaped", format!(r#"{{"{member}":"x","\u0063{}":"y"}}"#, &member[1..])),
        ("a member of another case", format!(r#"{{"{}":"{MARKER}"}}"#, member.to_uppercase())),
    ]
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    let inside = if close == "}" { "1" } else { "" };
    format!("{}{inside}{}", open.repeat(depth), close.repeat(depth))
}

fn many_members() -> String {
    let members: Vec<String> = (0..6_000).map(|n| format!(r#""{n}":1"#)).collect();
    format!("{{{}}}", members.join(","))
}

/// Bytes that are no UTF-8.
fn bytes(member: &str) -> Vec<(&'static str, Vec<u8>)> {
    let with = |bad: &[u8]| [format!(r#"{{"{member}":"{MARKER}"#).as_bytes(), bad, b"\"}"].concat();
    let utf16 = format!(r#"{{"{member}":"{MARKER}"}}"#).encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        ("a byte that is no UTF-8", with(b"\xff")),
        ("an overlong encoding", with(b"\xc0\xaf")),
        ("a surrogate in UTF-8", with(b"\xed\xa0\x80")),
        ("half a character", with(b"\xe2\x82")),
        ("UTF-16", utf16),
        (
            "gzip",
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00"
                .to_vec(),
        ),
    ]
}

fn sizes(path: &str, member: &str) -> Vec<Row> {
    let padded = |length: usize| {
        let body = format!(r#"{{"{member}":"{MARKER}"}}"#);
        body.clone() + &" ".repeat(length - body.len())
    };
    let pieces = |text: String| {
        let chunks = text.into_bytes().chunks(1000).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        chunked(chunks, Ending::Whole)
    };
    let row = |name: &str, body: Body, expected| post(format!("{path} {name}"), path, body, expected);
    vec![
        row("as long as it may be", padded(LONGEST).into(), Expected::INVALID_REQUEST),
        row("a byte too long", padded(LONGEST + 1).into(), TOO_LARGE),
        row("a megabyte", padded(1_000_000).into(), TOO_LARGE),
        row("100 000 arrays", nested("[", "]", 100_000).into(), TOO_LARGE),
        row("in chunks, as long as it may be", pieces(padded(LONGEST)), Expected::INVALID_REQUEST),
        row("in chunks, a byte too long", pieces(padded(LONGEST + 1)), TOO_LARGE),
        row("in chunks, a megabyte", pieces(padded(1_000_000)), TOO_LARGE),
        row(
            "in chunks, without an end",
            chunked(std::iter::repeat_n(Bytes::from_static(&[b' '; 1000]), 70), Ending::Never),
            TOO_LARGE,
        ),
    ]
}

fn media_types(path: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for header in [
        ("content-type", &b"text/plain"[..]),
        ("content-type", b"application/x-www-form-urlencoded"),
        ("content-type", b"multipart/form-data; boundary=x"),
        ("content-type", b"application/xml"),
        ("content-type", b"text/json"),
        ("content-type", b"application/jsonx"),
        ("content-type", b"application/x-amz-json-1.1"),
        ("content-type", b"application/json; charset=utf-16"),
        ("content-type", b"application/json;charset=\"latin1\""),
        ("content-type", b"application/json, text/plain"),
        ("content-type", b"*/*"),
        ("content-type", b"application/json\xff"),
        ("content-encoding", b"gzip"),
        ("content-encoding", b"br"),
        ("content-encoding", b"x"),
    ] {
        if header.1 == b"application/x-www-form-urlencoded" && SPOKEN_TWICE.contains(&path) {
            continue;
        }
        let name = format!("{path} {}: {}", header.0, String::from_utf8_lossy(header.1));
        let request = Request::post(path).header(header.0, header.1).body(Body::from("{}"));
        rows.push(Row { name, request: request.expect("a request"), expected: UNSUPPORTED });
    }
    rows
}
