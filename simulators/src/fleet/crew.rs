//! All sites of a run, wherever they are: in this process, or in as many others as the limit of open
//! files asks for. Hands out orders and takes in what is told; decides nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use gnomon_edge::identity::Identity;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::enrol::{Cloud, Own};
use super::lines::{Carrier, LinesError};
use super::machine::{self, Usage};
use super::plan::Whom;
use super::site::{Order, Told};
use super::squad::{About, Carried, Squad};
use super::worker::{Hear, Say};

/// Lines to one worker that wait, beside one for each of its sites.
const SAYS: usize = 4_096;
const READY_WITHIN: Duration = Duration::from_mins(2);
const STOPS_WITHIN: Duration = Duration::from_secs(40);

/// Why the sites are not there.
#[derive(Debug, thiserror::Error)]
pub enum CrewError {
    /// There are no links for those in this process.
    #[error("the fleet has no way to the broker")]
    Lines(#[from] LinesError),
    /// A worker cannot be started.
    #[error("{} cannot be started for a part of the fleet", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A worker did not become ready.
    #[error("process {worker} of the fleet did not become ready: {reason}")]
    NotReady {
        /// Its number.
        worker: usize,
        /// What it said, or that it said nothing.
        reason: String,
    },
}

/// The sites.
pub(super) enum Crew {
    Here(Box<Squad>),
    Others(Others),
}

pub(super) struct Others {
    workers: Vec<Worker>,
    readers: JoinSet<()>,
    began_unix_ns: u64,
}

struct Worker {
    /// The first site after its own.
    until: u32,
    pid: u32,
    says: mpsc::Sender<Say>,
    carried: watch::Receiver<Carried>,
    child: Child,
}

/// What goes wrong among workers while they run.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A site was too busy for an order.
    Busy,
    /// A worker is gone, and its sites with it.
    Gone(usize),
}

impl Crew {
    /// Takes the sites in: in this process for one worker, else in so many processes of `program`.
    pub(super) async fn new(
        workers: u32,
        program: &Path,
        about: About,
        identities: Vec<Identity>,
        told: mpsc::Sender<Told>,
        trouble: mpsc::Sender<Trouble>,
    ) -> Result<Self, CrewError> {
        let sites: BTreeMap<u32, Identity> = (0..).zip(identities).collect();
        if workers <= 1 {
            return Ok(Self::Here(Box::new(Squad::new(about, sites, told).await?)));
        }
        let count = u32::try_from(sites.len()).unwrap_or(u32::MAX);
        let each = count.div_ceil(workers).max(1);
        let mut others = Others { workers: Vec::new(), readers: JoinSet::new(), began_unix_ns: 0 };
        for (number, from) in (0..count).step_by(usize::try_from(each).unwrap_or(1)).enumerate() {
            let until = from.saturating_add(each).min(count);
            let own = sites.range(from..until).map(|(site, identity)| (*site, identity.clone()));
            others.start(number, program, &about, (until, own.collect()))?;
        }
        for number in 0..others.workers.len() {
            others.listen(number, told.clone(), trouble.clone()).await?;
        }
        Ok(Self::Others(others))
    }

    /// The time of the run begins now.
    pub(super) fn begin(&mut self, began: Instant) {
        match self {
            Self::Here(squad) => squad.begin(began),
            Self::Others(others) => {
                let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                let unix = unix.saturating_sub(began.elapsed()).as_nanos();
                others.began_unix_ns = u64::try_from(unix).unwrap_or(u64::MAX);
                others.all(Say::Begin);
            }
        }
    }

    pub(super) fn start(&mut self, number: u32) -> bool {
        match self {
            Self::Here(squad) => {
                squad.start(number);
                true
            }
            Self::Others(others) => others.say(number, Say::Start(number)),
        }
    }

    /// False: the site is too busy for it.
    pub(super) fn order(&self, number: u32, order: Order) -> bool {
        match self {
            Self::Here(squad) => squad.order(number, order),
            Self::Others(others) => others.say(number, Say::Order(number, order)),
        }
    }

    pub(super) fn set(&self, whom: Whom, carrier: Carrier) {
        match self {
            Self::Here(squad) => squad.set(whom, carrier),
            Self::Others(others) => others.all(|_| Say::Set(whom, carrier)),
        }
    }

    pub(super) fn carried(&self) -> Carried {
        match self {
            Self::Here(squad) => squad.carried(),
            Self::Others(others) => {
                let mut all = Carried::default();
                others.workers.iter().for_each(|worker| all.add(&worker.carried.borrow()));
                all
            }
        }
    }

    /// What this process and those of the sites use.
    pub(super) fn usage(&self) -> Usage {
        let mut all = machine::usage(std::process::id()).unwrap_or_default();
        if let Self::Others(others) = self {
            for worker in &others.workers {
                let own = machine::usage(worker.pid).unwrap_or_default();
                all = Usage { bytes: all.bytes + own.bytes, cpu_s: all.cpu_s + own.cpu_s };
            }
        }
        all
    }

    /// Ends all sites.
    pub(super) async fn stop(self) {
        match self {
            Self::Here(squad) => squad.stop().await,
            Self::Others(others) => others.stop().await,
        }
    }
}

