use std::sync::Arc;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use data_encoding::BASE64URL_NOPAD;

use super::proof::WINDOW;
use super::*;
use crate::oauth::fixtures::{BASE, NOW, Signer, app, caller, node, signed};
use crate::oauth::jws::Key;

const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

fn url() -> String {
    format!("{BASE}/token")
}

fn header(signer: &Signer) -> Value {
    json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": signer.jwk})
}

fn claims(app: &App) -> Value {
    json!({
        "jti": "-BwC3ESc6acc2lTc", "htm": "POST", "htu": url(), "iat": NOW.seconds(), "nonce": nonce(app, NOW),
    })
}

fn with(mut object: Value, name: &str, value: &Value) -> Value {
    if value.is_null() {
        object.as_object_mut().unwrap().remove(name);
    } else {
        object[name] = value.clone();
    }
    object
}

fn one(proof: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(DPOP, proof.parse().unwrap());
    headers
}

async fn send(
    app: &App,
    seconds: u32,
    headers: &HeaderMap,
    access_token: Option<&str>,
) -> Result<Option<KeyThumbprint>, Refusal> {
    match proof(app, &caller(seconds), headers, &Method::POST, &url(), access_token).await {
        Ok(key) => Ok(key),
        Err(Failure::Refused(refusal)) => Err(refusal),
        Err(Failure::Outage(what)) => panic!("{what}"),
    }
}

async fn ask(app: &App, proof: &str) -> Result<Option<KeyThumbprint>, Refusal> {
    send(app, 0, &one(proof), None).await
}

fn refused(why: &str) -> Result<Option<KeyThumbprint>, Refusal> {
    Err(invalid(why))
}

const AGAIN: &str = "jti was used before: every request needs a proof of its own";

// Holds: rfc9449-4.3-signature
#[tokio::test]
async fn a_proof_is_that_of_its_key() {
    let (app, signer) = (app(Vec::new()).await, Signer::new());
    let key = Key::of(&signer.jwk).unwrap().thumbprint();
    assert_eq!(ask(&app, &signer.sign(&header(&signer), &claims(&app))).await, Ok(Some(key)));
    assert_eq!(send(&app, 0, &HeaderMap::new(), Some(TOKEN)).await, Ok(None));
}

/// The first proof of RFC 9449 section 5, which has no nonce.
const OF_THE_RFC: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNo\
     UklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNyd\
     iI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3\
     Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xR\
     ZT3Lg";

#[tokio::test]
async fn the_proof_of_rfc_9449_section_5_wants_for_a_nonce_alone() {
    let app = app(Vec::new()).await;
    let at = Timestamp::from_seconds(1_562_262_616);
    let ask = |url: &'static str, now: Timestamp| {
        let window_of = |nonce: &str| app.tokens.dpop_nonce_window(nonce);
        let request = Request { now, method: &Method::POST, url, access_token: None, window_of: &window_of };
        request.check(OF_THE_RFC).map(|checked| checked.jti)
    };
    let there = "https://server.example.com/token";
    assert_eq!(ask(there, at), Err(Refusal::UseDpopNonce));
    assert_eq!(
        ask("https://server.example.com/other", at),
        Err(invalid("htu must be https://server.example.com/other"))
    );
    assert_eq!(ask(there, NOW), Err(invalid("iat is too far from now: does the clock run right?")));
}

