//! Something between a node and its server that counts what passes, and loses an answer on demand.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// A proxy in front of a server's socket.
pub(crate) struct Proxy {
    dir: TempDir,
    wire: Arc<Wire>,
}

#[derive(Default)]
struct Wire {
    /// What a message must contain for its answer to be lost.
    marker: Mutex<Option<Vec<u8>>>,
    lost: AtomicBool,
    requests: AtomicUsize,
}

impl Proxy {
    pub(crate) fn before(socket: &Path) -> Self {
        let (dir, wire) = (TempDir::new().unwrap(), Arc::new(Wire::default()));
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let (socket, shared) = (socket.to_owned(), wire.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (socket, wire) = (socket.clone(), shared.clone());
                tokio::spawn(async move { wire.pass(client, &socket).await });
            }
        });
        Self { dir, wire }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Lets the next message with `marker` in it through, but not what is answered: the connection is lost instead.
    pub(crate) fn lose_the_answer_to(&self, marker: &[u8]) {
        *self.wire.marker.lock().unwrap() = Some(marker.to_vec());
        self.wire.lost.store(false, Ordering::SeqCst);
    }

    /// Whether that has happened.
    pub(crate) fn has_lost(&self) -> bool {
        self.wire.lost.load(Ordering::SeqCst)
    }

    /// How many times a client has sent something.
    pub(crate) fn requests(&self) -> usize {
        self.wire.requests.load(Ordering::SeqCst)
    }
}

impl Wire {
    async fn pass(&self, mut client: UnixStream, socket: &Path) {
        let mut server = UnixStream::connect(socket).await.unwrap();
        let (mut from_client, mut from_server) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            tokio::select! {
                read = client.read(&mut from_client) => {
                    let Ok(read @ 1..) = read else { return };
                    self.requests.fetch_add(1, Ordering::SeqCst);
                    let loses = self.loses(&from_client[..read]);
                    if server.write_all(&from_client[..read]).await.is_err() {
                        return;
                    }
                    if loses {
                        // The server has answered, so it has done what it was asked.
                        let _ = server.read(&mut from_server).await;
                        self.lost.store(true, Ordering::SeqCst);
                        return;
                    }
                }
                read = server.read(&mut from_server) => {
                    let Ok(read @ 1..) = read else { return };
                    if client.write_all(&from_server[..read]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn loses(&self, message: &[u8]) -> bool {
        let mut marker = self.marker.lock().unwrap();
        let found =
            marker.as_ref().is_some_and(|marker| message.windows(marker.len()).any(|part| part == marker));
        if found {
            *marker = None;
        }
        found
    }
}
