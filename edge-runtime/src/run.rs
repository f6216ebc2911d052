//! The run loop: moves messages, results and time into the core and its effects out. The only
//! `select!` of the agent; it decides nothing.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use gnomon_sync::Moment;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::core::{Core, Effect, Input, Ticket};
use crate::link::{Link, LinkEvent};
use crate::local::http::{At, HttpServer};
use crate::local::{self, Asked, Response, Server};
use crate::orchestrator::{Orchestrator, Watch};
use crate::reconcile::model::Step;
use crate::store::thread::StoreHandle;
use crate::update::Wish;

mod errands;
mod waiting;

use waiting::Waiting;

/// The most results that wait for the core.
const RESULTS: usize = 64;
/// The most local requests that wait for the core.
const REQUESTS: usize = 16;
/// The most inputs that are taken before their effects are carried out together.
const GROUP: usize = 64;
/// The longest sleep, so that a far away moment needs no special case.
const LONGEST_SLEEP: Duration = Duration::from_hours(1);

/// What the loop drives.
#[derive(Debug)]
pub struct Parts<L> {
    /// The decisions.
    pub core: Core,
    /// The way to the cloud.
    pub link: L,
    /// The durable memory.
    pub store: StoreHandle,
    /// What runs apps.
    pub orchestrator: Orchestrator,
    /// Where workloads may ask over HTTP, if anywhere.
    pub http: Option<At>,
    /// Tells the updater of the agent what is wished, and whether there is a link.
    pub wishes: watch::Sender<Wish>,
    /// What the updater tells.
    pub updates: mpsc::Receiver<Input>,
}

/// Runs the agent of a data directory until `stop` is ready; `ready` is called once, when the
/// store has been read. Apps keep running afterwards.
pub async fn run<L: Link>(
    parts: Parts<L>,
    data: &Path,
    ready: impl FnOnce() + Send,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let (asks, asked) = mpsc::channel(REQUESTS);
    let server = Server::start(&local::socket(data), asks.clone())?;
    let http = match parts.http.clone() {
        Some(at) => Some(HttpServer::start(at, asks).await?),
        None => None,
    };
    if let Some(http) = &http {
        tracing::info!(at = %http.at(), "workloads may ask over HTTP");
    }
    let (results, done) = mpsc::channel(RESULTS);
    let Parts { core, link, store, orchestrator, http: _, wishes, updates } = parts;
    let watch = orchestrator.watch();
    let shell = Shell {
        core,
        link,
        store,
        orchestrator,
        clock: Instant::now(),
        results,
        errands: JoinSet::new(),
        pulls: BTreeMap::new(),
        waiting: Waiting::default(),
        wishes,
        ready: Some(ready),
    };
    shell.run(Sources { watch, done, asked, updates }, stop).await;
    drop((server, http));
    Ok(())
}

/// Where inputs come from, besides the link and the clock.
struct Sources {
    watch: Watch,
    done: mpsc::Receiver<Input>,
    asked: mpsc::Receiver<Asked>,
    updates: mpsc::Receiver<Input>,
}

struct Shell<L, R> {
    core: Core,
    link: L,
    store: StoreHandle,
    orchestrator: Orchestrator,
    clock: Instant,
    /// Takes the results of errands.
    results: mpsc::Sender<Input>,
    /// What is being done in the background.
    errands: JoinSet<()>,
    /// The errands among them that fetch an image.
    pulls: BTreeMap<String, AbortHandle>,
    /// Who waits for an answer.
    waiting: Waiting,
    wishes: watch::Sender<Wish>,
    ready: Option<R>,
}

impl<L: Link, R: FnOnce() + Send> Shell<L, R> {
    async fn run(mut self, mut sources: Sources, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        self.handle(Input::Woken);
        self.carry_out_effects().await;
        loop {
            let sleep = sleep(self.until_timeout());
            tokio::select! {
                () = &mut stop => break,
                event = self.link.next() => self.on_link(event),
                Some(input) = sources.done.recv() => self.handle(input),
                Some(input) = sources.updates.recv() => self.handle(input),
                Some(asked) = sources.asked.recv() => self.on_asked(asked),
                () = sources.watch.changed() => self.handle(Input::Hint),
                () = sleep => self.handle(Input::Woken),
            }
            for _ in 0..GROUP {
                let Ok(input) = sources.done.try_recv() else { break };
                self.handle(input);
            }
            self.carry_out_effects().await;
            while self.errands.try_join_next().is_some() {}
        }
        self.errands.abort_all();
        self.link.close().await;
    }

