//! MQTT over WebSocket: a stream of the bytes that the frames of a client hold.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

mod frames;
mod request;

use frames::{Control, Decoder, FrameError, Kind};
use request::RequestError;

/// Why a connection is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpgradeError {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("the request is refused")]
    Request(#[source] RequestError),
    #[error("the connection was closed before a complete request")]
    Closed,
}

/// How much one read takes, and one frame of ours holds, at most.
const CHUNK: usize = 8 * 1024;

/// Answers to control frames that wait for the peer, at most; more are not sent.
const ANSWERS: usize = 1024;

/// A WebSocket that carries MQTT.
#[derive(Debug)]
pub(crate) struct WebSocket<S> {
    stream: S,
    decoder: Decoder,
    /// What came with the request.
    early: BytesMut,
    /// Frames that the peer has not taken.
    output: BytesMut,
    /// The peer sends nothing more.
    is_closed: bool,
    has_said_goodbye: bool,
}

/// Reads the request for a WebSocket and answers it.
pub(crate) async fn accept<S>(mut stream: S) -> Result<WebSocket<S>, UpgradeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = BytesMut::new();
    loop {
        match request::read(&bytes) {
            Ok(Some(upgrade)) => {
                bytes.advance(upgrade.len);
                stream.write_all(upgrade.response.as_bytes()).await?;
                stream.flush().await?;
                return Ok(WebSocket {
                    stream,
                    decoder: Decoder::default(),
                    early: bytes,
                    output: BytesMut::new(),
                    is_closed: false,
                    has_said_goodbye: false,
                });
            }
            Ok(None) => {}
            Err(error) => {
                stream.write_all(error.response()).await?;
                stream.shutdown().await?;
                return Err(UpgradeError::Request(error));
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(UpgradeError::Closed);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    fn take(&mut self, bytes: &mut [u8], into: &mut ReadBuf<'_>) -> Result<(), FrameError> {
        let controls = self.decoder.feed(bytes, |content| into.put_slice(content))?;
        for control in controls {
            let (kind, content) = match control {
                Control::Ping(content) => (Kind::Pong, content),
                Control::Close => {
                    self.is_closed = true;
                    self.has_said_goodbye = true;
                    (Kind::Close, Vec::new())
                }
            };
            if self.output.len() < ANSWERS {
                self.output.extend_from_slice(&frames::header(kind, content.len()));
                self.output.extend_from_slice(&content);
            }
        }
        Ok(())
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
        }
        self.output = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let refused = |error: FrameError| io::Error::new(io::ErrorKind::InvalidData, error);
        let before = into.filled().len();
        while into.filled().len() == before && !this.is_closed && into.remaining() > 0 {
            // Content is never longer than the frames that it comes in.
            if !this.early.is_empty() {
                let count = this.early.len().min(into.remaining());
                let mut bytes = this.early.split_to(count);
                this.take(&mut bytes, into).map_err(refused)?;
                continue;
            }
            let mut scratch = [const { MaybeUninit::uninit() }; CHUNK];
            let room = into.remaining().min(CHUNK);
            let mut raw = ReadBuf::uninit(scratch.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut raw))?;
            if raw.filled().is_empty() {
                break;
            }
            this.take(raw.filled_mut(), into).map_err(refused)?;
            if let Poll::Ready(Err(error)) = this.poll_output(cx) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_output(cx))?;
        let content = bytes.get(..CHUNK).unwrap_or(bytes);
        this.output.extend_from_slice(&frames::header(Kind::Binary, content.len()));
        this.output.extend_from_slice(content);
        if let Poll::Ready(Err(error)) = this.poll_output(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(content.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_output(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.has_said_goodbye {
            this.has_said_goodbye = true;
            this.output.extend_from_slice(&frames::header(Kind::Close, 0));
        }
        ready!(this.poll_output(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
