//! The sockets: accepting connections, serving HTTP/1.1 and HTTP/2 on them, and ending well.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::proxy::TrustedProxies;
use super::server::Server;
use crate::limits::network;

/// How long a client may take for its request's head. The time runs between two requests too, and must be longer than
/// proxies and SDKs keep an idle connection, or they send on one that is just being closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take after the server was told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections are held at once; more wait in the system's queue.
const MOST_CONNECTIONS: usize = 16_384;
/// How many of them one address may hold, unless it is a trusted proxy's or this machine's.
const MOST_FROM_ADDRESS: usize = 512;
/// The most that is buffered of a request's head, in bytes; the longest real one, with a large registration in an
/// address, has some twenty thousand.
const LONGEST_HEAD: u32 = 64 * 1024;

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
        TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}: is another server running there?"))
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
        let crowd = Crowd::default();
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
            let is_proxy = trusted.contains(address.ip());
            if only_proxies && !is_proxy {
                debug!(%address, "refused a connection that does not come from a trusted proxy");
                continue;
            }
            let Some(seat) = Seat::take(&crowd, address.ip(), is_proxy || address.ip().is_loopback()) else {
                debug!(%address, "refused a connection: its address holds too many");
                continue;
            };
            let connection = Connection {
                server: server.clone(),
                peer: address,
                trusted: Arc::clone(&trusted),
                watcher: graceful.watcher(),
            };
            let tls = tls.clone();
            tokio::spawn(async move {
                let _held = (slot, seat);
                // Answers are small and whole: waiting for more to send only delays them.
                let _ = stream.set_nodelay(true);
                match tls {
                    None => connection.serve(stream, Version::Http1).await,
                    Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            let version = Version::agreed(stream.get_ref().1.alpn_protocol());
                            connection.serve(stream, version).await;
                        }
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

/// The version of HTTP on a connection. Both sides agree on it before the first byte, by TLS; without TLS it is the
/// older one. Waiting to see which it is would be waiting without end.
#[derive(Clone, Copy, Debug)]
enum Version {
    Http1,
    Http2,
}

impl Version {
    fn agreed(alpn: Option<&[u8]>) -> Self {
        if alpn == Some(b"h2") { Self::Http2 } else { Self::Http1 }
    }
}

impl Connection {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, version: Version) {
        let Self { server, peer, trusted, watcher } = self;
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let address = trusted.client_of(peer.ip(), request.headers());
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(address, request.map(Body::new)).await) }
        });
        let stream = TokioIo::new(stream);
        let ended = match version {
            Version::Http1 => {
                let mut http1 = hyper::server::conn::http1::Builder::new();
                http1
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .max_buf_size(LONGEST_HEAD as usize);
                watcher.watch(http1.serve_connection(stream, service)).await
            }
            Version::Http2 => {
                let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                http2
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(128)
                    .max_header_list_size(LONGEST_HEAD)
                    .keep_alive_interval(Duration::from_secs(30));
                watcher.watch(http2.serve_connection(stream, service)).await
            }
        };
        if let Err(error) = ended {
            debug!(address = %peer, "a connection ended early: {error}");
        }
    }
}

/// How many connections each address holds.
type Crowd = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// One connection's place in the crowd, given back when it ends.
struct Seat(Option<(Crowd, IpAddr)>);

impl Seat {
    /// `None` if the address has no place left. Whoever is `exempt` needs none.
    fn take(crowd: &Crowd, address: IpAddr, exempt: bool) -> Option<Self> {
        if exempt {
            return Some(Self(None));
        }
        let address = network(address);
        let mut held = crowd.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(address).or_default();
        if *count >= MOST_FROM_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Self(Some((Arc::clone(crowd), address))))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some((crowd, address)) = &self.0 else { return };
        let mut held = crowd.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = held.entry(*address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gives_them_back() {
        let (crowd, address) = (Crowd::default(), IpAddr::from([192, 0, 2, 1]));
        let seats: Vec<_> =
            (0..MOST_FROM_ADDRESS).map_while(|_| Seat::take(&crowd, address, false)).collect();
        assert_eq!(seats.len(), MOST_FROM_ADDRESS);
        assert!(Seat::take(&crowd, address, false).is_none());
        assert!(Seat::take(&crowd, address, true).is_some());
        assert!(Seat::take(&crowd, IpAddr::from([192, 0, 2, 2]), false).is_some());
        drop(seats);
        assert!(Seat::take(&crowd, address, false).is_some());
        assert!(crowd.lock().unwrap().is_empty(), "nobody is remembered");
    }
}
