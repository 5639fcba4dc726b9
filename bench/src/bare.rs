//! The bare reference server: what the HTTP stack and the disk cost when nothing is decided.
//!
//! Same stack as the real server (tokio's multi-thread runtime, hyper's HTTP/1, an axum
//! router, mimalloc). It knows no clients, no sessions and no refusals:
//! - `POST /fixed` reads the body and answers a pending poll, always the same;
//! - `POST /token` parses a CreateToken body, draws two tokens, appends a record and answers once it is durable;
//! - `POST /register` parses a RegisterClient body and answers fixed JSON;
//! - `GET /credentials` answers fixed JSON.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// What the real embedded store may commit at once; the reference groups as much.
const LARGEST_GROUP: usize = 512;
const RECORD_BYTES: usize = 160;
const TOKEN_ANSWER_BYTES: usize = 480;
const JSON: (axum::http::HeaderName, &str) = (CONTENT_TYPE, "application/json");
const PENDING: &str =
    r#"{"error":"authorization_pending","error_description":"Authorization is still pending"}"#;

/// How `doorward-bench bare` is started.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The file that records are appended to.
    #[arg(long)]
    journal: PathBuf,
    /// Size of the answer to a registration.
    #[arg(long, default_value_t = 900)]
    register_bytes: usize,
    /// Size of the answer to a request for credentials.
    #[arg(long, default_value_t = 480)]
    credentials_bytes: usize,
}

/// Serves until it is killed; prints one JSON line with its `endpoint` when it is ready.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(options))
}

