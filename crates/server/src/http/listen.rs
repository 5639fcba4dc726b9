//! The sockets: accepting connections, serving HTTP/1.1 and HTTP/2 on them, and ending well.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::proxy::TrustedProxies;
use super::server::Server;

/// How long a client may take for its request's head. The time runs between two requests too, and must be longer than
/// proxies and SDKs keep an idle connection, or they send on one that is just being closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take after the server was told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// How many connections are held at once; more wait in the system's queue.
const MOST_CONNECTIONS: usize = 16_384;

/// A bound socket, and what is served on it.
pub struct Listener {
    socket: TcpListener,
    server: Server,
    tls: Option<TlsAcceptor>,
    trusted: Arc<TrustedProxies>,
    only_proxies: bool,
}

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
        TcpListener::bind(address).await.with_context(|| {
            format!(
                "cannot listen on {address}: is another server running there? --listen takes another address"
            )
        })
    }

    /// Serves `server` on a bound socket, as plain HTTP.
    #[must_use]
    pub fn new(socket: TcpListener, server: Server) -> Self {
        Self { socket, server, tls: None, trusted: Arc::default(), only_proxies: false }
    }

    /// The same with TLS.
    #[must_use]
    pub fn with_tls(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(config.into());
        self
    }

    /// The same behind `proxies`; if `only`, nobody else is served.
    #[must_use]
    pub fn behind(mut self, proxies: TrustedProxies, only: bool) -> Self {
        self.trusted = Arc::new(proxies);
        self.only_proxies = only;
        self
    }

    /// Serves until `stop` is done; then finishes the requests under way.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { socket, server, tls, trusted, only_proxies } = self;
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&socket, &slots) => accepted,
                () = &mut stop => break,
            };
            let (stream, address, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most often: connections that end free some.
                    warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if only_proxies && !trusted.contains(address.ip()) {
                warn!(%address, "refused a connection that does not come from a trusted proxy");
                continue;
            }
            let connection = Connection {
                server: server.clone(),
                peer: address,
                trusted: Arc::clone(&trusted),
                watcher: graceful.watcher(),
            };
            let tls = tls.clone();
            tokio::spawn(async move {
                let _slot = slot;
                // Answers are small and whole: waiting for more to send only delays them.
                let _ = stream.set_nodelay(true);
                match tls {
                    None => connection.serve(stream).await,
                    Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                        Ok(Ok(stream)) => connection.serve(stream).await,
                        Ok(Err(error)) => debug!(%address, "the TLS handshake failed: {error}"),
                        Err(_) => debug!(%address, "the TLS handshake took too long"),
                    },
                }
            });
        }
        drop(socket);
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            warn!("requests were still under way after {} s", DRAIN_TIMEOUT.as_secs());
        }
    }
}

type Slot = tokio::sync::OwnedSemaphorePermit;

async fn accept(
    socket: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, Slot)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = socket.accept().await?;
    Ok((stream, address, slot))
}

struct Connection {
    server: Server,
    peer: SocketAddr,
    trusted: Arc<TrustedProxies>,
    watcher: hyper_util::server::graceful::Watcher,
}

impl Connection {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { server, peer, trusted, watcher } = self;
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let address = trusted.client_of(peer.ip(), request.headers());
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(address, request.map(Body::new)).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(128)
            .keep_alive_interval(Duration::from_secs(30));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            debug!(address = %peer, "a connection ended early: {error}");
        }
    }
}
