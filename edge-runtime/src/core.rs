//! What the agent decides: inputs in, effects out. It owns both ends of the sync protocol at this
//! site, what should run, and what is being done about it; it has no socket, clock or thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use gnomon_schemas::app::AppStatus;
use gnomon_schemas::id::{AppName, NodeName};
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::{Stream, Topic};
use gnomon_schemas::version::Epoch;
use gnomon_sync::{Delivery, Moment};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::backoff::Backoff;
use crate::local::{Refusal, RefusalCode, Response};
use crate::orchestrator::Capabilities;
use crate::reconcile::model::Slot;
use crate::reconcile::{Attempts, Desired, DesiredApp, Trials};
use crate::store::Contents;

mod allowance;
mod ask;
mod budget;
mod doubt;
mod gate;
mod images;
mod input;
mod ledger;
mod machines;
mod measured;
mod meter;
mod orders;
mod pace;
mod pass;
mod pulls;
mod quality;
mod redact;
mod report;
mod revisions;
mod rival;
mod schedules;
mod told;
mod watching;
mod windows;
mod work;

#[cfg(test)]
mod tests;

pub use allowance::Limits;
pub use budget::Budgets;
pub(crate) use images::owned_images;
pub use input::{Effect, Input, StepFailure, Ticket};

use allowance::Allowance;
use budget::beat;
use gate::Gate;
use images::Images;
use ledger::Ledger;
use machines::{After, Machines};
use measured::Measured;
use meter::Meter;
use pace::Pace;
use pulls::Pulls;
use told::Told;
use watching::Watching;
use work::Work;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_mins(1);

/// What an operator may tune about the core, and what never changes while it runs.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// This node.
    pub node: NodeName,
    /// What the orchestrator can do.
    pub capabilities: Capabilities,
    /// The longest time between two looks at what runs.
    pub observe_every: Duration,
    /// What may be written and sent.
    pub budgets: Budgets,
    /// How long an image stays that nothing needs any more.
    pub image_grace: Duration,
}

/// The decisions of a site agent.
///
/// Drive it so: [`Self::handle`] with an input; then [`Self::poll_effect`] until there is none,
/// carrying each effect out in order; then wait for the next input or for [`Self::poll_timeout`].
/// [`Effect::Load`] and [`Effect::Commit`] must be answered before later effects are polled.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    rng: StdRng,
    /// Both streams; none while the store cannot be read.
    machines: Option<Machines>,
    gate: Gate,
    /// What waits for the commit that is under way.
    after_commit: Vec<After>,
    link: LinkState,
    /// What the cloud wishes, as far as it was heard.
    cloud: BTreeMap<AppName, DesiredApp>,
    /// What the cloud says to this agent itself.
    told_settings: Told,
    /// What was decided here.
    ledger: Ledger,
    /// What follows from both: what the planner is given.
    desired: Desired,
    trials: Trials,
    opened: windows::Opened,
    /// Whether `desired` is all that should run. It is not before the cloud was first heard, nor
    /// while parts of it are on their way or in doubt: then what is not in it is left alone.
    settled: bool,
    spoken: doubt::Spoken,
    attempts: Attempts,
    watching: Watching,
    work: Work,
    pulls: Pulls,
    images: Images,
    statuses: BTreeMap<AppName, AppStatus>,
    /// Whether of an app without a status nothing is left here.
    are_all_known: bool,
    pace: Pace,
    /// The slots that somebody asked to restart, until they are stopped.
    restarts: BTreeSet<Slot>,
    /// The scheduled slots of which this run of the agent wrote something down.
    noted: BTreeSet<Slot>,
    meter: Meter,
    /// The bytes of the commit that is under way.
    writing: u64,
    measured: Measured,
    /// When each app's report last changed.
    told: BTreeMap<AppName, Moment>,
    allowance: Allowance,
    /// Whether reports wait because the link's allowance is spent.
    muted: bool,
    /// When the cloud is told next where this site stands, while reports wait.
    heartbeat: Option<Moment>,
    quality: quality::Link,
    /// When another machine last took the link.
    rival: Option<Moment>,
    /// How it stands with the agent's own program.
    update: Value,
    /// What the node's clock said last; right or wrong.
    wall_s: u64,
    effects: VecDeque<Effect>,
}

