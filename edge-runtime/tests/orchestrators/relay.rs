//! Pulls through the agent: below a rate, going on where they were broken off, with the wanted name
//! in the end. On a real daemon and a real registry, with a line between that can be cut.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gnomon_edge::orchestrator::Orchestrator;
use gnomon_edge::orchestrator::images::registry;
use gnomon_schemas::app::SecretText;
use gnomon_schemas::node::{Credentials, NodeSettings, PullSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::bench::{Bench, eventually, slot};
use crate::daemon::{IMAGE, docker};
use crate::registry::{PASSWORD, Registry, USER};
use crate::tokens::Tokens;

/// A line to a registry. It counts what comes down, and breaks once after so many bytes.
struct Line {
    address: SocketAddr,
    carried: Arc<AtomicU64>,
    cut_at: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Line {
    async fn to(far: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let carried = Arc::new(AtomicU64::new(0));
        let cut_at = Arc::new(AtomicU64::new(u64::MAX));
        let (count, cut) = (Arc::clone(&carried), Arc::clone(&cut_at));
        let task = tokio::spawn(async move {
            let mut lines = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                lines.spawn(carry(near, far, Arc::clone(&count), Arc::clone(&cut)));
            }
        });
        Self { address, carried, cut_at, task }
    }

    fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(near: TcpStream, far: SocketAddr, count: Arc<AtomicU64>, cut: Arc<AtomicU64>) {
    let far = TcpStream::connect(far).await.unwrap();
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) =
        (near.into_split(), far.into_split());
    let up = tokio::spawn(async move { tokio::io::copy(&mut from_near, &mut to_far).await.ok() });
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from_far.read(&mut piece).await {
        let carried = count.fetch_add(length as u64, Ordering::SeqCst);
        if carried >= cut.load(Ordering::SeqCst) {
            cut.store(u64::MAX, Ordering::SeqCst);
            break;
        }
        if to_near.write_all(&piece[..length]).await.is_err() {
            break;
        }
    }
    up.abort();
}

fn settings(kib_per_s: Option<u32>, resume: bool) -> NodeSettings {
    // As the agent does at its start.
    drop(rustls::crypto::ring::default_provider().install_default());
    let kib_per_s = kib_per_s.map(|kib| kib.try_into().unwrap());
    NodeSettings {
        pulls: PullSettings { kib_per_s, resume, ..PullSettings::default() },
        ..NodeSettings::default()
    }
}

async fn pull(on: &Orchestrator, image: &str) -> Result<(), String> {
    let pulled = on.pull(&slot("web").app, image, &|_| {}).await;
    pulled.map(drop).map_err(|error| gnomon_edge::chain(&error))
}

/// The folder of what is on its way.
fn cache(bench: &Bench) -> PathBuf {
    bench.docker_settings().files_dir.with_extension("pulls")
}

fn cached(bench: &Bench) -> u64 {
    let entries = fs::read_dir(cache(bench)).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

/// The names that the daemon knows of pulls through an agent.
fn names_of_relays() -> Vec<String> {
    let names = docker(&["images", "--digests", "--format", "{{.Repository}}"]);
    names.lines().filter(|name| name.contains("/gnomon-")).map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_was_broken_off_goes_on_where_it_was_also_with_another_agent() {
    let (bench, registry) = (Bench::docker(), Registry::start().await);
    let line = Line::to(registry.address()).await;
    let image = format!("{}/{}", line.address, registry.push_noise(1500));
    bench.orchestrator.configure(settings(Some(400), true));
    let (on, wanted) = (bench.orchestrator.clone(), image.clone());
    let first = tokio::spawn(async move { pull(&on, &wanted).await });
    eventually("a part has come", || cached(&bench) > 300_000).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let again = bench.reopen();
    again.configure(settings(None, true));
    line.cut_at.store(line.carried() + 200_000, Ordering::SeqCst);
    let before = cached(&bench);
    let carried = line.carried();
    pull(&again, &image).await.unwrap();
    assert_eq!(line.cut_at.load(Ordering::SeqCst), u64::MAX, "the line was cut once more");
    assert!(again.has_image(&image).await.unwrap());
    let size: u64 = registry.bytes_of(&image);
    let more = line.carried() - carried;
    assert!(more < size - before + 150_000, "{more} bytes more, of {size}, {before} were here");
    assert_eq!(cached(&bench), 0, "what is in the image is not kept beside it");
    assert!(!names_of_relays().iter().any(|name| name.contains(&line.address.port().to_string())));
    docker(&["rmi", &image]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_below_a_rate_takes_its_time_and_writes_nothing_beside_the_image() {
    let (bench, registry) = (Bench::docker(), Registry::start().await);
    let image = registry.here(&registry.push_noise(1000));
    let size = registry.bytes_of(&image);
    bench.orchestrator.configure(settings(Some(400), false));
    let began = Instant::now();
    pull(&bench.orchestrator, &image).await.unwrap();
    let least = Duration::from_millis(size * 1000 / (400 << 10)) * 8 / 10;
    assert!(began.elapsed() >= least, "{size} bytes in {:?}", began.elapsed());
    assert!(!cache(&bench).exists());
    let survey = bench.orchestrator.survey_images().await.unwrap();
    let names = &survey.find(&image).expect("it has the wanted name").names;
    assert_eq!(names.len(), 1, "{names:?}");
    docker(&["rmi", &image]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_by_its_digest_and_one_behind_a_password_come_through_the_agent() {
    let (bench, open) = (Bench::docker(), Registry::start().await);
    let guarded = open.guarded().await;
    let (name, tag) = (open.push_noise(10), |image: &str| format!("{}/{image}", guarded.address));
    let image = tag(&name);
    bench.orchestrator.configure(settings(None, true));
    let refused = pull(&bench.orchestrator, &image).await.unwrap_err();
    assert!(refused.contains("registries") && refused.contains(&image), "{refused}");
    let missing = pull(&bench.orchestrator, &open.here("team/none:1")).await.unwrap_err();
    assert!(missing.contains("no image") && !missing.contains("gnomon-"), "{missing}");
    let credentials = Credentials { username: USER.into(), password: SecretText::new(PASSWORD) };
    bench.orchestrator.configure(NodeSettings {
        registries: [(registry(&image), credentials)].into(),
        ..settings(None, true)
    });
    pull(&bench.orchestrator, &image).await.unwrap();
    assert!(bench.orchestrator.has_image(&image).await.unwrap());
    docker(&["rmi", &image]);
    let pinned = format!("{}@{}", tag(name.rsplit_once(':').unwrap().0), open.digest_of(&name));
    pull(&bench.orchestrator, &pinned).await.unwrap();
    assert!(bench.orchestrator.has_image(&pinned).await.unwrap());
    assert_eq!(cached(&bench), 0);
    docker(&["rmi", &pinned]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_tokens_and_an_authority_of_its_own_is_pulled_from() {
    let (bench, open, tokens) = (Bench::docker(), Registry::start().await, Tokens::start().await);
    let secure = open.with_tokens(&tokens).await;
    let image = format!("{}/{}", secure.address, open.push_noise(300));
    let credentials =
        |password: &str| Credentials { username: USER.into(), password: SecretText::new(password) };
    let told = |password: &str| NodeSettings {
        registries: [(registry(&image), credentials(password))].into(),
        ..settings(Some(2000), true)
    };
    bench.orchestrator.configure(told(PASSWORD));
    let stranger = pull(&bench.orchestrator, &image).await.unwrap_err();
    assert!(stranger.to_lowercase().contains("certificate"), "{stranger}");
    tokens.trusted_below(&bench.docker_settings().certs_dir, secure.address);
    bench.orchestrator.configure(told("another"));
    let refused = pull(&bench.orchestrator, &image).await.unwrap_err();
    assert!(refused.contains("registries") && !refused.contains("another"), "{refused}");
    bench.orchestrator.configure(settings(Some(2000), true));
    let nobody = pull(&bench.orchestrator, &image).await.unwrap_err();
    assert!(nobody.contains("registries"), "{nobody}");
    assert_eq!(tokens.given(), 0);
    bench.orchestrator.configure(told(PASSWORD));
    pull(&bench.orchestrator, &image).await.unwrap();
    assert!(bench.orchestrator.has_image(&image).await.unwrap());
    assert!(tokens.given() >= 1);
    docker(&["rmi", &image]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_killed_agent_left_goes_with_the_next_pull_and_a_neighbours_stays() {
    let (bench, registry) = (Bench::docker(), Registry::start().await);
    let own = ring_digest(bench.node.as_str());
    let name = |mark: &str| format!("127.0.0.1:7/gnomon-{mark}-00ff/team/app:1");
    let (left, foreign) = (name(&own), name("0123456789abcdef"));
    for name in [&left, &foreign] {
        docker(&["tag", IMAGE, name]);
    }
    bench.orchestrator.configure(settings(None, true));
    let image = registry.here(&registry.push_noise(1));
    pull(&bench.orchestrator, &image).await.unwrap();
    let is_here = async |name: &str| bench.orchestrator.has_image(name).await.unwrap();
    assert!(!is_here(&left).await && is_here(&foreign).await && is_here(IMAGE).await);
    docker(&["rmi", &foreign, &image]);
}

/// The beginning of the digest of a text.
fn ring_digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    gnomon_schemas::hex::of(&digest.as_ref()[..8])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_is_a_passing_trouble_with_its_name() {
    let bench = Bench::docker();
    bench.orchestrator.configure(settings(Some(100), true));
    let failed = bench.orchestrator.pull(&slot("web").app, "127.0.0.1:1/none:1", &|_| {}).await;
    let error = failed.expect_err("nobody is there");
    let text = gnomon_edge::chain(&error);
    assert!(error.is_transient() && text.contains("127.0.0.1:1 cannot be reached"), "{text}");
}
