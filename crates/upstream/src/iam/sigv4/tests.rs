use http::Request;
use http::header::HeaderValue;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const HOLDS: Result<(), SignatureError> = Ok(());

/// `post-x-www-form-urlencoded` of AWS's published test suite.
const HEADER: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                      SignedHeaders=content-type;host;x-amz-date, \
                      Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
/// When it was signed.
const AT: Timestamp = Timestamp::from_seconds(1_440_938_160);

/// The published request, after `edit`.
fn published(edit: impl FnOnce(&mut Parts)) -> Parts {
    let request = Request::post("/")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("host", "example.amazonaws.com")
        .header("x-amz-date", "20150830T123600Z")
        .header("authorization", HEADER)
        .body(())
        .unwrap();
    let (mut parts, ()) = request.into_parts();
    edit(&mut parts);
    parts
}

fn check(parts: &Parts, body: &[u8], secret: &str, now: Timestamp) -> Result<(), SignatureError> {
    Claimed::read(parts)?.verify(parts, body, &SecretAccessKey::new(secret), "service", now)
}

/// What is said of the published request after `edit`.
fn said(edit: impl FnOnce(&mut Parts)) -> Result<(), SignatureError> {
    check(&published(edit), b"Param1=value1", SECRET, AT)
}

fn says(header: &str) -> String {
    match said(|parts| set(parts, "authorization", header)) {
        Err(SignatureError::Incomplete(why)) => why,
        other => panic!("{other:?} for {header}"),
    }
}

fn set(parts: &mut Parts, name: &'static str, value: &str) {
    parts.headers.insert(name, HeaderValue::from_str(value).unwrap());
}

fn add(parts: &mut Parts, name: &'static str, value: &str) {
    parts.headers.append(name, HeaderValue::from_str(value).unwrap());
}

fn is_mismatch(outcome: &Result<(), SignatureError>) -> bool {
    *outcome == Err(mismatch())
}

#[test]
fn the_published_example_holds_and_nothing_near_it() {
    assert_eq!(said(|_| {}), HOLDS);
    let parts = published(|_| {});
    assert!(is_mismatch(&check(&parts, b"Param1=value2", SECRET, AT)));
    assert!(is_mismatch(&check(&parts, b"Param1=value1", "another", AT)));
    assert!(is_mismatch(&said(|parts| set(parts, "host", "example.amazonaws.org"))));
    assert!(is_mismatch(&said(|parts| set(parts, "content-type", "text/plain"))));
    assert!(is_mismatch(&said(|parts| parts.method = http::Method::PUT)));
    assert!(is_mismatch(&said(|parts| parts.uri = "/x".parse().unwrap())));
    assert!(is_mismatch(&said(|parts| parts.uri = "/?aws_iam=t".parse().unwrap())));
    assert!(is_mismatch(&said(|parts| set(parts, "x-amz-date", "20150830T123601Z"))));
    for (one, other) in [
        ("AKIDEXAMPLE/20150830/us-east-1", "AKIDEXAMPLE/20150830/us-west-1"),
        ("Signature=ff", "Signature=fe"),
        ("9473a", "9473b"),
    ] {
        let header = HEADER.replace(one, other);
        assert!(is_mismatch(&said(|parts| set(parts, "authorization", &header))), "{other}");
    }
    // Not signed, hence not looked at.
    assert_eq!(said(|parts| add(parts, "user-agent", "x")), HOLDS);
}

#[test]
fn a_signature_is_good_for_15_minutes_around_its_time() {
    let parts = published(|_| {});
    let at = |now| check(&parts, b"Param1=value1", SECRET, now);
    for now in [AT.plus(MOST_SKEW), AT.minus(MOST_SKEW)] {
        assert_eq!(at(now), HOLDS, "{now:?}");
    }
    let (late, early) = (AT.plus(MOST_SKEW).millis() + 1, AT.minus(MOST_SKEW).millis() - 1);
    for now in [late, early] {
        let Err(SignatureError::Wrong(why)) = at(Timestamp::from_millis(now)) else { panic!("{now}") };
        assert!(why.starts_with("Signature expired"), "{why}");
    }
}

#[test]
fn a_signature_is_of_one_service_and_of_its_own_day() {
    let parts = published(|_| {});
    let claimed = Claimed::read(&parts).unwrap();
    let other = claimed.verify(&parts, b"Param1=value1", &SecretAccessKey::new(SECRET), "sso-oauth", AT);
    let why = "Credential should be scoped to correct service: 'sso-oauth'.";
    assert_eq!(other, Err(SignatureError::Wrong(why.into())));
    let yesterday = HEADER.replace("/20150830/", "/20150829/");
    let why = "Credential should be scoped to the day of X-Amz-Date.";
    let outcome = said(|parts| set(parts, "authorization", &yesterday));
    assert_eq!(outcome, Err(SignatureError::Wrong(why.into())));
}