#[derive(Debug, Default)]
struct LinkState {
    up: bool,
    since: Moment,
    reason: Option<String>,
}

impl Core {
    /// A core that begins by reading the store.
    pub fn new(config: CoreConfig, mut rng: StdRng) -> Self {
        let backoff = |rng: &mut StdRng| Backoff::new(FIRST_RETRY, LONGEST_RETRY, fork(rng));
        Self {
            gate: Gate::new(backoff(&mut rng)),
            watching: Watching::new(backoff(&mut rng)),
            rng,
            machines: None,
            after_commit: Vec::new(),
            link: LinkState::default(),
            cloud: BTreeMap::new(),
            told_settings: Told::default(),
            ledger: Ledger::default(),
            desired: Desired::default(),
            trials: Trials::default(),
            opened: windows::Opened::default(),
            settled: false,
            spoken: doubt::Spoken::default(),
            attempts: Attempts::default(),
            work: Work::default(),
            pulls: Pulls::default(),
            images: Images::default(),
            statuses: BTreeMap::new(),
            are_all_known: false,
            pace: Pace::default(),
            restarts: BTreeSet::new(),
            noted: BTreeSet::new(),
            meter: Meter::default(),
            writing: 0,
            measured: Measured::default(),
            told: BTreeMap::new(),
            allowance: Allowance::new(config.budgets.link),
            muted: false,
            heartbeat: None,
            quality: quality::Link::default(),
            rival: None,
            update: Value::Null,
            wall_s: 0,
            effects: VecDeque::new(),
            config,
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.handle_timeouts(now);
        match input {
            Input::Woken => {}
            Input::LinkUp => self.on_link_up(now),
            Input::TakenOver => self.on_taken_over(now),
            Input::LinkDown { reason } => self.on_link_down(now, reason),
            Input::Received(stream, message) => {
                if let Some(machines) = &mut self.machines {
                    machines.receive(now, stream, &message);
                }
            }
            Input::Carried { traffic, quality, wall_s } => {
                self.wall_s = wall_s;
                self.quality.quality = quality;
                self.quality.traffic = traffic;
                self.on_carried(now, traffic.total(), wall_s);
            }
            Input::Hint => self.watching.hint(now),
            Input::Observed { observed, version, wall_s } => {
                self.on_observed(now, observed, version, wall_s);
            }
            Input::Unreachable { reason } => self.on_unreachable(now, reason),
            Input::Found { image, is_here } => self.on_found(now, &image, is_here),
            Input::Pulling { image, percent } => self.on_pulling(now, &image, percent),
            Input::Fetched { image, id } => self.images.fetched(&image, id),
            Input::Surveyed(survey) => self.on_surveyed(now, survey),
            Input::Cleared { image, outcome } => self.on_cleared(now, &image, outcome),
            Input::Done { step, outcome } => self.on_done(now, &step, outcome),
            Input::Loaded(contents) => self.on_loaded(now, contents),
            Input::Committed => self.on_committed(now),
            Input::StoreFailed { full, reason } => self.on_store_failed(now, full, reason),
            Input::Updating(report) => {
                self.update = report;
                self.report_soon(now);
            }
            Input::Asked(ticket, request) => self.on_asked(now, ticket, request),
        }
    }

    /// The next effect to carry out.
    pub fn poll_effect(&mut self, now: Moment) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        if self.gate.is_waiting() {
            return None;
        }
        if self.machines.is_none() && self.gate.begin_load(now) {
            return Some(Effect::Load);
        }
        self.report_if_due(now);
        if let Some(machines) = &mut self.machines {
            let mut batch = machines.drain();
            batch.after.extend(beat(&mut self.heartbeat, now, machines));
            batch.ops.extend(self.ledger.take());
            batch.ops.extend(self.images.take());
            self.weigh(&mut batch.ops);
            if !batch.ops.is_empty() {
                self.after_commit = batch.after;
                self.gate.begin_commit();
                return Some(Effect::Commit(batch.ops));
            }
            if !batch.after.is_empty() || self.ledger.has_answers() {
                self.carry_out(now, batch.after);
                self.on_decided(now);
                return self.poll_effect(now);
            }
        }
        self.watching.begin(now)
    }

