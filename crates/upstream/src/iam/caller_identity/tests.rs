use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningParams, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use doorward_testkit_oidc::{Provider, Said};

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// An STS, and the server that asks it.
struct World {
    sts: Provider,
    identities: CallerIdentities,
}

impl World {
    async fn start() -> Self {
        let sts = Provider::start().await;
        sts.says("/", Said::xml(&answer("arn:aws:sts::111122223333:assumed-role/Deploy/ci")));
        let identities = CallerIdentities::new(&sts.issuer, "sso.example.org", None).unwrap();
        Self { sts, identities }
    }

    /// GetCallerIdentity, presigned by the AWS SDK.
    fn url(&self) -> String {
        presigned(&self.sts.issuer, "sso.example.org", Some("a/token+="))
    }

    fn read(&self, url: &str) -> Result<Presigned, String> {
        self.identities.read(&BASE64.encode(url.as_bytes()), NOW)
    }

    fn refused(&self, url: &str) -> String {
        self.read(url).expect_err(url)
    }

    async fn ask(&self) -> Result<String, NotTold> {
        self.identities.ask(&self.read(&self.url()).unwrap()).await
    }
}

fn answer(arn: &str) -> String {
    format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>{arn}</Arn><UserId>AROA:ci</UserId><Account>111122223333</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
}

fn presigned(endpoint: &str, server_id: &str, token: Option<&str>) -> String {
    let credentials =
        Credentials::new("AKIDEXAMPLE", "secret", token.map(str::to_owned), None, "test").into();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_mins(1));
    let params = v4::SigningParams::builder()
        .identity(&credentials)
        .region("us-east-1")
        .name("sts")
        .time(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.seconds().unsigned_abs()))
        .settings(settings)
        .build()
        .unwrap();
    let target = format!("{endpoint}/?Action=GetCallerIdentity&Version=2011-06-15");
    let headers = [(SERVER_ID, server_id)].into_iter();
    let request = SignableRequest::new("GET", &target, headers, SignableBody::empty()).unwrap();
    let params = SigningParams::V4(params);
    let (instructions, _) = sign(request, &params).unwrap().into_parts();
    let mut request = http::Request::get(&target).body(()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    request.uri().to_string()
}

#[tokio::test]
async fn the_sts_is_asked_what_was_signed_to_the_letter_and_names_the_role() {
    let world = World::start().await;
    let url = world.url();
    assert_eq!(world.ask().await.unwrap(), "arn:aws:iam::111122223333:role/Deploy");
    let asked = world.sts.asked("/");
    assert_eq!(asked.len(), 1);
    assert_eq!(url.split_once('?').unwrap().1, asked[0].query);
    assert_eq!(asked[0].headers[SERVER_ID], "sso.example.org");
    assert!(!asked[0].headers.contains_key("authorization"));
    let read = world.read(&url).unwrap();
    assert_eq!(read.expires_at, NOW.plus(Lifetime::from_seconds(60)));
    assert!(url.contains(&HEXLOWER.encode(&read.signature)));
    assert!(!format!("{read:?}").contains("token"), "{read:?}");
}

