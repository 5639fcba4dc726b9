//! Request bodies whose length nobody tells.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;

/// How a body without a length ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ends.
    Whole,
    /// Nothing more comes, and it does not end.
    Never,
}

struct Chunks {
    rest: VecDeque<Bytes>,
    ending: Ending,
}

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.rest.pop_front(), self.ending) {
            (Some(chunk), _) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            (None, Ending::Whole) => Poll::Ready(None),
            (None, Ending::Never) => Poll::Pending,
        }
    }
}

/// A body that comes in chunks, as with `Transfer-Encoding: chunked`.
pub fn chunked(chunks: impl IntoIterator<Item = Bytes>, ending: Ending) -> Body {
    Body::new(Chunks { rest: chunks.into_iter().collect(), ending })
}
