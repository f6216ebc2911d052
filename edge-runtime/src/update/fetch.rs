//! Fetches a program: what is there is not fetched again, what comes is bounded by the size that
//! was signed, and nothing is run before its digest was right.

use std::io::SeekFrom;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::StatusCode;
use reqwest::header::RANGE;
use tokio::fs::OpenOptions;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::busy;
use super::disk::{self, Disk, DiskError};
use super::order::Order;
use super::start::MARKS;
use super::state::Release;

/// A server that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_mins(1);
/// A program that is asked for its version gets this long.
const CHECK: Duration = Duration::from_secs(20);

/// Why a program is not here yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The server does not send it.
    #[error("{url} cannot be fetched")]
    Http {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// The server sends something else.
    #[error("{url} answers {status}")]
    Status { url: String, status: StatusCode },
    /// There is more or less of it.
    #[error("{url} is not {size} bytes long")]
    Size { url: String, size: u64 },
    /// It is another file.
    #[error("{url} is not the file that was signed; it was removed")]
    Digest { url: String },
    /// It cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It does not run on this machine.
    #[error("the fetched program does not run here: {0}")]
    Check(String),
}

impl FetchError {
    /// Whether fetching it again would end the same.
    pub(super) const fn is_final(&self) -> bool {
        matches!(self, Self::Check(_))
    }
}

/// Fetches what an order names, unless it is here.
pub(super) async fn fetch(
    client: &reqwest::Client,
    disk: &Disk,
    order: &Order,
    release: &Release,
) -> Result<(), FetchError> {
    if !disk.is_whole(release) {
        download(client, disk, order, release).await?;
    }
    check(&disk.program(release)).await
}

async fn download(
    client: &reqwest::Client,
    disk: &Disk,
    order: &Order,
    release: &Release,
) -> Result<(), FetchError> {
    let url = || order.url.clone();
    let io = || DiskError::new("writing the fetched program");
    disk.make().map_err(io())?;
    let part = disk.part(release);
    let mut options = OpenOptions::new();
    let mut file =
        options.create(true).truncate(false).write(true).open(&part).await.map_err(io())?;
    let mut have = file.metadata().await.map_err(io())?.len();
    if have > order.size {
        file.set_len(0).await.map_err(io())?;
        have = 0;
    }
    if have < order.size {
        let http = |source| FetchError::Http { url: url(), source };
        let mut request = client.get(&order.url);
        if have > 0 {
            request = request.header(RANGE, format!("bytes={have}-"));
        }
        let response = request.send().await.map_err(http)?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if have > 0 => {}
            StatusCode::OK => {
                file.set_len(0).await.map_err(io())?;
                have = 0;
            }
            status => return Err(FetchError::Status { url: url(), status }),
        }
        file.seek(SeekFrom::Start(have)).await.map_err(io())?;
        let mut bytes = response.bytes_stream();
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(http)?;
            have = have.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            if have > order.size {
                file.set_len(0).await.map_err(io())?;
                return Err(FetchError::Size { url: url(), size: order.size });
            }
            file.write_all(&chunk).await.map_err(io())?;
            file.flush().await.map_err(io())?;
        }
    }
    drop(file);
    if have < order.size {
        return Err(FetchError::Size { url: url(), size: order.size });
    }
    let (found, _) = disk::digest(&part).map_err(io())?;
    if found != order.sha256 {
        tokio::fs::remove_file(&part).await.map_err(io())?;
        return Err(FetchError::Digest { url: url() });
    }
    Ok(disk.finish(release)?)
}

/// Whether a program runs at all: it is asked for its version.
async fn check(program: &Path) -> Result<(), FetchError> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true);
    for mark in MARKS {
        command.env_remove(mark);
    }
    match tokio::time::timeout(CHECK, busy::status(&mut command)).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(FetchError::Check(status.to_string())),
        Ok(Err(error)) => Err(FetchError::Check(error.to_string())),
        Err(_) => Err(FetchError::Check(format!("no answer within {} s", CHECK.as_secs()))),
    }
}

/// A client that is patient with slow servers and not with silent ones.
pub(super) fn client(proxy: Option<reqwest::Proxy>) -> reqwest::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().connect_timeout(SILENCE).read_timeout(SILENCE);
    let builder = match proxy {
        Some(proxy) => builder.proxy(proxy),
        None => builder.no_proxy(),
    };
    builder.build()
}
