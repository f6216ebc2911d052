//! One blob on its way to the daemon: first what is on the disk, then what the registry has beyond
//! that, no faster than it may come. A break is taken up where it was.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{Response, StatusCode};
use tokio::task::spawn_blocking;

use super::Shared;
use super::cache::Part;

/// How much is read from the disk at once.
const PIECE: usize = 128 * 1024;
/// How often a break is taken up without a byte in between; about two minutes.
const TRIES: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the daemon gets of a blob. It does something only while it is asked for the next piece,
/// so that whoever goes away takes everything with him.
pub(super) struct Reader {
    shared: Arc<Shared>,
    digest: String,
    size: u64,
    /// What the daemon has.
    at: u64,
    /// What has come from the registry in this attempt, from the beginning of the blob on.
    come: u64,
    part: Option<Part>,
    answer: Option<Response>,
    /// What is left of the last piece of the answer.
    rest: Bytes,
    failures: u32,
}

impl Reader {
    /// A reader of a blob of `size` bytes, from a byte on.
    pub(super) async fn open(
        shared: Arc<Shared>,
        digest: String,
        size: u64,
        at: u64,
    ) -> io::Result<Self> {
        let part = match shared.cache.clone() {
            None => None,
            Some(cache) => {
                let of = digest.clone();
                blocking(move || cache.open(&of, size)).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "a part of an image cannot be kept while it comes");
                    None
                })
            }
        };
        let come = part.as_ref().map_or(at, Part::length);
        Ok(Self {
            shared,
            digest,
            size,
            at,
            come,
            part,
            answer: None,
            rest: Bytes::new(),
            failures: 0,
        })
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.at >= self.size {
            return None;
        }
        let piece = self.piece().await;
        if let Ok(piece) = &piece {
            self.at = self.at.saturating_add(length(piece));
        }
        Some(piece)
    }

    async fn piece(&mut self) -> io::Result<Bytes> {
        if self.at < self.come
            && let Some(mut part) = self.part.take()
        {
            let at = self.at;
            let (part, read) = blocking(move || {
                let read = part.read(at, PIECE);
                Ok((part, read))
            })
            .await?;
            self.part = Some(part);
            return read.map(Bytes::from);
        }
        loop {
            let bytes = self.fetch().await?;
            let before = self.come;
            self.come = self.come.saturating_add(length(&bytes));
            if self.come > self.size {
                return Err(self.fail("the registry sends more than it said"));
            }
            self.keep(&bytes).await?;
            if self.come > self.at {
                let known = usize::try_from(self.at.saturating_sub(before)).unwrap_or_default();
                return Ok(bytes.slice(known.min(bytes.len())..));
            }
        }
    }

    /// Writes down what has come. A disk that does not take it keeps nobody from an image.
    async fn keep(&mut self, bytes: &Bytes) -> io::Result<()> {
        let Some(mut part) = self.part.take() else { return Ok(()) };
        let (bytes, is_whole, digest) =
            (bytes.clone(), self.come == self.size, self.digest.clone());
        let kept = blocking(move || {
            let kept = part
                .append(&bytes)
                .and_then(|()| if is_whole { part.is_right(&digest) } else { Ok(true) });
            if kept.is_err() {
                drop(part.discard());
            }
            kept.map(|is_right| (part, is_right))
        });
        match kept.await {
            Ok((part, true)) => self.part = Some(part),
            Ok((_, false)) => return Err(self.fail("the registry sends something else")),
            Err(error) => {
                tracing::warn!(%error, "a part of an image cannot be kept while it comes");
            }
        }
        Ok(())
    }

    /// The next bytes of the registry, when they may come.
    async fn fetch(&mut self) -> io::Result<Bytes> {
        loop {
            if !self.rest.is_empty() {
                return Ok(std::mem::take(&mut self.rest));
            }
            let came = match &mut self.answer {
                Some(answer) => answer.chunk().await.map_err(reqwest::Error::without_url),
                None => match self.ask().await {
                    Ok(()) => continue,
                    Err(reason) => {
                        self.pause(&reason).await?;
                        continue;
                    }
                },
            };
            match came {
                Ok(Some(bytes)) if bytes.is_empty() => {}
                Ok(Some(bytes)) => {
                    self.failures = 0;
                    self.shared.wait_for(bytes.len()).await;
                    return Ok(bytes);
                }
                Ok(None) => self.pause("the registry broke off").await?,
                Err(error) => self.pause(&crate::chain(&error)).await?,
            }
        }
    }

    async fn ask(&mut self) -> Result<(), String> {
        let upstream = &self.shared.upstream;
        let answer = upstream.blob(&self.digest, self.come).await;
        let mut answer = answer.map_err(|error| crate::chain(&error))?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK => {
                // Whoever knows no ranges sends what is here once more.
                let mut again = self.come;
                while again > 0 {
                    let piece = answer.chunk().await.map_err(|error| crate::chain(&error))?;
                    let piece = piece.ok_or("the registry broke off")?;
                    self.shared.wait_for(piece.len()).await;
                    let known = usize::try_from(again).unwrap_or(usize::MAX).min(piece.len());
                    self.rest = piece.slice(known..);
                    again = again.saturating_sub(length(&piece));
                }
            }
            status => return Err(format!("the registry answers {status}")),
        }
        self.answer = Some(answer);
        Ok(())
    }

    async fn pause(&mut self, reason: &str) -> io::Result<()> {
        (self.answer, self.rest) = (None, Bytes::new());
        self.failures += 1;
        if self.failures > TRIES {
            return Err(self.fail(reason));
        }
        tracing::debug!(digest = self.digest, reason, come = self.come, "a pull is taken up again");
        let pause = Duration::from_secs(1 << self.failures.min(5)).min(LONGEST_PAUSE);
        tokio::time::sleep(pause / 2).await;
        Ok(())
    }

    fn fail(&self, reason: &str) -> io::Error {
        self.shared.failed(reason);
        io::Error::other(reason.to_owned())
    }
}

impl Shared {
    /// Holds whoever has got bytes up until more may come.
    pub(super) async fn wait_for(&self, bytes: usize) {
        let Some(rate) = self.rate() else { return };
        let wait = self.bucket().take(Instant::now(), bytes, rate);
        tokio::time::sleep(wait).await;
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Does something with the disk; also to its end when nobody waits for it any more.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
