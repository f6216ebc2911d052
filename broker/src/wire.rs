//! Moves bytes between a stream and two buffers that hold memory only while they hold bytes.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

/// How many bytes one read takes at most.
const READ_SIZE: usize = 8 * 1024;

/// What a step on the stream did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// So many bytes came in.
    Read(usize),
    /// So many bytes went out; 0 if they had only been kept back below.
    Wrote(usize),
    /// The peer will send nothing more.
    Closed,
}

/// A stream with what was read from it and what is to be written to it.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    /// None while nothing is under way.
    buffers: Option<Box<Buffers>>,
    needs_flush: bool,
}

#[derive(Debug, Default)]
struct Buffers {
    input: BytesMut,
    output: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffers: None, needs_flush: false }
    }

    /// What was read.
    pub(crate) fn input(&mut self) -> &mut BytesMut {
        &mut self.buffers.get_or_insert_default().input
    }

    /// Whether there is something to decode.
    pub(crate) fn has_input(&self) -> bool {
        self.buffers.as_ref().is_some_and(|buffers| !buffers.input.is_empty())
    }

    /// What is to be written.
    pub(crate) fn output(&mut self) -> &mut BytesMut {
        &mut self.buffers.get_or_insert_default().output
    }

    /// Bytes that are to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.buffers.as_ref().map_or(0, |buffers| buffers.output.len())
    }

    /// Whether bytes wait for the peer to take them.
    pub(crate) fn is_writing(&self) -> bool {
        self.unwritten() > 0 || self.needs_flush
    }

    /// Reads (if wanted) or writes (if there is something), whichever is possible first. May
    /// be cancelled at any time without losing a byte.
    pub(crate) async fn progress(&mut self, want_read: bool) -> io::Result<Progress> {
        std::future::poll_fn(|cx| self.poll_progress(cx, want_read)).await
    }

    /// Gives the memory of an input buffer back that was read to its end.
    pub(crate) fn release_input(&mut self) {
        let Some(buffers) = &mut self.buffers else { return };
        if buffers.input.is_empty() && buffers.output.is_empty() {
            self.buffers = None;
        } else if buffers.input.is_empty() && buffers.input.capacity() > 0 {
            buffers.input = BytesMut::new();
        }
    }

    /// Writes what is left, says goodbye and waits for the peer's end, so that the last packet
    /// is not destroyed by a reset; all within `limit`.
    pub(crate) async fn close(&mut self, limit: Duration) {
        let goodbye = async {
            while self.is_writing() {
                self.progress(false).await?;
            }
            std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
            while self.progress(true).await? != Progress::Closed {
                self.input().clear();
            }
            Ok::<_, io::Error>(())
        };
        if let Ok(Err(error)) = timeout(limit, goodbye).await {
            tracing::trace!(%error, "the peer was gone before the last packet");
        }
    }

    pub(crate) fn poll_progress(
        &mut self,
        cx: &mut Context<'_>,
        want_read: bool,
    ) -> Poll<io::Result<Progress>> {
        if let Poll::Ready(written) = self.poll_output(cx) {
            return Poll::Ready(written.map(Progress::Wrote));
        }
        if want_read { self.poll_input(cx) } else { Poll::Pending }
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let output = self.buffers.as_mut().map(|buffers| &mut buffers.output);
        if let Some(output) = output.filter(|output| !output.is_empty()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(written);
            if output.is_empty() {
                *output = BytesMut::new();
            }
            self.needs_flush = true;
            return Poll::Ready(Ok(written));
        }
        if self.needs_flush {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.needs_flush = false;
            return Poll::Ready(Ok(0));
        }
        Poll::Pending
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Progress>> {
        // On the stack of this call, so that an idle connection keeps no buffer.
        let mut scratch = [const { MaybeUninit::uninit() }; READ_SIZE];
        let mut buffer = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        self.input().extend_from_slice(read);
        Poll::Ready(Ok(if read.is_empty() { Progress::Closed } else { Progress::Read(read.len()) }))
    }
}
