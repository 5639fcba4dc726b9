//! One keep-alive HTTP/1.1 connection, written by hand: the load program must not be what is measured.
//!
//! It knows as much HTTP as the two servers speak: answers carry a Content-Length, and close nothing.

use std::io::Write as _;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An open connection with its buffers, used again for every request.
pub(crate) struct Connection {
    stream: TcpStream,
    authority: String,
    body: Vec<u8>,
    sent: Vec<u8>,
    received: Vec<u8>,
    head_bytes: usize,
    /// Counts the addresses in whose name requests are sent, if they are.
    forwarding: Option<u32>,
}

/// What came back, still in the connection's buffer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// The header `x-amzn-errortype`; empty when there is none.
    pub(crate) error_type: &'a str,
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// For messages: the status and the beginning of the body.
    pub(crate) fn describe(&self) -> String {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]).into_owned();
        format!("status {} {} {body}", self.status, self.error_type)
    }
}

impl Connection {
    /// Connects to `host:port`.
    pub(crate) async fn open(authority: &str) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(authority).await.with_context(|| format!("cannot connect to {authority}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            authority: authority.to_owned(),
            body: Vec::with_capacity(8 << 10),
            sent: Vec::with_capacity(8 << 10),
            received: Vec::with_capacity(16 << 10),
            head_bytes: 0,
            forwarding: None,
        })
    }

    /// Speaks as a proxy: each request comes from another address, of 65,536 in all, so that none asks too often.
    pub(crate) fn forwarding(mut self) -> Self {
        let port = self.stream.local_addr().map_or(0, |address| address.port());
        self.forwarding = Some(u32::from(port).wrapping_mul(2_654_435_761));
        self
    }

    /// Posts `message` as JSON.
    pub(crate) async fn post(&mut self, path: &str, message: &impl Serialize) -> anyhow::Result<Answer<'_>> {
        self.body.clear();
        serde_json::to_writer(&mut self.body, message)?;
        self.sent.clear();
        self.begin("POST", path);
        self.sent.extend_from_slice(b"content-type: application/json\r\ncontent-length: ");
        self.sent.extend_from_slice(self.body.len().to_string().as_bytes());
        self.sent.extend_from_slice(b"\r\n\r\n");
        self.sent.extend_from_slice(&self.body);
        self.exchange().await
    }

    /// Gets `path` (with its query) with the portal's bearer header.
    pub(crate) async fn get(&mut self, path: &str, bearer: &str) -> anyhow::Result<Answer<'_>> {
        self.sent.clear();
        self.begin("GET", path);
        self.sent.extend_from_slice(b"x-amz-sso_bearer_token: ");
        self.sent.extend_from_slice(bearer.as_bytes());
        self.sent.extend_from_slice(b"\r\n\r\n");
        self.exchange().await
    }

    /// Bytes in the body of the last answer.
    pub(crate) fn answered_bytes(&self) -> usize {
        self.received.len() - self.head_bytes
    }

    fn begin(&mut self, method: &str, path: &str) {
        for part in [method, " ", path, " HTTP/1.1\r\nhost: ", &self.authority, "\r\n"] {
            self.sent.extend_from_slice(part.as_bytes());
        }
        if let Some(count) = &mut self.forwarding {
            *count = count.wrapping_add(40_503);
            let [_, _, third, fourth] = count.to_be_bytes();
            let _ = write!(self.sent, "x-forwarded-for: 10.1.{third}.{fourth}\r\n");
        }
    }

    async fn exchange(&mut self) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(&self.sent).await.context("the request could not be sent")?;
        self.received.clear();
        let (head, whole) = loop {
            let read = self.stream.read_buf(&mut self.received).await.context("the answer broke off")?;
            ensure!(read > 0, "the server closed the connection instead of answering");
            if let Some(head) = Head::find(&self.received)? {
                let whole = head.bytes + head.content_length;
                if self.received.len() >= whole {
                    break (head, whole);
                }
            }
        };
        ensure!(self.received.len() == whole, "more came back than one answer");
        self.head_bytes = head.bytes;
        let error_type = std::str::from_utf8(&self.received[head.error_type.0..head.error_type.1])?;
        Ok(Answer { status: head.status, error_type, body: &self.received[head.bytes..] })
    }
}

#[derive(Debug, PartialEq)]
struct Head {
    bytes: usize,
    status: u16,
    content_length: usize,
    error_type: (usize, usize),
}

impl Head {
    /// The head at the start of `received`; none yet when its end has not arrived.
    fn find(received: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&received[..end]).context("the head is not text")?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "))
            .and_then(|line| line.get(..3))
            .and_then(|digits| digits.parse().ok())
            .with_context(|| format!("no HTTP/1.1 status line: {text}"))?;
        let mut content_length = None;
        let mut error_type = (0, 0);
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                bail!("not a header: {line}");
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                content_length = Some(value.parse().context("content-length is not a number")?);
            } else if name.eq_ignore_ascii_case("x-amzn-errortype") {
                let start = value.as_ptr().addr() - text.as_ptr().addr();
                error_type = (start, start + value.len());
            } else if name.eq_ignore_ascii_case("connection") {
                ensure!(!value.eq_ignore_ascii_case("close"), "the server does not keep the connection");
            }
        }
        let content_length = content_length.with_context(|| format!("no content-length: {text}"))?;
        Ok(Some(Self { bytes: end + 4, status, content_length, error_type }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_found_once_it_is_whole() {
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nx-amzn-ErrorType: SlowDown\r\n\r\n{}";
        for cut in 0..answer.len() - 2 {
            assert_eq!(Head::find(&answer[..cut]).unwrap(), None);
        }
        let head = Head::find(answer).unwrap().unwrap();
        assert_eq!((head.status, head.content_length, head.bytes), (400, 2, answer.len() - 2));
        assert_eq!(&answer[head.error_type.0..head.error_type.1], b"SlowDown");
    }

    #[test]
    fn an_answer_that_cannot_be_followed_by_another_is_an_error() {
        for answer in [
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ] {
            assert!(Head::find(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
