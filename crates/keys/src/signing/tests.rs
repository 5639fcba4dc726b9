//! What one library signs, another verifies, and ours takes nothing else.

use data_encoding::BASE64;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde_json::json;

use super::*;

const ALL: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

fn pair(algorithm: Algorithm) -> SigningPair {
    SigningPair::from_pkcs8(algorithm, &SigningPair::generate(algorithm).unwrap()).unwrap()
}

fn theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    }
}

fn verified(pair: &SigningPair, typ: &str, token: &str) -> Option<Value> {
    pair.public().verify(typ, &Unverified::parse(token)?)
}

/// A token with this header, and rightly signed.
fn with_header(pair: &SigningPair, header: &str) -> String {
    let signed = format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(b"{}"));
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&pair.raw(signed.as_bytes()).unwrap()))
}

#[test]
fn another_library_verifies_what_was_signed_with_the_published_key() {
    for algorithm in ALL {
        let pair = pair(algorithm);
        let claims = json!({"sub": "ada", "aud": "sts", "exp": 4_000_000_000_u32});
        let token = pair.sign("at+jwt", &claims).unwrap();
        let published = serde_json::to_value(pair.jwk()).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(
            (header.alg, header.kid.as_deref(), header.typ.as_deref()),
            (theirs(algorithm), published["kid"].as_str(), Some("at+jwt"))
        );
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(published.clone()).unwrap();
        let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
        assert_eq!(published["kid"], thumbprint);
        let mut validation = Validation::new(theirs(algorithm));
        validation.set_audience(&["sts"]);
        let verify = |token: &str| {
            let key = DecodingKey::from_jwk(&jwk).unwrap();
            jsonwebtoken::decode::<Value>(token, &key, &validation).map(|data| data.claims)
        };
        assert_eq!(verify(&token).unwrap(), claims);
        assert_eq!(verified(&pair, "at+jwt", &token), Some(claims));
        let (rest, signature) = token.rsplit_once('.').unwrap();
        let length = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap().len();
        assert_eq!(length, if algorithm == Algorithm::Rs256 { 256 } else { 64 });
        let forged = format!("{rest}.{}", BASE64URL_NOPAD.encode(&vec![1; length]));
        assert!(verify(&forged).is_err() && verified(&pair, "at+jwt", &forged).is_none());
    }
}

#[test]
fn what_another_library_signs_is_verified() {
    for algorithm in ALL {
        let private = SigningPair::generate(algorithm).unwrap();
        let pair = SigningPair::from_pkcs8(algorithm, &private).unwrap();
        // This library wants RSA keys without PKCS #8 around them, which is a fixed header of 26 bytes here.
        let key = match algorithm {
            Algorithm::Rs256 => EncodingKey::from_rsa_der(&private[26..]),
            Algorithm::Es256 => EncodingKey::from_ec_der(&private),
            Algorithm::EdDsa => EncodingKey::from_ed_der(&private),
        };
        let mut header = Header::new(theirs(algorithm));
        header.kid = Some(pair.jwk().kid.clone());
        let token = jsonwebtoken::encode(&header, &json!({"sub": "ada"}), &key).unwrap();
        assert_eq!(verified(&pair, "JWT", &token), Some(json!({"sub": "ada"})));
    }
}

