//! Pulls that are kept below a rate, or that go on where they were broken off: the daemon can do
//! neither. It pulls from this program, on loopback, and this program from the registry. Only where
//! that is desired; otherwise the daemon pulls by itself.

mod blob;
mod bucket;
mod cache;
mod challenge;
mod manifest;
mod reference;
mod server;
#[cfg(test)]
mod tests;
mod trust;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::errors::Error as ClientError;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions, TagImageOptionsBuilder};
use bytes::Bytes;
use gnomon_schemas::hex;
use gnomon_schemas::node::{NodeSettings, PullSettings};
use hyper::StatusCode;
use rand::RngExt as _;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use ring::digest::SHA256;
use tokio::sync::watch;

use super::{ANSWER, Docker, DockerError, WORK, image};
use bucket::Bucket;
use cache::Cache;
use manifest::Named;
use reference::{Mark, Reference, Wanted};
use server::Server;
use upstream::{Manner, Upstream, UpstreamError};

/// No manifest is longer; the daemon takes no longer one either.
const MANIFEST_BYTES: usize = 4 << 20;
/// The most manifests of one pull that are kept.
const MANIFESTS: usize = 64;

/// What the pulls of a node share.
#[derive(Debug, Clone)]
pub(super) struct Relays {
    cache: Cache,
    /// Pulls are tasks of their own and share the rate; the lock is held for a sum.
    bucket: Arc<Mutex<Bucket>>,
    /// The keys of the pulls that go on. Pulls are tasks of their own; the lock is held for a look.
    active: Arc<Mutex<BTreeSet<String>>>,
}

/// A pull that goes on, by its key; it ends when this is dropped.
#[derive(Debug)]
struct Active {
    key: String,
    among: Arc<Mutex<BTreeSet<String>>>,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.among.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What the daemon's requests for one image share.
#[derive(Debug)]
pub(super) struct Shared {
    upstream: Upstream,
    reference: Reference,
    /// The path of the repository with its unguessable part.
    place: String,
    cache: Option<Cache>,
    bucket: Arc<Mutex<Bucket>>,
    told: watch::Receiver<NodeSettings>,
    /// The daemon asks on several connections; the lock is held for a look.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    named: Named,
    /// The manifests that have come, with their types.
    manifests: BTreeMap<String, (String, Bytes)>,
    failure: Option<String>,
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManifestError {
    /// It is not that of the image that is being pulled.
    #[error("manifest unknown")]
    Unknown,
    /// The registry lets nobody in.
    #[error("authentication required")]
    Unauthorized,
    /// The registry does not give it.
    #[error("the registry does not give the manifest")]
    Failed,
}

impl ManifestError {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Failed => StatusCode::BAD_GATEWAY,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "MANIFEST_UNKNOWN",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Failed => "UNAVAILABLE",
        }
    }
}

impl Relays {
    pub(super) fn new(dir: PathBuf, limit: u64) -> Self {
        Self { cache: Cache::new(dir, limit), bucket: Arc::default(), active: Arc::default() }
    }

    fn begin(&self, key: String) -> Active {
        let among = Arc::clone(&self.active);
        among.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        Active { key, among }
    }

    /// Whether a name is that of a pull that goes on.
    fn is_active(&self, name: &str) -> bool {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        name.split('/').nth(1).is_some_and(|key| active.contains(key))
    }

    /// Gives the disk back when nothing is to be taken up again.
    pub(super) fn configure(&self, pulls: &PullSettings) {
        if !pulls.resume {
            self.cache.clear();
        }
    }
}

/// Whether pulls go through here.
pub(super) const fn is_wanted(pulls: &PullSettings) -> bool {
    pulls.resume || pulls.kib_per_s.is_some()
}