#[tokio::test]
async fn a_url_that_does_not_ask_just_that_of_just_that_sts_is_refused() {
    let world = World::start().await;
    let (url, sts) = (world.url(), &world.sts.issuer);
    let instead = |one: &str, other: &str| {
        assert!(url.contains(one), "{one} in {url}");
        world.refused(&url.replacen(one, other, 1))
    };
    let elsewhere = format!("the URL must be one of {sts}/");
    for other in
        ["http://127.0.0.1:1", "https://127.0.0.1", "http://127.0.0.1.example.org", "http://u@127.0.0.1"]
    {
        assert_eq!(instead(sts, other), elsewhere, "{other}");
    }
    let port = sts.rsplit(':').next().unwrap();
    for somebody in ["user:secret@", "user@", ":secret@"] {
        assert_eq!(instead("127.0.0.1", &format!("{somebody}127.0.0.1")), elsewhere, "{somebody}");
    }
    assert_eq!(instead(port, &format!("{port}@example.org:81")), elsewhere);
    assert_eq!(instead("/?", "/x?"), elsewhere);
    let as_signed = "the URL must be written as it is signed";
    assert_eq!(instead("/?", "/./?"), as_signed);
    assert_eq!(instead("http://", "HTTP://"), as_signed);
    assert_eq!(world.refused(&format!("{url}#x")), as_signed);
    assert_eq!(world.refused(&format!(" {url}")), as_signed);

    assert_eq!(instead("GetCallerIdentity", "GetSessionToken"), "Action must be GetCallerIdentity");
    assert_eq!(world.refused(&format!("{url}&Action=AssumeRole")), "Action occurs twice");
    assert_eq!(world.refused(&format!("{url}&%41ction=AssumeRole")), "Action occurs twice");
    let foreign = "the URL has a parameter that does not belong to a presigned GetCallerIdentity";
    assert_eq!(world.refused(&format!("{url}&RoleArn=x")), foreign);
    assert_eq!(instead("Action=", "action="), foreign);
    assert_eq!(instead("2011-06-15", "2011-06-16"), "Version must be 2011-06-15");
    assert_eq!(
        instead("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        "X-Amz-Algorithm must be AWS4-HMAC-SHA256"
    );
    assert_eq!(instead("%2Fsts%2F", "%2Fs3%2F"), "X-Amz-Credential must be for the service sts");
    let signed = "X-Amz-SignedHeaders must be host;x-doorward-server-id";
    assert_eq!(instead("host%3Bx-doorward-server-id", "host"), signed);
    assert_eq!(instead("host%3Bx-doorward-server-id", "host%3Bx-vault-aws-iam-server-id"), signed);
    assert_eq!(instead("&X-Amz-Date=20270115T080000Z", ""), "X-Amz-Date is missing");
    let digits = "X-Amz-Signature must be 64 lower-case hexadecimal digits";
    assert_eq!(instead("X-Amz-Signature=", "X-Amz-Signature=0"), digits);
    assert_eq!(instead("X-Amz-Signature=", "X-Amz-Signature=AA"), digits);

    let base64 = "it must be a URL in base64";
    for bad in ["", "%", "Zm9v", "/w=="] {
        assert_eq!(world.identities.read(bad, NOW).unwrap_err(), base64, "{bad}");
    }
    let long = format!("{url}&x={}", "x".repeat(LONGEST_HEADER));
    assert_eq!(world.refused(&long), "it is too long");
    assert!(world.sts.asked("/").is_empty());
}

#[tokio::test]
async fn a_url_is_good_for_a_quarter_of_an_hour_at_most() {
    let world = World::start().await;
    let url = world.url();
    let life = |life: &str| world.read(&url.replace("X-Amz-Expires=60", &format!("X-Amz-Expires={life}")));
    assert_eq!(life("900").unwrap().expires_at, NOW.plus(LONGEST_LIFE));
    for bad in ["901", "0", "-1", "", "+60", "%2B60", "60.0", "99999999999"] {
        assert_eq!(life(bad).unwrap_err(), "X-Amz-Expires must be 1 to 900", "{bad}");
    }
    let header = BASE64.encode(url.as_bytes());
    let at = |offset: i64| {
        let now = Timestamp::from_seconds(NOW.seconds() + offset);
        world.identities.read(&header, now).map(|read| read.expires_at)
    };
    assert!(at(59).is_ok() && at(-300).is_ok());
    assert_eq!(at(60).unwrap_err(), "the URL has expired");
    assert_eq!(at(-301).unwrap_err(), "X-Amz-Date is in the future");
    let bad = url.replace("20270115T080000Z", "2027-01-15");
    assert_eq!(world.refused(&bad), "X-Amz-Date must be of the form YYYYMMDDTHHMMSSZ");
}

#[tokio::test]
async fn what_the_sts_does_not_say_is_not_guessed() {
    let world = World::start().await;
    let refused = [400, 401, 403, 404];
    for status in refused {
        world.sts.says("/", Said::xml("<ErrorResponse/>").status(status));
        assert!(matches!(world.ask().await, Err(NotTold::Refused(_))), "{status}");
    }
    for status in [500, 503, 429, 302, 307] {
        let elsewhere = format!("{}/elsewhere", world.sts.issuer);
        world.sts.says("/", Said::xml("").status(status).header("location", &elsewhere));
        assert!(matches!(world.ask().await, Err(NotTold::Unavailable(_))), "{status}");
    }
    assert!(world.sts.asked("/elsewhere").is_empty(), "no redirect is followed");
    let good = answer("arn:aws:iam::111122223333:user/ann");
    for body in [
        String::new(),
        "{}".to_owned(),
        "<GetCallerIdentityResponse/>".to_owned(),
        "<Arn>arn:aws:iam::111122223333:user/ann</Arn>".to_owned(),
        good.replace("GetCallerIdentityResponse", "AssumeRoleResponse"),
        good.replace("GetCallerIdentityResult", "Other"),
        good.replace("Arn>", "Urn>"),
        answer("arn"),
        answer("<x/>"),
        "x".repeat(600 * 1024),
    ] {
        world.sts.says("/", Said::xml(&body));
        let told = world.ask().await;
        assert!(
            matches!(told, Err(NotTold::Unavailable(_))),
            "{told:?} for {}",
            &body[..body.len().min(200)]
        );
    }
    world.sts.says("/", Said::xml(&good));
    assert_eq!(world.ask().await.unwrap(), "arn:aws:iam::111122223333:user/ann");
}

#[tokio::test]
async fn an_sts_that_is_not_there_is_ours_to_mend() {
    let identities = CallerIdentities::new("http://127.0.0.1:1", "sso.example.org", None).unwrap();
    let url = presigned("http://127.0.0.1:1", "sso.example.org", None);
    let read = identities.read(&BASE64.encode(url.as_bytes()), NOW).unwrap();
    let NotTold::Unavailable(why) = identities.ask(&read).await.unwrap_err() else { panic!("refused") };
    assert!(!why.contains("X-Amz"), "{why}");
}

#[test]
fn the_principal_of_an_assumed_role_is_the_role() {
    for (arn, expected) in [
        ("arn:aws:sts::111122223333:assumed-role/Deploy/ci", Some("arn:aws:iam::111122223333:role/Deploy")),
        ("arn:aws-cn:sts::111122223333:assumed-role/A/b", Some("arn:aws-cn:iam::111122223333:role/A")),
        ("arn:aws:iam::111122223333:user/a/b", Some("arn:aws:iam::111122223333:user/a/b")),
        ("arn:aws:iam::111122223333:root", Some("arn:aws:iam::111122223333:root")),
        ("arn:aws:sts::111122223333:federated-user/x", Some("arn:aws:sts::111122223333:federated-user/x")),
        ("arn:aws:sts::111122223333:assumed-role/Deploy", None),
        ("arn:aws:sts::111122223333:assumed-role//ci", None),
        ("arn:aws:iam::111122223333", None),
        ("urn:aws:iam::111122223333:root", None),
        ("arn:aws:iam::111122223333:user/a b", None),
        ("", None),
    ] {
        assert_eq!(principal(arn).as_deref(), expected, "{arn}");
    }
}

#[test]
fn an_endpoint_is_reached_by_tls() {
    let made = |endpoint, server_id| CallerIdentities::new(endpoint, server_id, None).map(drop);
    assert_eq!(made("https://sts.amazonaws.com", "sso.example.org"), Ok(()));
    assert!(made("http://sts.amazonaws.com", "x").unwrap_err().starts_with("sts_endpoint must begin"));
    for bad in ["https://sts.amazonaws.com/?x", "https://u@sts.amazonaws.com", "https://sts.amazonaws.com/#x"]
    {
        assert!(made(bad, "x").unwrap_err().starts_with("sts_endpoint must have no query"), "{bad}");
    }
    for bad in ["", "a b", "a\nb", "ä"] {
        assert!(
            made("https://sts.amazonaws.com", bad).unwrap_err().starts_with("server_id must be"),
            "{bad}"
        );
    }
    let authorities = CallerIdentities::new("https://sts.amazonaws.com", "x", Some(b""));
    assert!(authorities.unwrap_err().starts_with("sts_ca_file"));
}