// Holds: rfc9449-4.3-algorithm
#[tokio::test]
async fn keys_of_every_kind_prove_themselves_and_no_other() {
    let app = app(Vec::new()).await;
    let part = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let rsa = RsaPair::generate(KeySize::Rsa2048).unwrap();
    let public = rsa.public_key();
    let (n, e) = (public.modulus(), public.exponent());
    let rsa_jwk = json!({
        "kty": "RSA", "n": part(n.big_endian_without_leading_zero()), "e": part(e.big_endian_without_leading_zero()),
    });
    // PKCS #1 is inside PKCS #8, after the version and the algorithm (RFC 5958 section 2).
    let pkcs8 = rsa.as_der().unwrap();
    let rsa = EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..]);
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
    let public = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let ed_jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": part(public.public_key().as_ref())});
    let ed = EncodingKey::from_ed_der(pkcs8.as_ref());
    let cases = [
        ("RS256", Algorithm::RS256, &rsa, &rsa_jwk, true),
        ("PS256", Algorithm::PS256, &rsa, &rsa_jwk, true),
        ("EdDSA", Algorithm::EdDSA, &ed, &ed_jwk, true),
        ("RS512", Algorithm::RS512, &rsa, &rsa_jwk, false),
        ("RS256", Algorithm::PS256, &rsa, &rsa_jwk, false),
        ("ES256", Algorithm::EdDSA, &ed, &ed_jwk, false),
        ("RS256", Algorithm::RS256, &rsa, &ed_jwk, false),
    ];
    for (at, (alg, algorithm, key, jwk, good)) in cases.into_iter().enumerate() {
        let header = json!({"typ": "dpop+jwt", "alg": alg, "jwk": jwk});
        let said = with(claims(&app), "jti", &json!(at.to_string()));
        let answer = ask(&app, &signed(&header, &said, key, algorithm)).await;
        let expected = Key::of(jwk).unwrap().thumbprint();
        assert_eq!(answer.is_ok(), good, "{at} {alg}: {answer:?}");
        assert!(!good || answer == Ok(Some(expected)));
    }
}

