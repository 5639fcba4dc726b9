//! HTTP from an address of the client's own, on connections that are kept while they last.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use doorward_testkit::Answer;
use http::header::HOST;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::time::timeout;

/// Longer than the server lets any request take.
const PATIENCE: Duration = Duration::from_secs(40);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nobody listened, so nothing was sent.
    Unsent,
    /// The connection broke before the answer was whole.
    Connection,
    /// It did not come.
    Silence,
}

type Sender = SendRequest<Full<Bytes>>;

/// The way to all nodes.
pub(crate) struct Wire {
    /// The server counts how often somebody asks by address, as it would for 64 people.
    address: Ipv4Addr,
    nodes: Arc<[SocketAddr]>,
    idle: Vec<Mutex<Vec<Sender>>>,
}

impl Wire {
    /// The way from the loopback address that has this number.
    pub(crate) fn new(client: usize, nodes: &Arc<[SocketAddr]>) -> Self {
        let address = Ipv4Addr::new(127, 1, 0, u8::try_from(client + 1).unwrap());
        let idle = nodes.iter().map(|_| Mutex::default()).collect();
        Self { address, nodes: Arc::clone(nodes), idle }
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Sends a request, once.
    pub(crate) async fn send(&self, node: usize, mut request: Request<Bytes>) -> Result<Answer, Broken> {
        let mut sender = self.connection(node).await.ok_or(Broken::Unsent)?;
        let host = HeaderValue::try_from(self.nodes[node].to_string()).unwrap();
        request.headers_mut().insert(HOST, host);
        let exchange = async {
            let answer = sender.send_request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Answer { status: head.status, headers: head.headers, body })
        };
        let answer = timeout(PATIENCE, exchange).await.map_err(|_| Broken::Silence)?;
        let answer = answer.map_err(|_| Broken::Connection)?;
        self.idle[node].lock().unwrap().push(sender);
        Ok(answer)
    }

    async fn connection(&self, node: usize) -> Option<Sender> {
        loop {
            let Some(mut kept) = self.idle[node].lock().unwrap().pop() else { break };
            if kept.ready().await.is_ok() {
                return Some(kept);
            }
        }
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind((self.address, 0).into()).unwrap();
        let stream = socket.connect(self.nodes[node]).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        // Whoever sends on it hears of its end.
        tokio::spawn(connection);
        Some(sender)
    }
}