#[test]
fn what_is_no_signature_is_told_apart() {
    let missing = said(|parts| drop(parts.headers.remove("authorization")));
    assert_eq!(missing, Err(SignatureError::Missing));
    let header = |one: &str, other: &str| says(&HEADER.replace(one, other));
    for bad in [
        "Bearer x",
        "AWS4-HMAC-SHA256",
        "aws4-hmac-sha256 Credential=a",
        "AWS4-ECDSA-P256-SHA256 Credential=a",
    ] {
        assert_eq!(says(bad), "Authorization header must begin with AWS4-HMAC-SHA256.", "{bad}");
    }
    assert_eq!(header(", Signature", ", Signature=, Signature"), "Authorization header has Signature twice.");
    assert_eq!(header(", Signature=", ", Sig="), "Authorization header has an unknown parameter.");
    assert_eq!(header("Signature=", ""), "Authorization header must hold name=value pairs.");
    let (without, _) = HEADER.split_once(", Signature").unwrap();
    assert_eq!(says(without), "Authorization header requires 'Signature' parameter.");
    let digits = "Signature must be 64 lower-case hexadecimal digits.";
    assert_eq!(header("9473a", "9473"), digits);
    assert_eq!(header("9473a", "9473A"), digits);
    assert_eq!(header("9473a", "9473g"), digits);
    let parts = "Credential must be a key id, a date, a region, a service and aws4_request.";
    for bad in [
        "a/b",
        "AKID/EXAMPLE/20150830/us-east-1/service/aws4_request",
        "/20150830/us-east-1/service/aws4_request",
    ] {
        assert_eq!(header("AKIDEXAMPLE/20150830/us-east-1/service/aws4_request", bad), parts, "{bad}");
    }
    assert_eq!(header("/aws4_request", "/aws5_request"), "Credential must end with aws4_request.");
    let long = format!("{HEADER}{}", ",".repeat(LONGEST_HEADER));
    assert_eq!(says(&long), "Authorization header is too long.");
}

#[test]
fn all_that_matters_must_be_signed() {
    let header = |list: &str| says(&HEADER.replace("content-type;host;x-amz-date", list));
    assert_eq!(header("content-type;x-amz-date"), "SignedHeaders must hold host.");
    assert_eq!(header("content-type;host"), "SignedHeaders must hold x-amz-date.");
    assert_eq!(header("host;x-amz-date"), "SignedHeaders must hold content-type.");
    for bad in ["host;content-type;x-amz-date", "content-type;host;host;x-amz-date"] {
        assert_eq!(header(bad), "SignedHeaders must be in order, without any name twice.", "{bad}");
    }
    let names = "SignedHeaders must be lower-case names of headers.";
    for bad in
        ["Content-Type;host;x-amz-date", "", ";host;x-amz-date", "authorization;content-type;host;x-amz-date"]
    {
        assert_eq!(header(bad), names, "{bad}");
    }
    let absent = "SignedHeaders names a header that was not sent.";
    assert_eq!(header("content-type;host;x-absent;x-amz-date"), absent);
    let many: Vec<String> = (0..=MOST_SIGNED).map(|n| format!("x-{n:03}")).collect();
    assert_eq!(header(&many.join(";")), "SignedHeaders has too many names.");
    for sent in ["x-amz-security-token", "x-amz-content-sha256"] {
        let outcome = said(|parts| add(parts, sent, "x"));
        assert_eq!(outcome, Err(SignatureError::Incomplete(format!("SignedHeaders must hold {sent}."))));
    }
}

#[test]
fn what_counts_is_there_once() {
    let twice =
        Err(SignatureError::Incomplete("A header that counts for the signature was sent twice.".into()));
    for (name, value) in [
        ("authorization", HEADER),
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        ("content-type", "application/x-www-form-urlencoded"),
    ] {
        assert_eq!(said(|parts| add(parts, name, value)), twice, "{name}");
    }
}

#[test]
fn a_presigned_request_is_refused() {
    for query in ["X-Amz-Signature=ff", "aws_iam=t&x-amz-algorithm=AWS4-HMAC-SHA256", "X%2DAmz%2DExpires=9"] {
        let outcome = said(|parts| parts.uri = format!("/?{query}").parse().unwrap());
        let why = "The signature must be in the Authorization header, and not in the query.";
        assert_eq!(outcome, Err(SignatureError::Incomplete(why.into())), "{query}");
    }
}