/// Pulls an image that is not here.
pub(super) async fn pull(
    docker: &Docker,
    image: &str,
    came: &(dyn Fn(u8) + Send + Sync),
) -> Result<(), DockerError> {
    let bad = |message: String| DockerError::Pull { image: image.to_owned(), message };
    let reference = Reference::read(image).ok_or_else(|| bad("it is no reference".to_owned()))?;
    let mark = Mark::of(&digest_hex(docker.settings.node.as_str().as_bytes()));
    sweep(docker, &mark).await;
    let info = docker.client(ANSWER)?.info().await;
    let info = info.map_err(|error| docker.failed("ask how it pulls", error))?;
    let manner = Manner::of(info, &docker.settings.certs_dir);
    let credentials = docker.credentials(&reference.registry);
    let upstream = Upstream::connect(&manner, reference.clone(), credentials).await;
    let upstream = upstream.map_err(|error| lost(image, &error))?;
    let server = Server::bind().await.map_err(|error| bad(error.to_string()))?;
    let key = mark.key(&hex::of(&rand::rng().random::<[u8; 16]>()));
    let _active = docker.relays.begin(key.clone());
    let local = reference.through(server.port(), &key);
    let is_resumed = docker.told.borrow().pulls.resume;
    let shared = Arc::new(Shared {
        upstream,
        place: format!("{key}/{}", reference.repository),
        cache: is_resumed.then(|| docker.relays.cache.clone()),
        bucket: Arc::clone(&docker.relays.bucket),
        told: docker.told.subscribe(),
        seen: Mutex::default(),
        reference,
    });
    let port = server.port();
    let pulled = tokio::select! {
        () = server.serve(Arc::clone(&shared)) => Ok(()),
        pulled = image::as_anyone(docker, &local, came) => pulled,
    };
    pulled.map_err(|error| shared.explain(docker, image, port, error))?;
    let named = name(docker, image, &local, &shared.reference).await;
    remove(docker, &local).await;
    named?;
    if let Some(cache) = &shared.cache {
        cache.forget(shared.seen().named.blobs());
    }
    Ok(())
}

/// Gives an image the name that was wanted. A digest cannot be given as a name: the daemon asks for
/// it once more, and finds that it has everything.
async fn name(
    docker: &Docker,
    image: &str,
    local: &str,
    reference: &Reference,
) -> Result<(), DockerError> {
    match &reference.wanted {
        Wanted::Tag(tag) => {
            let repository = format!("{}/{}", reference.registry, reference.repository);
            let options = TagImageOptionsBuilder::new().repo(&repository).tag(tag).build();
            let tagged = docker.client(WORK)?.tag_image(local, Some(options)).await;
            tagged.map_err(|error| docker.failed(format!("name {image}"), error))
        }
        Wanted::Digest(_) => image::directly(docker, image, &|_| {}).await,
    }
}

/// Takes a name of a relay off an image.
async fn remove(docker: &Docker, local: &str) {
    let Ok(client) = docker.client(WORK) else { return };
    let removed = client.remove_image(local, None::<RemoveImageOptions>, None).await;
    if let Err(error) = removed {
        tracing::debug!(local, %error, "a name of a pull stays until the next one");
    }
}

/// Takes off the names that pulls left which did not come to their end, and what is old on the disk.
async fn sweep(docker: &Docker, mark: &Mark) {
    let cache = docker.relays.cache.clone();
    drop(tokio::task::spawn_blocking(move || cache.sweep()).await);
    let Ok(client) = docker.client(ANSWER) else { return };
    let Ok(images) = client.list_images(None::<ListImagesOptions>).await else { return };
    for found in images {
        // By its digest only where it has no tag of the pull: that takes the digest with it.
        let is_left = |name: &&String| mark.is_on(name) && !docker.relays.is_active(name);
        let tags: Vec<_> = found.repo_tags.iter().filter(is_left).collect();
        let digests = found.repo_digests.iter().filter(is_left).filter(|_| tags.is_empty());
        for name in tags.iter().copied().chain(digests) {
            remove(docker, name).await;
        }
    }
}

fn lost(image: &str, error: &UpstreamError) -> DockerError {
    let (image, message) = (image.to_owned(), crate::chain(error));
    match error {
        UpstreamError::Denied { .. } => DockerError::ImageForbidden { image, message },
        UpstreamError::Unreachable { .. }
        | UpstreamError::Challenge(_)
        | UpstreamError::Busy { .. }
        | UpstreamError::Trust { .. } => DockerError::Pull { image, message },
    }
}