impl Others {
    fn start(
        &mut self,
        number: usize,
        program: &Path,
        about: &About,
        (until, sites): (u32, Vec<(u32, Identity)>),
    ) -> Result<(), CrewError> {
        let mut command = Command::new(program);
        command.arg("fleet-worker").stdin(Stdio::piped()).stdout(Stdio::piped());
        // An interrupt from the terminal is for the run, which ends its workers when it is done.
        command.process_group(0).kill_on_drop(true);
        let failed = |source| CrewError::Start { program: program.to_owned(), source };
        let mut child = command.spawn().map_err(failed)?;
        let (says, says_in) = mpsc::channel(SAYS + sites.len());
        let not_there = || CrewError::NotReady { worker: number, reason: "no pipe".to_owned() };
        let stdin = child.stdin.take().ok_or_else(not_there)?;
        let pid = child.id().ok_or_else(not_there)?;
        let first = introduction(about, sites);
        self.readers.spawn(write(stdin, first, says_in));
        let carried = watch::Sender::new(Carried::default()).subscribe();
        self.workers.push(Worker { until, pid, says, carried, child });
        Ok(())
    }

    /// Waits until the worker is ready, and lets what it tells come in from then on.
    async fn listen(
        &mut self,
        number: usize,
        told: mpsc::Sender<Told>,
        trouble: mpsc::Sender<Trouble>,
    ) -> Result<(), CrewError> {
        let not_ready =
            |reason: &str| CrewError::NotReady { worker: number, reason: reason.into() };
        let worker = self.workers.get_mut(number).ok_or_else(|| not_ready("it is not there"))?;
        let stdout = worker.child.stdout.take().ok_or_else(|| not_ready("no pipe"))?;
        let mut lines = BufReader::new(stdout).lines();
        let first = timeout(READY_WITHIN, lines.next_line()).await;
        let first = first.map_err(|_| not_ready("it says nothing"))?;
        let first = first.ok().flatten().and_then(|line| serde_json::from_str(&line).ok());
        match first {
            Some(Hear::Ready) => {}
            Some(Hear::Failed(reason)) => return Err(not_ready(&reason)),
            Some(Hear::Told(..) | Hear::Busy | Hear::Stopped) | None => {
                return Err(not_ready("it ended; what it logged says why"));
            }
        }
        let (sender, carried) = watch::channel(Carried::default());
        worker.carried = carried;
        self.readers.spawn(read(number, lines, sender, told, trouble));
        Ok(())
    }

    fn say(&self, site: u32, say: Say) -> bool {
        let worker = self.workers.iter().find(|worker| site < worker.until);
        worker.is_some_and(|worker| worker.says.try_send(say).is_ok())
    }

    fn all(&self, say: impl Fn(u64) -> Say) {
        for worker in &self.workers {
            if worker.says.try_send(say(self.began_unix_ns)).is_err() {
                tracing::warn!(pid = worker.pid, "a process of the fleet does not listen");
            }
        }
    }

    async fn stop(mut self) {
        self.all(|_| Say::Stop);
        for worker in &mut self.workers {
            if timeout(STOPS_WITHIN, worker.child.wait()).await.is_err() {
                tracing::warn!(pid = worker.pid, "a process of the fleet did not end in time");
                drop(worker.child.kill().await);
            }
        }
        self.readers.abort_all();
    }
}

fn introduction(about: &About, sites: Vec<(u32, Identity)>) -> Vec<Say> {
    let mut says = Vec::with_capacity(sites.len() + 2);
    for (number, identity) in sites {
        let (cloud, own) = split(identity);
        if says.is_empty() {
            says.push(Say::About(Box::new(about.clone()), cloud));
        }
        says.push(Say::Site(number, own));
    }
    says.push(Say::Ready);
    says
}

fn split(identity: Identity) -> (Cloud, Own) {
    let Identity { node, mqtt, https: _, server_name, key_pem, certificate_pem, ca_pem } = identity;
    (Cloud { ca_pem, server_name, mqtt }, Own { node, key_pem, certificate_pem })
}

async fn write(stdin: ChildStdin, first: Vec<Say>, mut says: mpsc::Receiver<Say>) {
    let mut out = BufWriter::new(stdin);
    let write = async |out: &mut BufWriter<ChildStdin>, say: &Say| {
        let mut line = serde_json::to_vec(say).map_err(std::io::Error::other)?;
        line.push(b'\n');
        out.write_all(&line).await
    };
    for say in &first {
        if write(&mut out, say).await.is_err() {
            return;
        }
    }
    drop(first);
    // A worker that is gone is noticed by who reads it.
    while out.flush().await.is_ok() {
        let Some(mut say) = says.recv().await else { return };
        loop {
            let is_last = matches!(say, Say::Stop);
            if write(&mut out, &say).await.is_err() {
                return;
            }
            if is_last {
                // Closed with this task, so that the worker's reader ends.
                drop(out.flush().await);
                return;
            }
            match says.try_recv() {
                Ok(next) => say = next,
                Err(_) => break,
            }
        }
    }
}

async fn read(
    number: usize,
    mut lines: tokio::io::Lines<BufReader<ChildStdout>>,
    carried: watch::Sender<Carried>,
    told: mpsc::Sender<Told>,
    trouble: mpsc::Sender<Trouble>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Hear::Told(news, now)) => {
                carried.send_replace(now);
                for one in news {
                    // Where nobody listens any more, the run is over.
                    drop(told.send(one).await);
                }
            }
            Ok(Hear::Busy) => drop(trouble.send(Trouble::Busy).await),
            Ok(Hear::Stopped) => return,
            Ok(Hear::Ready) => {}
            Ok(Hear::Failed(reason)) => {
                tracing::error!(%reason, "a process of the fleet failed");
                break;
            }
            Err(error) => {
                tracing::error!(%error, "a process of the fleet cannot be understood");
                break;
            }
        }
    }
    drop(trouble.send(Trouble::Gone(number)).await);
}
