//! A connection whose peer must read what it asked for.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// A peer that reads more slowly than this, in bytes a second, is cut off in the end.
const RATE: u64 = 32 * 1024;

/// A stream whose writes fail once the peer has taken too little for too long.
pub(super) struct Timed {
    stream: TcpStream,
    limit: Duration,
    behind: Option<Behind>,
}

/// The peer has not taken all that was written.
struct Behind {
    since: Instant,
    taken: u64,
    timer: Pin<Box<Sleep>>,
}

impl Timed {
    /// `limit` is how long the peer may take nothing; a second more for each 32 KiB that it takes.
    pub(super) fn new(stream: TcpStream, limit: Duration) -> Self {
        Self { stream, limit, behind: None }
    }

    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                if let Some(behind) = &mut self.behind {
                    behind.taken += bytes as u64;
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let limit = self.limit;
                let behind = self.behind.get_or_insert_with(|| Behind {
                    since: Instant::now(),
                    taken: 0,
                    timer: Box::pin(sleep(limit)),
                });
                let earned = Duration::from_millis(behind.taken.saturating_mul(1_000) / RATE);
                behind.timer.as_mut().reset(behind.since + limit + earned);
                ready!(behind.timer.as_mut().poll(cx));
                let what = "the client does not read what it asked for";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
            }
        }
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The server flushes when it has written all that it has: the peer is not behind any more.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.behind = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
