//! Whether the cloud can do its work, and why not: gathers facts, has [`judge`] say what they mean,
//! and tells the log and the metrics when that changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gnomon_broker::Listeners;
use nix::sys::statvfs::statvfs;
use tokio_util::sync::CancellationToken;

mod judge;
mod outcomes;

pub use judge::{Check, Facts, Finding, HealthConfig, Report, judge};
pub use outcomes::Outcomes;

use crate::backup::STORE;
use crate::clock;
use crate::core::CoreHandle;
use crate::http::tls::Shown;
use crate::identity::Identity;
use crate::metrics::HealthMetrics;
use crate::store::{JournaledStore, Op};

/// How often the cloud looks at itself.
const LOOK: Duration = Duration::from_secs(10);

/// A store that nobody wrote to for so long is written to, to see whether that still works.
const UNTRIED: Duration = Duration::from_mins(1);

/// How long the core may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A row that never is: to delete it is a commit that changes nothing.
const NOTHING: &[u8] = b"health";

/// A clock that moves by so much while no time passes is one that jumped.
const JUMP: Duration = Duration::from_secs(5);

/// Knows how the cloud is; cheap to clone.
#[derive(Debug, Clone)]
pub struct Health(Arc<Inner>);

/// What to look at.
#[derive(Debug)]
pub struct Subjects {
    /// The core.
    pub core: CoreHandle,
    /// What became of the last commits.
    pub outcomes: Outcomes,
    /// The data folder.
    pub data: PathBuf,
    /// Whether the broker listens.
    pub broker: Listeners,
    /// The authority and the server's certificate.
    pub identity: Arc<Identity>,
    /// What the API shows with TLS, if it does.
    pub shown: Option<Arc<Shown>>,
    /// Where findings are counted.
    pub metrics: HealthMetrics,
}

#[derive(Debug)]
struct Inner {
    subjects: Subjects,
    config: HealthConfig,
    // A lock, because requests read what the look at the clock writes; held for one look.
    jumped: Mutex<Option<Instant>>,
}

impl Health {
    /// Looks at these.
    pub fn new(subjects: Subjects, config: HealthConfig) -> Self {
        Self(Arc::new(Inner { subjects, config, jumped: Mutex::new(None) }))
    }

    /// How the cloud is now.
    pub async fn report(&self) -> Report {
        let health = self.clone();
        let core = self.core().await;
        // The system may take its time over a disk that is about to fail.
        let facts = tokio::task::spawn_blocking(move || health.facts(core)).await;
        let Ok(facts) = facts else {
            let finding = Finding::new(Check::Core, "internal", "the look at the cloud panicked");
            return Report { findings: vec![finding] };
        };
        let report = judge(&facts, &self.0.config);
        let metrics = &self.0.subjects.metrics;
        for check in Check::ALL {
            metrics.checked(check.name(), report.is_ok(check));
        }
        metrics.disk(facts.store_bytes, facts.free_bytes.unwrap_or(0));
        for (certificate, not_after_s) in &facts.certificates {
            metrics.expires(certificate, *not_after_s);
        }
        report
    }

    /// Looks again and again until `stop`, tries a store that nobody tried, and tells the log what
    /// became wrong and what is right again.
    pub async fn watch(self, stop: CancellationToken) {
        let mut said = BTreeSet::new();
        let mut clock = (Instant::now(), SystemTime::now());
        loop {
            self.note_jump(&mut clock);
            self.try_store().await;
            said = tell(&said, &self.report().await);
            if stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                return;
            }
        }
    }

    async fn core(&self) -> Option<&'static str> {
        let answer = self.0.subjects.core.read(|_, _| ());
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(())) => None,
            Ok(Err(refusal)) => Some(refusal.code()),
            Err(_) => Some("core_stuck"),
        }
    }

    fn facts(&self, core: Option<&'static str>) -> Facts {
        let subjects = &self.0.subjects;
        let free = statvfs(&subjects.data).ok();
        let free = free.map(|it| it.blocks_available().saturating_mul(it.fragment_size()));
        let store = subjects.data.join(STORE);
        let journal = size_of(&JournaledStore::journal_of(&store));
        let jumped = *self.0.jumped.lock().unwrap_or_else(PoisonError::into_inner);
        let own = subjects.identity.expiries().map(|(name, at)| (name, at.unwrap_or(0)));
        let given = subjects.shown.as_ref().and_then(|shown| shown.given_expiry());
        Facts {
            core,
            last_commit: subjects.outcomes.last(),
            free_bytes: free,
            store_bytes: std::fs::metadata(store).map_or(0, |file| file.len()) + journal,
            broker_listens: subjects.broker.are_open(),
            certificates: own.into_iter().chain(given.map(|at| ("given", at))).collect(),
            unix_s: clock::since_1970().as_secs(),
            clock_jumped: jumped.map(|at| at.elapsed()),
        }
    }

    async fn try_store(&self) {
        let outcomes = &self.0.subjects.outcomes;
        let is_fresh = outcomes.last().is_none() && outcomes.age() < UNTRIED;
        if !is_fresh {
            let nothing = Op::Delete { key: NOTHING.to_vec() };
            let trying = self.0.subjects.core.keep(vec![nothing], None);
            // What becomes of it, the store's outcomes say; a core that hangs, the report does.
            drop(tokio::time::timeout(PATIENCE, trying).await);
        }
    }

    fn note_jump(&self, clock: &mut (Instant, SystemTime)) {
        let now = (Instant::now(), SystemTime::now());
        let passed = now.0.duration_since(clock.0);
        let shown = now.1.duration_since(clock.1).unwrap_or(Duration::ZERO);
        *clock = now;
        if shown.abs_diff(passed) > JUMP {
            *self.0.jumped.lock().unwrap_or_else(PoisonError::into_inner) = Some(now.0);
        }
    }
}

/// What the files of a folder take.
fn size_of(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// Says what has changed since `said`, and gives back what is wrong now.
fn tell(said: &BTreeSet<&'static str>, report: &Report) -> BTreeSet<&'static str> {
    for finding in &report.findings {
        if !said.contains(finding.code) {
            let (code, message) = (finding.code, &*finding.message);
            tracing::warn!(code, message, "the cloud is not well");
        }
    }
    let now: BTreeSet<_> = report.findings.iter().map(|finding| finding.code).collect();
    for code in said.difference(&now) {
        tracing::info!(code, "that is right again");
    }
    now
}