impl Shared {
    /// What an address must begin with behind `/v2/`.
    fn place(&self) -> &str {
        &self.place
    }

    fn blob(&self, digest: &str) -> Option<u64> {
        self.seen().named.blob(digest)
    }

    /// The bytes in a second, if there is a limit; the last word of the cloud counts.
    fn rate(&self) -> Option<u64> {
        self.told.borrow().pulls.kib_per_s.map(|kib| u64::from(kib.get()) << 10)
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what went wrong, since the daemon tells only that something did.
    fn failed(&self, reason: &str) {
        self.seen().failure = Some(reason.to_owned());
    }

    /// A manifest of the image that is pulled, with its status and its type.
    async fn manifest(
        &self,
        wanted: &str,
        accept: &[HeaderValue],
    ) -> Result<(StatusCode, String, Bytes), ManifestError> {
        let is_digest = manifest::is_digest(wanted);
        if wanted != self.reference.wanted() && !self.seen().named.has_manifest(wanted) {
            return Err(ManifestError::Unknown);
        }
        if let Some((kind, body)) = self.seen().manifests.get(wanted).cloned() {
            return Ok((StatusCode::OK, kind, body));
        }
        let mut answer = self.upstream.manifest(wanted, accept).await.map_err(|error| {
            self.failed(&crate::chain(&error));
            match error {
                UpstreamError::Denied { .. } => ManifestError::Unauthorized,
                UpstreamError::Unreachable { .. }
                | UpstreamError::Challenge(_)
                | UpstreamError::Busy { .. }
                | UpstreamError::Trust { .. } => ManifestError::Failed,
            }
        })?;
        let status = answer.status();
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or("application/json").to_owned();
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| {
            self.failed(&crate::chain(&error.without_url()));
            ManifestError::Failed
        })? {
            body.extend_from_slice(&piece);
            if body.len() > MANIFEST_BYTES {
                self.failed("its manifest is too long");
                return Err(ManifestError::Failed);
            }
        }
        let body = Bytes::from(body);
        if status.is_success() {
            if is_digest && digest(&body) != wanted {
                self.failed("the registry sends another manifest than the one that is wanted");
                return Err(ManifestError::Failed);
            }
            self.learn(wanted, &kind, &body);
        } else if status.is_server_error() {
            self.failed(&format!("the registry answers {status}"));
        }
        Ok((status, kind, body))
    }

    /// What was asked for by its tag is asked for by its digest, too.
    fn learn(&self, wanted: &str, kind: &str, body: &Bytes) {
        let mut seen = self.seen();
        seen.named.learn(body);
        for name in [wanted.to_owned(), digest(body)] {
            seen.named.permit(&name);
            if seen.manifests.len() < MANIFESTS {
                seen.manifests.insert(name, (kind.to_owned(), body.clone()));
            }
        }
    }

    /// What went wrong, in terms of the image that was wanted.
    fn explain(&self, docker: &Docker, image: &str, port: u16, error: ClientError) -> DockerError {
        let Reference { registry, repository, .. } = &self.reference;
        let plain = |text: String| {
            let text = text.replace(&format!("127.0.0.1:{port}/v2/{}", self.place), repository);
            let text = text.replace(&format!("127.0.0.1:{port}"), registry);
            text.replace(&self.place, repository)
        };
        #[expect(clippy::wildcard_enum_match_arm, reason = "the others hold no text of the daemon")]
        let error = match error {
            ClientError::DockerResponseServerError { status_code, message } => {
                ClientError::DockerResponseServerError { status_code, message: plain(message) }
            }
            ClientError::DockerStreamError { error } => {
                ClientError::DockerStreamError { error: plain(error) }
            }
            other => other,
        };
        let error = image::explain(image, docker.failed(format!("pull {image}"), error));
        match (error, self.seen().failure.clone()) {
            (DockerError::Pull { image, .. }, Some(message)) => {
                DockerError::Pull { image, message }
            }
            (error, _) => error,
        }
    }
}

/// The digest of a manifest as it is named.
fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", digest_hex(bytes))
}

fn digest_hex(bytes: &[u8]) -> String {
    hex::of(ring::digest::digest(&SHA256, bytes).as_ref())
}
