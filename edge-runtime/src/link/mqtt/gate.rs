//! The MQTT client dials only by itself; this lets it reach a connection that was made for it: a
//! socket that only this process can pass, once, and what copies bytes behind it.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};

/// A socket in Linux' abstract namespace: no file, and gone with the process.
pub(super) struct Gate {
    name: String,
    listener: UnixListener,
}

impl Gate {
    pub(super) fn open() -> io::Result<Self> {
        let name = format!("\0gnomon-edge-{}", uuid::Uuid::new_v4());
        let listener = UnixListener::bind(&name)?;
        Ok(Self { name, listener })
    }

    /// What the client dials.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Lets the client in and carries bytes between it and the wire until one of them ends.
    pub(super) async fn carry<S>(self, mut wire: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut client = self.admit().await?;
        drop(self);
        copy_bidirectional(&mut client, &mut wire).await.map(|_| ())
    }

    async fn admit(&self) -> io::Result<UnixStream> {
        let own = i32::try_from(std::process::id()).ok();
        loop {
            let (stream, _) = self.listener.accept().await?;
            if own.is_some() && stream.peer_cred()?.pid() == own {
                return Ok(stream);
            }
            tracing::warn!("another process came to the link's own socket and was turned away");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn this_process_passes_and_bytes_go_both_ways() {
        let gate = Gate::open().unwrap();
        let name = gate.name().to_owned();
        let (mut far, near) = tokio::io::duplex(64);
        let carrying = tokio::spawn(gate.carry(near));
        let mut client = UnixStream::connect(&name).await.unwrap();
        client.write_all(b"up").await.unwrap();
        let mut two = [0; 2];
        far.read_exact(&mut two).await.unwrap();
        far.write_all(b"ok").await.unwrap();
        client.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"ok");
        drop((client, far));
        tokio::time::timeout(Duration::from_secs(5), carrying).await.unwrap().unwrap().unwrap();
        assert!(UnixStream::connect(&name).await.is_err(), "it is closed behind the one");
    }
}
