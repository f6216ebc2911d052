//! A process that holds a part of a fleet's sites, because one process may not have that many files
//! open. It is told what to do by lines of JSON on stdin and tells on stdout; it ends when either
//! ends. Decides nothing.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::enrol::{self, Cloud, Own};
use super::lines::Carrier;
use super::plan::Whom;
use super::site::{Order, Told};
use super::squad::{About, Carried, Squad};

/// How often is told what is new.
const TELL_EVERY: Duration = Duration::from_millis(20);
/// The most that waits to be told; then sites wait.
const TOLD: usize = 8_192;
/// Lines that wait, each way.
const LINES: usize = 64;

/// What a worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Say {
    /// What its sites have in common; the first line.
    About(Box<About>, Cloud),
    /// One of its sites.
    Site(u32, Own),
    /// That were all.
    Ready,
    /// The time of the run began, in nanoseconds since 1970.
    Begin(u64),
    Start(u32),
    Order(u32, Order),
    Set(Whom, Carrier),
    /// End all, and say so.
    Stop,
}

/// What a worker tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Hear {
    /// All sites are there and may start.
    Ready,
    /// What its sites told, and what their links had carried by then.
    Told(Vec<Told>, Carried),
    /// A site was too busy for an order.
    Busy,
    /// It cannot do its work.
    Failed(String),
    /// All sites have ended.
    Stopped,
}

/// Why a worker ended early.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// What it is told cannot be read.
    #[error(
        "a worker of a fleet is told what to do by `gnomon-sim fleet`, and this line is not of it"
    )]
    Line(#[source] serde_json::Error),
    /// The pipes broke.
    #[error("the worker has lost the run that it belongs to")]
    Pipe(#[from] io::Error),
}

/// Runs a worker on the process's own stdin and stdout, until its sites were ended.
pub async fn run_worker() -> Result<(), WorkerError> {
    let mut says = listen();
    let (out, speaking) = speak();
    let worked = work(&mut says, &out).await;
    drop(out);
    // What was told is written before the process ends.
    match tokio::task::spawn_blocking(move || speaking.join()).await {
        Ok(Ok(written)) => worked.and(Ok(written?)),
        Ok(Err(_)) | Err(_) => worked,
    }
}

type Says = mpsc::Receiver<Result<Say, WorkerError>>;
type Out = mpsc::Sender<Vec<u8>>;

async fn work(says: &mut Says, out: &Out) -> Result<(), WorkerError> {
    let mut told = mpsc::channel(TOLD);
    let squad = match assemble(says, told.0.clone()).await? {
        Some(Ok(squad)) => squad,
        Some(Err(reason)) => return tell(out, &Hear::Failed(reason)).await,
        None => return Ok(()),
    };
    tell(out, &Hear::Ready).await?;
    let Some(squad) = serve(squad, says, out, &mut told.1).await? else { return Ok(()) };
    told.1.close();
    squad.stop().await;
    tell(out, &Hear::Stopped).await
}

/// Lines from stdin, on a thread of their own: a process may end in the middle of reading.
fn listen() -> Says {
    let (sender, says) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let say = line.map_err(WorkerError::Pipe);
            let say = say.and_then(|line| serde_json::from_str(&line).map_err(WorkerError::Line));
            if sender.blocking_send(say).is_err() {
                return;
            }
        }
    });
    says
}

/// Lines to stdout, on a thread of their own; it ends with the sender.
fn speak() -> (Out, JoinHandle<io::Result<()>>) {
    let (sender, mut lines) = mpsc::channel::<Vec<u8>>(LINES);
    let speaking = std::thread::spawn(move || {
        let mut stdout = io::stdout().lock();
        while let Some(line) = lines.blocking_recv() {
            stdout.write_all(&line)?;
            stdout.flush()?;
        }
        Ok(())
    });
    (sender, speaking)
}

/// Takes the sites in; none: nobody is there any more.
async fn assemble(
    says: &mut Says,
    told: mpsc::Sender<Told>,
) -> Result<Option<Result<Squad, String>>, WorkerError> {
    let (mut common, mut sites) = (None, BTreeMap::new());
    while let Some(say) = says.recv().await.transpose()? {
        match (say, &common) {
            (Say::About(about, cloud), _) => common = Some((about, cloud)),
            (Say::Site(number, own), Some((_, cloud))) => {
                sites.insert(number, enrol::identity(cloud, own));
            }
            (Say::Ready, Some((about, _))) => {
                let squad = Squad::new(About::clone(about), sites, told).await;
                return Ok(Some(squad.map_err(|error| gnomon_edge::chain(&error))));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Does what it is told until it is told to stop; none: nobody is there any more.
async fn serve(
    mut squad: Squad,
    says: &mut Says,
    out: &Out,
    told: &mut mpsc::Receiver<Told>,
) -> Result<Option<Squad>, WorkerError> {
    let mut ticks = interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut news, mut last) = (Vec::new(), Carried::default());
    loop {
        tokio::select! {
            say = says.recv() => match say.transpose()? {
                Some(Say::Begin(unix_ns)) => squad.begin(instant(unix_ns)),
                Some(Say::Start(number)) => squad.start(number),
                Some(Say::Order(number, order)) => {
                    if !squad.order(number, order) {
                        tell(out, &Hear::Busy).await?;
                    }
                }
                Some(Say::Set(whom, carrier)) => squad.set(whom, carrier),
                Some(Say::Stop) => return Ok(Some(squad)),
                Some(Say::About(..) | Say::Site(..) | Say::Ready) => {}
                None => return Ok(None),
            },
            _ = ticks.tick() => {
                while let Ok(one) = told.try_recv() {
                    news.push(one);
                }
                let carried = squad.carried();
                if !news.is_empty() || carried != last {
                    last = carried;
                    tell(out, &Hear::Told(std::mem::take(&mut news), carried)).await?;
                }
            }
        }
    }
}

async fn tell(out: &Out, hear: &Hear) -> Result<(), WorkerError> {
    let mut line = serde_json::to_vec(hear).map_err(io::Error::other)?;
    line.push(b'\n');
    out.send(line).await.map_err(|_| WorkerError::Pipe(io::ErrorKind::BrokenPipe.into()))
}

/// The clocks of two processes agree on the date, not on an instant.
fn instant(unix_ns: u64) -> Instant {
    let began = SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_ns);
    let passed = SystemTime::now().duration_since(began).unwrap_or_default();
    let now = Instant::now();
    now.checked_sub(passed).unwrap_or(now)
}