    /// When to call [`Self::handle`] with [`Input::Woken`] if nothing else happens, and why.
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        let sync = self.machines.as_ref().and_then(|machines| machines.up.poll_timeout());
        let heartbeat = self.heartbeat.map(|at| (at, "a sign of life while reports wait"));
        // A report needs the store: it goes when that has answered.
        let report = self.pace.poll_timeout().filter(|_| self.machines.is_some());
        let report = report.filter(|_| !self.gate.is_waiting());
        let due = [sync, self.watching.poll_timeout(), self.gate.poll_timeout(), heartbeat, report];
        due.into_iter().flatten().min()
    }

    fn handle_timeouts(&mut self, now: Moment) {
        if let Some(machines) = &mut self.machines {
            machines.up.handle_timeout(now);
        }
        self.gate.reopen(now);
    }

    fn on_link_up(&mut self, now: Moment) {
        self.link = LinkState { up: true, since: now, reason: None };
        self.heartbeat = self.muted.then_some(now);
        self.attempts.link_came_back(now);
        self.watching.want(now, "the link is back");
        if let Some(machines) = &mut self.machines {
            Self::open_link(machines, now, self.muted);
        }
    }

    fn on_link_down(&mut self, now: Moment, reason: String) {
        let since = if self.link.up { now } else { self.link.since };
        self.link = LinkState { up: false, since, reason: Some(reason) };
        self.heartbeat = None;
        if let Some(machines) = &mut self.machines {
            machines.link_down();
        }
    }

    fn on_loaded(&mut self, now: Moment, contents: Contents) {
        self.gate.loaded();
        self.ledger.load(&contents.entries);
        self.images.load(&contents.entries);
        self.load_spent(&contents.entries);
        let mut machines = Machines::restore(contents, &mut self.rng);
        if self.rival.is_some() {
            // What was read back may be from before the history that began then.
            machines.up.begin_epoch();
        }
        if self.link.up {
            Self::open_link(&mut machines, now, self.muted);
        }
        self.settled = false;
        self.are_all_known = false;
        self.spoken.forget();
        self.machines = Some(machines);
        let decided: Vec<_> = self.ledger.apps().cloned().collect();
        for app in &decided {
            self.choose(app);
        }
        self.settle(now);
        self.watching.want(now, "the store was read");
    }

    fn on_committed(&mut self, now: Moment) {
        if self.gate.committed() {
            tracing::info!("the store works again");
        }
        self.meter.add(now, std::mem::take(&mut self.writing));
        let after = std::mem::take(&mut self.after_commit);
        self.carry_out(now, after);
        self.on_decided(now);
        if !self.settled {
            self.settle(now);
        }
    }

    /// The machines are ahead of a store that refused a commit: they are dropped and read back.
    fn on_store_failed(&mut self, now: Moment, full: bool, reason: String) {
        self.after_commit.clear();
        self.machines = None;
        for ticket in self.ledger.failed() {
            let refusal = Refusal::new(
                RefusalCode::Unavailable,
                format!("the store takes no changes: {reason}"),
            );
            self.effects.push_back(Effect::Answer(ticket, Response::Refused(refusal)));
        }
        self.gate.failed(now, full, reason);
    }

    /// What was decided here is durable: it counts from now on.
    fn on_decided(&mut self, now: Moment) {
        let (apps, answers) = self.ledger.committed();
        for app in &apps {
            self.choose(app);
            self.watching.want(now, "something was decided here");
        }
        self.spoken.decided(&apps);
        self.review_doubt(now);
        let answers = answers.into_iter().map(|(ticket, answer)| Effect::Answer(ticket, answer));
        self.effects.extend(answers);
    }

    fn carry_out(&mut self, now: Moment, after: Vec<After>) {
        for after in after {
            match after {
                After::Send(stream, message) => {
                    let topic = Topic::of(self.config.node.clone(), stream, message.kind());
                    self.effects.push_back(Effect::Publish(topic, message));
                }
                After::Deliver(delivery) => self.deliver(now, &delivery),
            }
        }
    }

    fn deliver(&mut self, now: Moment, delivery: &Delivery) {
        if delivery.key == ShadowKey::Node {
            let desired = delivery.document.as_ref().map(|it| (delivery.version, it));
            return self.take_settings(now, desired);
        }
        let ShadowKey::App(app) = &delivery.key else {
            tracing::debug!(shadow = %delivery.key, "a desired half that this agent does not use");
            return;
        };
        tracing::info!(%app, version = %delivery.version, gone = delivery.document.is_none(),
            "desired state changed");
        if let Some(document) = &delivery.document {
            self.cloud.insert(app.clone(), DesiredApp::read(delivery.version, &document.unpack()));
            self.drop_local(app);
        } else {
            self.cloud.remove(app);
            self.ledger.forget(app);
        }
        self.choose(app);
        self.watching.want(now, "desired state changed");
    }

    /// A crash may have come between the cloud's word and what follows from it here.
    fn tidy_ledger(&mut self) {
        for app in self.ledger.apps().cloned().collect::<Vec<_>>() {
            self.drop_local(&app);
            self.choose(&app);
        }
    }

    /// The cloud's next version of an app ends what was applied here over an earlier one.
    fn drop_local(&mut self, app: &AppName) {
        let version = self.cloud.get(app).map(|cloud| cloud.version);
        if self.ledger.get(app).local.as_ref().is_some_and(|local| local.base != version) {
            self.ledger.decide(app, ledger::Decision::Local(None));
        }
    }

    /// Makes `desired` what the reader holds, as far as the reader knows.
    fn settle(&mut self, now: Moment) {
        let Some(machines) = &self.machines else { return };
        let reader = &machines.down;
        let is_in_doubt = reader.is_in_doubt();
        if reader.epoch() == Epoch::NONE && !is_in_doubt {
            return;
        }
        let mut held = BTreeMap::new();
        let node = reader.get(&ShadowKey::Node).map(|half| (half.version, half.document.clone()));
        for (key, half) in reader.halves() {
            if let ShadowKey::App(app) = key {
                held.insert(app.clone(), (half.version, half.document.unpack()));
            }
        }
        self.settled = !reader.is_incomplete() && !is_in_doubt;
        if node.is_some() || self.settled {
            self.take_settings(now, node.as_ref().map(|(version, it)| (*version, it)));
        }
        let mut changed = self.settled;
        for (app, (version, document)) in &held {
            // What is in memory was durable once: it is newer than what is in doubt.
            let is_news = |known: &DesiredApp| known.version != *version && !is_in_doubt;
            if self.cloud.get(app).is_none_or(is_news) {
                self.cloud.insert(app.clone(), DesiredApp::read(*version, document));
                self.drop_local(app);
                self.choose(app);
                changed = true;
            }
        }
        if self.settled {
            let gone = self.cloud.keys().filter(|app| !held.contains_key(*app)).cloned();
            for app in gone.collect::<Vec<_>>() {
                self.cloud.remove(&app);
                self.ledger.forget(&app);
                self.choose(&app);
            }
            self.tidy_ledger();
        }
        self.review_doubt(now);
        if changed {
            self.watching.want(now, "desired state is known");
        }
    }
}

fn fork(rng: &mut StdRng) -> StdRng {
    StdRng::seed_from_u64(rng.random())
}

/// The part of the store in which a stream's rows lie.
const fn prefix(stream: Stream) -> &'static [u8] {
    match stream {
        Stream::Down => b"down/",
        Stream::Up => b"up/",
    }
}