// Holds: rfc9449-4.3-algorithm, rfc9449-4.3-htm-htu, rfc9449-4.3-iat, rfc9449-4.3-no-private-key
// Holds: rfc9449-4.3-one-header, rfc9449-4.3-signature, rfc9449-4.3-typ, rfc9449-4.3-well-formed
#[tokio::test]
async fn whatever_is_wrong_with_a_proof_is_said() {
    let (app, signer) = (app(Vec::new()).await, Signer::new());
    let now = NOW.seconds();
    let mut private = signer.jwk.clone();
    private["d"] = json!("AAAA");
    let null = Value::Null;
    let a_key = "jwk must be a public key: EC on P-256, RSA of 2048 to 4096 bits, or OKP on Ed25519";
    let an_algorithm = "alg must be one of ES256, RS256, PS256, EdDSA";
    let headers = [
        ("typ", null.clone(), "typ must be dpop+jwt"),
        ("typ", json!("JWT"), "typ must be dpop+jwt"),
        ("typ", json!("DPoP+JWT"), "typ must be dpop+jwt"),
        ("alg", null.clone(), an_algorithm),
        ("alg", json!("none"), an_algorithm),
        ("alg", json!("HS256"), an_algorithm),
        ("alg", json!("ES384"), an_algorithm),
        ("alg", json!("es256"), an_algorithm),
        ("alg", json!("RS256"), "the signature is not one of jwk with alg"),
        ("crit", json!(["exp"]), "crit is there, and nothing that it may mean is known here"),
        ("jwk", null.clone(), a_key),
        ("jwk", json!("a text"), a_key),
        ("jwk", private, a_key),
        ("jwk", json!({"kty": "oct", "k": "AAAA"}), a_key),
        ("jwk", Signer::new().jwk, "the signature is not one of jwk with alg"),
    ];
    for (name, value, why) in headers {
        let proof = signer.sign(&with(header(&signer), name, &value), &claims(&app));
        assert_eq!(ask(&app, &proof).await, refused(why), "{name} {value}");
    }
    let here = "htu must be https://sso.example.org/token";
    let (method, jti) = ("htm must be the method of the request", "jti must have 1 to 256 bytes");
    let (a_time, the_clock) = ("iat must be a time", "iat is too far from now: does the clock run right?");
    let said = [
        ("htm", null.clone(), method),
        ("htm", json!("GET"), method),
        ("htm", json!("post"), method),
        ("htu", null.clone(), here),
        ("htu", json!("/token"), here),
        ("htu", json!("http://sso.example.org/token"), here),
        ("htu", json!("https://sso.example.org:8443/token"), here),
        ("htu", json!("https://sso.example.org.evil.example/token"), here),
        ("htu", json!("https://evil@sso.example.org/token"), here),
        ("htu", json!("https://sso.example.org/Token"), here),
        ("htu", json!("https://sso.example.org/token/"), here),
        ("htu", json!("https://sso.example.org/userinfo"), here),
        ("iat", null.clone(), a_time),
        ("iat", json!("now"), a_time),
        ("iat", json!(now + 3901), the_clock),
        ("iat", json!(now - 3901), the_clock),
        ("jti", null.clone(), jti),
        ("jti", json!(""), jti),
        ("jti", json!(7), jti),
        ("jti", json!("x".repeat(257)), jti),
        ("padding", json!("x".repeat(8192)), "the DPoP proof is longer than 8192 bytes"),
    ];
    for (name, value, why) in said {
        let proof = signer.sign(&header(&signer), &with(claims(&app), name, &value));
        assert_eq!(ask(&app, &proof).await, refused(why), "{name} {value}");
    }
    let good = signer.sign(&header(&signer), &claims(&app));
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = rest.split_once('.').unwrap();
    let changed = BASE64URL_NOPAD.encode(claims(&app).to_string().replace("POST", "PUT").as_bytes());
    for bad in [
        rest.to_owned(),
        format!("{rest}."),
        format!("{good}."),
        format!("{good}A"),
        format!("{head}.{changed}.{signature}"),
        format!("{head}.{body}.{}", signature.to_lowercase()),
    ] {
        assert_eq!(ask(&app, &bad).await, refused("the signature is not one of jwk with alg"), "{bad}");
    }
    for bad in ["", "x", "x.y.z", &good[1..]] {
        assert_eq!(ask(&app, bad).await, refused("the DPoP proof's header cannot be read"), "{bad}");
    }
    let mut two = one(&good);
    two.append(DPOP, good.parse().unwrap());
    assert_eq!(send(&app, 0, &two, None).await, refused("there is more than one DPoP header"));
    let mut no_text = HeaderMap::new();
    no_text.insert(DPOP, HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(send(&app, 0, &no_text, None).await, refused("the DPoP header is no JWT"));
    // None of it has used up the jti.
    assert!(ask(&app, &good).await.is_ok());
}

// Holds: rfc9449-4.3-htm-htu
#[tokio::test]
async fn what_may_be_written_in_several_ways_may() {
    let (app, signer) = (app(Vec::new()).await, Signer::new());
    let now = NOW.seconds();
    let cases = [
        ("htu", json!("https://sso.example.org/token?a=b#c")),
        ("htu", json!("HTTPS://SSO.Example.ORG:443/./token")),
        ("iat", json!(now + 3900)),
        ("iat", json!(now - 3900)),
        ("ath", json!("of no token")),
        ("jti", json!("x".repeat(256))),
    ];
    for (at, (name, value)) in cases.into_iter().enumerate() {
        let said = with(with(claims(&app), "jti", &json!(at.to_string())), name, &value);
        assert!(ask(&app, &signer.sign(&header(&signer), &said)).await.is_ok(), "{name} {value}");
    }
}

// Holds: rfc9449-4.3-ath
#[tokio::test]
async fn a_proof_beside_an_access_token_holds_its_hash() {
    let (app, signer) = (app(Vec::new()).await, Signer::new());
    let why = "ath must be the hash of the access token";
    // The token and its hash are those of RFC 9449 section 7.1.
    let hash = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";
    for bad in [json!(null), json!(""), json!(TOKEN), json!(format!("{hash}="))] {
        let proof = signer.sign(&header(&signer), &with(claims(&app), "ath", &bad));
        assert_eq!(send(&app, 0, &one(&proof), Some(TOKEN)).await, refused(why), "{bad}");
    }
    let proof = signer.sign(&header(&signer), &with(claims(&app), "ath", &json!(hash)));
    assert_eq!(send(&app, 0, &one(&proof), Some("another")).await, refused(why));
    assert!(send(&app, 0, &one(&proof), Some(TOKEN)).await.is_ok());
}

// Holds: rfc9449-11.2-pre-generated, rfc9449-11.3-no-downgrade, rfc9449-4.3-nonce, rfc9449-8-unpredictable
// Holds: rfc9449-8.2-next-nonce
#[tokio::test]
async fn a_nonce_is_given_out_for_five_minutes_and_good_for_five_more() {
    let (app, signer) = (app(Vec::new()).await, Signer::new());
    let ask = async |seconds: u32, nonce: Value, jti: u32| {
        let said = with(with(claims(&app), "nonce", &nonce), "jti", &json!(jti.to_string()));
        send(&app, seconds, &one(&signer.sign(&header(&signer), &said)), None).await
    };
    let (now, wanted) = (json!(nonce(&app, NOW)), Err(Refusal::UseDpopNonce));
    // The clock starts with a window.
    assert_eq!(NOW.seconds() % WINDOW, 0);
    assert_eq!(nonce(&app, caller(299).now), nonce(&app, NOW));
    assert_ne!(nonce(&app, caller(300).now), nonce(&app, NOW));
    assert!(ask(0, now.clone(), 1).await.is_ok());
    assert!(ask(599, now.clone(), 2).await.is_ok());
    assert_eq!(ask(600, now.clone(), 3).await, wanted);
    // Of a node whose clock is ahead by a moment, and of one that is wrong.
    assert!(ask(299, json!(nonce(&app, caller(300).now)), 4).await.is_ok());
    assert_eq!(ask(0, json!(nonce(&app, caller(600).now)), 5).await, wanted);
    let changed = nonce(&app, NOW).replace(|letter: char| letter.is_ascii_digit(), "x");
    for bad in
        [json!(null), json!(""), json!(7), json!("x"), json!(changed), json!(app.tokens.form_value("x"))]
    {
        assert_eq!(ask(0, bad.clone(), 6).await, wanted, "{bad}");
    }
    // Whoever is asked for a nonce may send the same jti again.
    assert!(ask(0, now, 6).await.is_ok());
}

// Holds: rfc9449-11.1-replay
#[tokio::test]
async fn a_proof_is_taken_once_on_whichever_node() {
    let (first, signer) = (app(Vec::new()).await, Signer::new());
    let second = node(Arc::clone(&first.store), false);
    let proof = signer.sign(&header(&signer), &claims(&first));
    assert!(ask(&first, &proof).await.is_ok());
    let again = signer.sign(&header(&signer), &with(claims(&first), "iat", &json!(NOW.seconds() + 1)));
    for node in [&first, &second] {
        assert_eq!(ask(node, &proof).await, refused(AGAIN));
        assert_eq!(ask(node, &again).await, refused(AGAIN));
    }
    // It is remembered for as long as its nonce is good, on a node whose clock is ahead as well.
    first.store.sweep(caller(599 + 599).now, 100).await.unwrap();
    assert_eq!(send(&second, 599, &one(&proof), None).await, refused(AGAIN));
    // Others draw their own.
    let other = Signer::new();
    assert!(ask(&second, &other.sign(&header(&other), &claims(&first))).await.is_ok());
}

// Holds: rfc9449-8-unpredictable
#[tokio::test]
async fn nodes_under_other_keys_know_no_nonce_of_each_other() {
    let (app, signer) = (app(Vec::new()).await, Signer::new());
    let other = doorward_keys::KeyRing::new(&[8; 32]).mac("DPoP nonce").wrap(&window(NOW).to_be_bytes());
    let proof = signer.sign(&header(&signer), &with(claims(&app), "nonce", &json!(other)));
    assert_eq!(ask(&app, &proof).await, Err(Refusal::UseDpopNonce));
}

#[tokio::test]
async fn an_answer_brings_the_nonce_to_whoever_sent_a_proof() {
    let app = app(Vec::new()).await;
    let (mut with_proof, mut without) = (HeaderMap::new(), HeaderMap::new());
    offer_nonce(&app, &caller(0), &one("bad"), &mut with_proof);
    offer_nonce(&app, &caller(0), &HeaderMap::new(), &mut without);
    assert_eq!(with_proof["DPoP-Nonce"], nonce(&app, NOW).as_str());
    assert!(without.is_empty());
}

#[tokio::test]
async fn whoever_sends_too_many_is_slowed_down() {
    let app = node(Arc::new(doorward_store::MemoryStore::default()), true);
    let mut slowed = false;
    for _ in 0..2000 {
        slowed |= ask(&app, "bad").await == Err(Refusal::SlowDown);
    }
    assert!(slowed);
    assert_eq!(send(&app, 0, &HeaderMap::new(), None).await, Ok(None));
}