// Holds: rfc9068-4-resource-signature
#[test]
fn a_token_of_another_key_type_or_algorithm_is_refused() {
    for algorithm in ALL {
        let (one, other) = (pair(algorithm), pair(algorithm));
        let kid = &one.jwk().kid;
        let alg = algorithm.as_str();
        let header =
            |alg: &str, typ: &str, kid: &str| format!(r#"{{"alg":"{alg}","typ":"{typ}","kid":"{kid}"}}"#);
        let taken = |header: &str| verified(&one, "at+jwt", &with_header(&one, header)).is_some();
        assert!(taken(&header(alg, "at+jwt", kid)));
        // What was signed as one thing is no other (RFC 8725 section 3.11).
        for typ in ["JWT", "AT+JWT", "application/at+jwt", "", "dpop+jwt"] {
            assert!(!taken(&header(alg, typ, kid)), "{typ}");
        }
        for named in ["none", "HS256", "RS256", "ES256", "EdDSA", "PS256", "RS384", "ES384", ""] {
            assert_eq!(taken(&header(named, "at+jwt", kid)), named == alg, "{named}");
        }
        assert!(!taken(&header(alg, "at+jwt", &other.jwk().kid)) && !taken(&header(alg, "at+jwt", "")));
        let of_the_other = with_header(&other, &header(alg, "at+jwt", kid));
        assert!(verified(&one, "at+jwt", &of_the_other).is_none());
    }
}

#[test]
fn a_token_of_another_form_is_refused_though_it_is_signed() {
    let pair = pair(Algorithm::EdDsa);
    let kid = &pair.jwk().kid;
    let good = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{kid}"}}"#);
    assert!(verified(&pair, "JWT", &with_header(&pair, &good)).is_some());
    for header in [
        format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{kid}","crit":["exp"],"exp":1}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{kid}","crit":[]}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{kid}","b64":false}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{kid}","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"none","alg":"EdDSA","typ":"JWT","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#),
        r#"{"alg":"EdDSA","typ":"JWT"}"#.to_owned(),
        r#""EdDSA""#.to_owned(),
        String::new(),
    ] {
        assert!(verified(&pair, "JWT", &with_header(&pair, &header)).is_none(), "{header}");
    }
    let token = pair.sign("JWT", &json!({"sub": "ada"})).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    for token in [
        signed.to_owned(),
        format!("{signed}."),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}="),
        format!("{token} "),
        format!("{token}.{signature}"),
        format!("{header}..{signature}"),
        format!("{header}.{claims}=.{signature}"),
        format!("{header}.{claims}.{signature}A"),
        String::new(),
        "..".to_owned(),
        "....".to_owned(),
    ] {
        assert!(verified(&pair, "JWT", &token).is_none(), "{token}");
    }
    assert!(Unverified::parse(&token).is_some());
    assert!(Unverified::parse(&format!("{header}.{claims}.{claims}.{signature}")).is_none(), "four parts");
    let long = |length: usize| {
        let empty = pair.sign("JWT", &json!({"x": ""})).unwrap().len();
        let token = pair.sign("JWT", &json!({"x": "x".repeat((length - empty) / 4 * 3)})).unwrap();
        (token.len(), verified(&pair, "JWT", &token).is_some())
    };
    let (length, verifies) = long(LONGEST_TOKEN - 4);
    assert!(length <= LONGEST_TOKEN && verifies, "{length}");
    let (length, verifies) = long(LONGEST_TOKEN + 8);
    assert!(length > LONGEST_TOKEN && !verifies, "{length}");
}

/// RFC 8037 appendix A.4.
#[test]
fn the_signature_of_rfc_8037() {
    let secret = BASE64URL_NOPAD.decode(b"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    // PKCS #8 around the 32 bytes (RFC 8410 section 7).
    let header = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    let pair = SigningPair::from_pkcs8(Algorithm::EdDsa, &[header.as_slice(), &secret].concat()).unwrap();
    assert_eq!(pair.jwk().kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    assert_eq!(
        BASE64URL_NOPAD.encode(&pair.raw(signed).unwrap()),
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}

/// RFC 7515 appendix A.3: the key, and a signature that another made with it.
#[test]
fn the_signature_of_rfc_7515() {
    let half = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    let x = half("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
    let y = half("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let public = PublicHalf::new(Algorithm::Es256, String::new(), [&[4], &*x, &*y].concat()).unwrap();
    let signed = b"eyJhbGciOiJFUzI1NiJ9.\
                   eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature =
        half("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
    assert!(public.parsed.verify_sig(signed, &signature).is_ok());
    assert!(public.parsed.verify_sig(&signed[1..], &signature).is_err());
}

#[test]
fn the_certificate_is_of_the_published_key_and_signed_with_it() {
    let pair = pair(Algorithm::Rs256);
    assert!(serde_json::to_value(pair.jwk()).unwrap().get("x5c").is_none());
    let made = pair.certificate([7; 16]).unwrap();
    let jwk = serde_json::to_value(pair.certified_jwk(&made)).unwrap();
    let certificate = BASE64.decode(jwk["x5c"][0].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(certificate, made);
    let modulus = BASE64URL_NOPAD.decode(jwk["n"].as_str().unwrap().as_bytes()).unwrap();
    assert!(certificate.windows(modulus.len()).any(|window| window == modulus));
    // The body to be signed, and the signature at the end (RFC 5280 section 4.1).
    let length = usize::from(certificate[6]) * 256 + usize::from(certificate[7]);
    let body = &certificate[4..8 + length];
    assert_eq!(&certificate[certificate.len() - 256..], pair.raw(body).unwrap());
}

#[test]
fn what_is_no_key_for_the_algorithm_is_refused() {
    for algorithm in ALL {
        assert!(SigningPair::from_pkcs8(algorithm, b"").is_err());
        assert!(SigningPair::from_pkcs8(algorithm, &[0x30; 1200]).is_err());
        for other in ALL {
            let private = SigningPair::generate(other).unwrap();
            assert_eq!(SigningPair::from_pkcs8(algorithm, &private).is_ok(), algorithm == other);
        }
        let has_certificate = pair(algorithm).certificate([7; 16]).is_ok();
        assert_eq!(has_certificate, algorithm == Algorithm::Rs256);
    }
}