    fn now(&self) -> Moment {
        Moment::from_millis(u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn until_timeout(&self) -> Duration {
        let due = self.core.poll_timeout();
        due.map_or(LONGEST_SLEEP, |(at, _)| at.saturating_since(self.now())).min(LONGEST_SLEEP)
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        self.core.handle(now, input);
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up => {
                self.wishes.send_modify(|wish| wish.link_up = true);
                self.handle(Input::LinkUp);
            }
            LinkEvent::TakenOver => self.handle(Input::TakenOver),
            LinkEvent::Down { reason } => {
                self.wishes.send_modify(|wish| wish.link_up = false);
                self.handle(Input::LinkDown { reason });
            }
            LinkEvent::Message(topic, message) => {
                self.handle(Input::Received(topic.stream(), message));
            }
            LinkEvent::Malformed { reason } => {
                tracing::warn!(%reason, "the cloud sent something that cannot be read");
            }
        }
    }

    fn on_asked(&mut self, asked: Asked) {
        let ticket = self.waiting.add(asked.answer);
        self.handle(Input::Asked(ticket, asked.request));
    }

    async fn carry_out_effects(&mut self) {
        while let Some(effect) = self.core.poll_effect(self.now()) {
            match effect {
                Effect::Load => self.load().await,
                Effect::Commit(ops) => {
                    let input = errands::store_answer(self.store.commit(ops).await);
                    self.handle(input);
                }
                Effect::Publish(topic, message) => self.link.publish(&topic, message.encode()),
                Effect::AgentDesired(agent) => {
                    self.wishes.send_modify(|wish| wish.agent = agent);
                }
                Effect::Observe { version } => self.observe(version),
                Effect::Find { image } => drop(self.errand(move |orchestrator, results| {
                    errands::find(orchestrator, image, results)
                })),
                Effect::Apply(step) => self.apply(step),
                Effect::Configure(settings) => self.orchestrator.configure(settings),
                Effect::Survey => drop(self.errand(errands::survey)),
                Effect::Clear { image, id } => drop(self.errand(move |orchestrator, results| {
                    errands::clear(orchestrator, image, id, results)
                })),
                Effect::GiveUp { image } => self.give_up(&image),
                Effect::Answer(ticket, response) => self.answer(ticket, response),
                Effect::Exec { ticket, slot, command, timeout } => {
                    if let Some(answer) = self.waiting.take(ticket) {
                        let orchestrator = self.orchestrator.clone();
                        let work = errands::exec(orchestrator, slot, command, timeout, answer);
                        self.errands.spawn(work);
                    }
                }
                Effect::RemoveVolumes { ticket, app } => {
                    if let Some(answer) = self.waiting.take(ticket) {
                        let orchestrator = self.orchestrator.clone();
                        self.errands.spawn(errands::remove_volumes(orchestrator, app, answer));
                    }
                }
                Effect::Logs { ticket, slots, tail } => {
                    if let Some(answer) = self.waiting.take(ticket) {
                        let orchestrator = self.orchestrator.clone();
                        self.errands.spawn(errands::logs(orchestrator, slots, tail, answer));
                    }
                }
            }
        }
    }

    fn observe(&mut self, version: bool) {
        let (traffic, quality) = (self.link.traffic(), self.link.quality());
        self.handle(Input::Carried { traffic, quality, wall_s: errands::wall_s() });
        drop(
            self.errand(move |orchestrator, results| {
                errands::observe(orchestrator, version, results)
            }),
        );
    }

    async fn load(&mut self) {
        let input = errands::loaded(self.store.load().await);
        if matches!(input, Input::Loaded(_))
            && let Some(ready) = self.ready.take()
        {
            ready();
        }
        self.handle(input);
    }

    fn answer(&mut self, ticket: Ticket, mut response: Response) {
        if let Response::Status(status) = &mut response {
            let traffic = self.link.traffic();
            status.link.bytes_in = traffic.bytes_in;
            status.link.bytes_out = traffic.bytes_out;
            status.link.desired = traffic.desired;
            status.link.reported = traffic.reported;
            status.link.quality = self.link.quality();
        }
        if let Some(answer) = self.waiting.take(ticket) {
            drop(answer.send(response));
        }
    }

    fn apply(&mut self, step: Step) {
        let Step::Pull { app, image } = step else {
            drop(self.errand(|orchestrator, results| errands::apply(orchestrator, step, results)));
            return;
        };
        let wanted = image.clone();
        let pull =
            self.errand(|orchestrator, results| errands::pull(orchestrator, app, wanted, results));
        self.pulls.retain(|_, pull| !pull.is_finished());
        self.pulls.insert(image, pull);
    }

    /// The orchestrator breaks off what nobody waits for.
    fn give_up(&mut self, image: &str) {
        if let Some(pull) = self.pulls.remove(image) {
            tracing::info!(image, "nothing needs this image any more; its pull is broken off");
            pull.abort();
        }
    }

    fn errand<F>(
        &mut self,
        start: impl FnOnce(Orchestrator, mpsc::Sender<Input>) -> F,
    ) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.errands.spawn(start(self.orchestrator.clone(), self.results.clone()))
    }
}

#[cfg(test)]
mod tests;