#[test]
fn a_date_is_written_in_one_way() {
    assert_eq!(amz_date("20150830T123600Z"), Some(AT));
    for bad in [
        "20150830T123600",
        "20150830T123660Z",
        "20150830t123600z",
        "20150230T123600Z",
        "2015083 T123600Z",
        " 2015830T123600Z",
        "19500830T123600Z",
        "+0150830T123600Z",
        "",
    ] {
        assert_eq!(amz_date(bad), None, "{bad}");
    }
}

#[test]
fn host_may_be_where_http_2_has_it() {
    let outcome = said(|parts| {
        parts.headers.remove("host");
        parts.uri = "https://example.amazonaws.com/".parse().unwrap();
    });
    assert_eq!(outcome, HOLDS);
    let neither = said(|parts| drop(parts.headers.remove("host")));
    assert!(matches!(neither, Err(SignatureError::Incomplete(_))), "{neither:?}");
}

/// A request as a client would make it.
#[derive(Clone, Debug)]
struct Made {
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    region: String,
    token: Option<String>,
}

fn made() -> impl Strategy<Value = Made> {
    // Without `..`: of two addresses that differ by those alone the signature is the same.
    let target = prop_oneof![
        Just("/token?aws_iam=t".to_owned()),
        "(/[a-zA-Z0-9_~-][a-zA-Z0-9._~-]{0,7}){1,3}(\\?[a-z]{1,4}=[a-zA-Z0-9%+ ]{0,0}[a-zA-Z0-9+.~-]{0,8}(&[a-z]{1,4}(=[a-z*!'()]{0,4})?){0,3})?",
    ];
    let headers = btree_map("x-[a-z][a-z0-9-]{0,8}", "[!-~]([ !-~]{0,20}[!-~])?", 0..4);
    let body = vec(any::<u8>(), 0..200);
    (target, headers, body, "[a-z]{2}-[a-z]{4,9}-[1-9]", prop::option::of("[A-Za-z0-9+/=]{1,60}")).prop_map(
        |(target, headers, body, region, token)| Made {
            target,
            headers: headers.into_iter().collect(),
            body,
            region,
            token,
        },
    )
}

/// The request, as the AWS SDK signs it.
fn signed(made: &Made) -> Parts {
    let identity = Credentials::new("AKIDEXAMPLE", SECRET, made.token.clone(), None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&made.region)
        .name("service")
        .time(SystemTime::UNIX_EPOCH + Duration::from_secs(AT.seconds().unsigned_abs()))
        .settings(SigningSettings::default())
        .build()
        .unwrap();
    let params = SigningParams::V4(params);
    let mut request = Request::post(&made.target).header("host", "sso.example.org:8443");
    for (name, value) in &made.headers {
        request = request.header(name, value);
    }
    let mut request = request.header("content-type", "application/json").body(()).unwrap();
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let signable =
        SignableRequest::new("POST", &made.target, headers, SignableBody::Bytes(&made.body)).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    instructions.apply_to_request_http1x(&mut request);
    request.into_parts().0
}

proptest! {
    #[test]
    fn what_the_sdk_signs_holds_and_no_change_of_it_does(made in made(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let parts = signed(&made);
        let verify = |parts: &Parts, body: &[u8]| check(parts, body, SECRET, AT);
        prop_assert_eq!(verify(&parts, &made.body), HOLDS);
        prop_assert_eq!(Claimed::read(&parts).unwrap().region, made.region.as_str());

        let mut body = made.body.clone();
        if body.is_empty() {
            body.push(0);
        } else {
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
        }
        prop_assert!(is_mismatch(&verify(&parts, &body)));

        for (name, value) in &made.headers {
            let mut changed = parts.clone();
            let name = http::HeaderName::try_from(name).unwrap();
            changed.headers.insert(name.clone(), HeaderValue::from_str(&format!("{value}x")).unwrap());
            prop_assert!(is_mismatch(&verify(&changed, &made.body)), "{}", name);
            changed.headers.remove(name);
            prop_assert!(verify(&changed, &made.body).is_err());
        }
        if made.token.is_some() {
            let mut changed = parts.clone();
            set(&mut changed, "x-amz-security-token", "another");
            prop_assert!(is_mismatch(&verify(&changed, &made.body)));
        }
        let mut elsewhere = parts.clone();
        elsewhere.uri = format!("/more{}", made.target).parse().unwrap();
        prop_assert!(is_mismatch(&verify(&elsewhere, &made.body)));
    }

    #[test]
    fn no_header_makes_the_reader_panic(header in "(AWS4-HMAC-SHA256 )?[ -~]{0,200}") {
        let parts = published(|parts| set(parts, "authorization", &header));
        drop(Claimed::read(&parts));
    }
}