async fn serve(options: &Options) -> anyhow::Result<()> {
    let bare = Bare {
        journal: Journal::open(&options.journal)?,
        registered: registered(options.register_bytes),
        credentials: role_credentials(options.credentials_bytes),
    };
    let router = Router::new()
        .route("/fixed", post(fixed))
        .route("/token", post(token))
        .route("/register", post(register))
        .route("/credentials", get(credentials))
        .with_state(bare);
    let listener = TcpListener::bind(options.listen).await.context("cannot listen")?;
    let address = listener.local_addr()?;
    println!("{}", serde_json::json!({ "endpoint": format!("http://{address}") }));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut connection = hyper::server::conn::http1::Builder::new();
            connection.timer(TokioTimer::new());
            // A peer that hangs up in the middle is the load program ending; nobody needs to hear of it.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[derive(Clone)]
struct Bare {
    journal: Journal,
    registered: Bytes,
    credentials: Bytes,
}

async fn fixed(_body: Bytes) -> Response {
    (StatusCode::BAD_REQUEST, [JSON], [("x-amzn-errortype", "AuthorizationPendingException")], PENDING)
        .into_response()
}

async fn token(State(bare): State<Bare>, body: Bytes) -> Response {
    if serde_json::from_slice::<CreateToken>(&body).is_err() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let (Some(access), Some(refresh)) = (draw(), draw()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut record = [0_u8; RECORD_BYTES];
    record[..32].copy_from_slice(&refresh);
    record[32..64].copy_from_slice(&access);
    if !bare.journal.append(record).await {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let issued = Issued::new(&access, &refresh);
    match serde_json::to_vec(&issued) {
        Ok(body) => ([JSON], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn register(State(bare): State<Bare>, body: Bytes) -> Response {
    match serde_json::from_slice::<RegisterClient>(&body) {
        Ok(_) => ([JSON], bare.registered).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn credentials(State(bare): State<Bare>) -> Response {
    ([JSON], bare.credentials).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "parsed because the real server has to, never looked at")]
struct CreateToken {
    client_id: Option<String>,
    client_secret: Option<String>,
    grant_type: Option<String>,
    device_code: Option<String>,
    code: Option<String>,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
    refresh_token: Option<String>,
    scope: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "parsed because the real server has to, never looked at")]
struct RegisterClient {
    client_name: Option<String>,
    client_type: Option<String>,
    scopes: Option<Vec<String>>,
    redirect_uris: Option<Vec<String>>,
    grant_types: Option<Vec<String>>,
    issuer_url: Option<String>,
    entitled_application_arn: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    access_token: String,
    expires_in: u32,
    id_token: Option<&'static str>,
    refresh_token: String,
    token_type: &'static str,
}

impl Issued {
    fn new(access: &[u8; 32], refresh: &[u8; 32]) -> Self {
        const FRAME: usize =
            r#"{"accessToken":"","expiresIn":3600,"idToken":null,"refreshToken":"","tokenType":"Bearer"}"#
                .len();
        const EACH: usize = (TOKEN_ANSWER_BYTES - FRAME) / 2;
        Self {
            access_token: stretched(access, EACH),
            expires_in: 3600,
            id_token: None,
            refresh_token: stretched(refresh, EACH),
            token_type: "Bearer",
        }
    }
}

fn stretched(secret: &[u8; 32], length: usize) -> String {
    let mut token = String::with_capacity(length);
    BASE64URL_NOPAD.encode_append(secret, &mut token);
    token.extend(std::iter::repeat_n('A', length.saturating_sub(token.len())));
    token
}

#[expect(clippy::disallowed_methods, reason = "the reference draws its tokens itself; it has no ambient.rs")]
fn draw() -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).ok().map(|()| secret)
}

fn registered(length: usize) -> Bytes {
    grown(length, |secret| {
        serde_json::json!({
            "authorizationEndpoint": null,
            "clientId": "bare",
            "clientIdIssuedAt": 1_700_000_000,
            "clientSecret": secret,
            "clientSecretExpiresAt": 1_707_776_000,
            "tokenEndpoint": null,
        })
    })
}

fn role_credentials(length: usize) -> Bytes {
    grown(length, |token| {
        serde_json::json!({
            "roleCredentials": {
                "accessKeyId": "bare",
                "expiration": 1_700_000_000_000_u64,
                "secretAccessKey": "bare",
                "sessionToken": token,
            },
        })
    })
}

/// The answer whose one free member is as long as it takes to fill `length` bytes.
fn grown(length: usize, answer: impl Fn(&str) -> serde_json::Value) -> Bytes {
    let frame = answer("").to_string().len();
    answer(&"A".repeat(length.saturating_sub(frame).max(1))).to_string().into()
}

/// Appends records to a file; many that arrive together share one write and one fdatasync.
#[derive(Clone)]
struct Journal {
    queue: mpsc::Sender<Append>,
}

struct Append {
    record: [u8; RECORD_BYTES],
    durable: oneshot::Sender<()>,
}

impl Journal {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let (queue, appends) = mpsc::channel(LARGEST_GROUP);
        thread::Builder::new().name("journal".into()).spawn(move || write_groups(file, appends))?;
        Ok(Self { queue })
    }

    /// True once the record is on the disk.
    async fn append(&self, record: [u8; RECORD_BYTES]) -> bool {
        let (durable, written) = oneshot::channel();
        self.queue.send(Append { record, durable }).await.is_ok() && written.await.is_ok()
    }
}

fn write_groups(mut file: File, mut appends: mpsc::Receiver<Append>) {
    let mut group = Vec::with_capacity(LARGEST_GROUP);
    let mut bytes = Vec::with_capacity(LARGEST_GROUP * RECORD_BYTES);
    while appends.blocking_recv_many(&mut group, LARGEST_GROUP) > 0 {
        bytes.clear();
        for append in &group {
            bytes.extend_from_slice(&append.record);
        }
        if file.write_all(&bytes).and_then(|()| file.sync_data()).is_err() {
            // Dropping the senders makes every waiting request, and all later ones, an error.
            return;
        }
        for append in group.drain(..) {
            // Whoever asked may have hung up meanwhile.
            let _ = append.durable.send(());
        }
    }
}
