//! What the server logs, for tests that look for what must not be there.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that were logged.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// All of them.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Captures as long as it is there.
pub struct Capture {
    _guard: DefaultGuard,
    /// While there is only one subscriber, a line that another thread is the first to reach is switched off for all of them,
    /// if that thread has none. So there are two.
    _second: Dispatch,
}

/// Captures everything that this thread logs, at every level, until the capture is dropped.
#[must_use]
pub fn capture_logs() -> (Logs, Capture) {
    let logs = Logs::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(logs.clone())
        .finish();
    let second = Dispatch::new(tracing_subscriber::registry());
    (logs, Capture { _guard: tracing::subscriber::set_default(subscriber), _second: second })
}
