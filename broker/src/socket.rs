//! TCP sockets that cost little memory while nothing happens: all of a broker are watched by one
//! task, with a few bytes for each. The runtime's own sockets take several hundred.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use mio::Interest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

mod slots;
mod watch;

use slots::{Key, Ready, Slots};
pub(crate) use watch::Watch;

/// A socket, watched from its first use to its end.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: mio::net::TcpStream,
    key: Key,
    /// What may be tried without asking the watch.
    ready: Ready,
    slots: Arc<Slots>,
}

impl Socket {
    fn new(stream: TcpStream, registry: &mio::Registry, slots: &Arc<Slots>) -> io::Result<Self> {
        let stream = mio::net::TcpStream::from_std(stream);
        let key = slots.take();
        let ready = Ready::READ | Ready::WRITE;
        let mut socket = Self { stream, key, ready, slots: Arc::clone(slots) };
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut socket.stream, key.token(), both)?;
        Ok(socket)
    }

    /// Tries until it works, or until nothing of the kind is possible for now.
    fn poll_io<T>(
        &mut self,
        cx: &Context<'_>,
        kind: Ready,
        mut attempt: impl FnMut(&mut mio::net::TcpStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            if !self.ready.has(kind) {
                ready!(self.slots.poll_ready(self.key, kind, cx));
                self.ready = self.ready | kind;
            }
            match attempt(&mut self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = self.ready.without(kind);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = buffer.remaining();
        let attempt = |stream: &mut mio::net::TcpStream| stream.read(buffer.initialize_unfilled());
        let count = ready!(this.poll_io(cx, Ready::READ, attempt))?;
        buffer.advance(count);
        if count > 0 && count < room {
            // There was no more; what comes later is told.
            this.ready = this.ready.without(Ready::READ);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_io(cx, Ready::WRITE, |stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_io(cx, Ready::WRITE, |stream| stream.write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Closing takes it out of the watch; a late event would only make another try once more.
        self.slots.give_back(self.key);
    }
}

#[cfg(test)]
mod tests;
