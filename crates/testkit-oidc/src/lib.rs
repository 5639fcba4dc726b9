//! An OpenID Connect provider of a test's own. It says whatever the test wants, right or wrong, with real signatures, and
//! keeps what it was asked. What goes wrong here panics.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RsaEncoding, RsaKeyPair,
};
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// A key of the provider's.
pub enum Key {
    /// RSA.
    Rsa(RsaKeyPair),
    /// P-256.
    P256(EcdsaKeyPair),
    /// P-384.
    P384(EcdsaKeyPair),
    /// Ed25519.
    Ed(Ed25519KeyPair),
}

impl Key {
    /// An RSA key of 2048 bits.
    #[must_use]
    pub fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    /// A key on P-256.
    #[must_use]
    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// A key on P-384.
    #[must_use]
    pub fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    /// A key on Ed25519.
    #[must_use]
    pub fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    /// The public half as a JWK.
    #[must_use]
    pub fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let point = |pair: &EcdsaKeyPair, curve: &str, size: usize| {
            let bytes = pair.public_key().as_ref();
            json!({"kty": "EC", "crv": curve, "kid": id, "x": text(&bytes[1..=size]), "y": text(&bytes[1 + size..])})
        };
        match self {
            Self::Rsa(pair) => {
                let public = pair.public_key();
                let n = text(public.modulus().big_endian_without_leading_zero());
                let e = text(public.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "kid": id, "use": "sig", "n": n, "e": e})
            }
            Self::P256(pair) => point(pair, "P-256", 32),
            Self::P384(pair) => point(pair, "P-384", 48),
            Self::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": text(pair.public_key().as_ref())})
            }
        }
    }

    fn signature(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut bytes).unwrap();
                bytes
            }
            Self::P256(pair) | Self::P384(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = self.signature(header["alg"].as_str().unwrap(), message.as_bytes());
        format!("{message}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

/// Header and claims, joined as they are signed.
#[must_use]
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

/// A token whose "secret" is a public key, as somebody would make it who hopes that the key is used as one.
#[must_use]
pub fn hmac_signed(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = unsigned(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The query, as it came.
    pub query: String,
    /// The posted form.
    pub form: HashMap<String, String>,
    /// The headers.
    pub headers: HeaderMap,
}

/// What the provider says, path by path.
#[derive(Default)]
struct Script {
    answers: HashMap<&'static str, Said>,
    asked: HashMap<String, Vec<Asked>>,
}

/// What it says.
#[derive(Clone)]
pub struct Said {
    status: StatusCode,
    media_type: &'static str,
    body: String,
    headers: Vec<(&'static str, String)>,
    /// Never answers.
    hangs: bool,
}

impl Said {
    /// An answer of success in JSON.
    #[must_use]
    pub fn json(value: &Value) -> Self {
        let body = value.to_string();
        Self {
            status: StatusCode::OK,
            media_type: "application/json; charset=utf-8",
            body,
            headers: vec![],
            hangs: false,
        }
    }

    /// An answer of success in XML.
    #[must_use]
    pub fn xml(text: &str) -> Self {
        Self { media_type: "text/xml", body: text.to_owned(), ..Self::json(&Value::Null) }
    }

    /// The same with another status.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        Self { status: StatusCode::from_u16(status).unwrap(), ..self }
    }

    /// The same with another media type.
    #[must_use]
    pub fn media_type(self, media_type: &'static str) -> Self {
        Self { media_type, ..self }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// No answer, ever.
    #[must_use]
    pub fn hanging(self) -> Self {
        Self { hangs: true, ..self }
    }
}

/// A provider with one RSA key, whose id is `k1`, and somebody to speak of.
pub struct Provider {
    /// Its key.
    pub key: Key,
    /// Its issuer identifier.
    pub issuer: String,
    script: Arc<Mutex<Script>>,
}

/// The path of the discovery document.
pub const DISCOVERY: &str = "/.well-known/openid-configuration";
/// The path of the keys.
pub const JWKS: &str = "/jwks";
/// The path of the token endpoint.
pub const TOKEN: &str = "/token";
/// The path of the userinfo endpoint.
pub const USERINFO: &str = "/userinfo";

impl Provider {
    /// A provider on this machine, which ends with the test.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let script: Arc<Mutex<Script>> = Arc::default();
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&script));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let provider = Self { key: Key::rsa(), issuer, script };
        provider.says(DISCOVERY, Said::json(&provider.document()));
        provider.says(JWKS, Said::json(&json!({"keys": [provider.key.jwk("k1")]})));
        provider
    }

    /// What it says at `path` from now on.
    pub fn says(&self, path: &'static str, said: Said) {
        self.script.lock().unwrap().answers.insert(path, said);
    }

    /// Everything that was asked at `path`.
    #[must_use]
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.script.lock().unwrap().asked.get(path).cloned().unwrap_or_default()
    }

    /// Its discovery document.
    #[must_use]
    pub fn document(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize?tenant=1"),
            "token_endpoint": at(TOKEN),
            "jwks_uri": at(JWKS),
            "userinfo_endpoint": at(USERINFO),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        })
    }

    /// The token endpoint gives an ID token with these claims, signed as it should be.
    pub fn gives(&self, claims: &Value) {
        self.gives_token(&self.key.sign(&json!({"alg": "RS256", "kid": "k1", "typ": "JWT"}), claims));
    }

    /// The token endpoint gives this ID token.
    pub fn gives_token(&self, id_token: &str) {
        let tokens = json!({"access_token": "at", "token_type": "Bearer", "id_token": id_token, "refresh_token": "rt-1"});
        self.says(TOKEN, Said::json(&tokens));
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let headers = request.headers().clone();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body: Bytes = axum::body::to_bytes(request.into_body(), 100_000).await.unwrap();
    let form = form_urlencoded::parse(&body).into_owned().collect();
    let said = {
        let mut script = script.lock().unwrap();
        script.asked.entry(path.clone()).or_default().push(Asked { query, form, headers });
        script.answers.get(path.as_str()).cloned()
    };
    let Some(said) = said else { return StatusCode::NOT_FOUND.into_response() };
    if said.hangs {
        std::future::pending::<()>().await;
    }
    let mut response = (said.status, [("content-type", said.media_type)], said.body).into_response();
    for (name, value) in said.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
