//! Plays a scenario in the world of the system: virtual time, the link model of the emulator, the
//! agents' own waits. Everything follows from the seed. What costs time there costs a plausible time
//! here; keep-alives are not simulated, so that a carrier's forgetting of idle connections is not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gnomon_cloud::domain::{Action, Change, Precondition, Write};
use gnomon_edge::core::{Input, Ticket};
use gnomon_edge::local::Request;
use gnomon_schemas::app::{AppState, AppStatus};
use gnomon_schemas::document::Document;
use gnomon_schemas::key::ShadowKey;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::System;
use super::event::{Event, Fate};
use super::site::is_well;
use super::trap::watched;
use crate::scenario::Scenario;
use crate::scenario::judge::length;
use crate::scenario::record::{Record, restarts};
use crate::scenario::timetable::{Act, Cause, Harm, Timetable};
use crate::world::{Violation, guarded};

mod road;

use road::Road;

/// What a durable write takes, in milliseconds, in the cloud and at a site.
const CLOUD_WRITES: u64 = 4;
const SITE_WRITES: u64 = 15;
/// What a look at the orchestrator takes, and a step.
const ANSWERS: u64 = 20;
const STEPS: u64 = 250;
/// How many services an app has.
const SERVICES: usize = 2;

/// What was seen of a scenario in a world of this seed, and what happened there, if that is wanted.
pub fn play(scenario: &Scenario, seed: u64, tells: bool) -> (Record, String) {
    let timetable = Timetable::of(scenario);
    let mut scene = Scene::new(scenario, timetable, seed, tells);
    if let Err(violation) = watched(|| guarded(|| scene.run())) {
        scene.record.broken.push(violation.to_string());
    }
    scene.finish()
}

struct Scene<'a> {
    scenario: &'a Scenario,
    timetable: Timetable,
    system: System,
    record: Record,
    roads: Vec<Road>,
    /// How many acts are done.
    done: usize,
    cloud_is_there: bool,
    cloud_due: Option<u64>,
    /// Writes that nobody has taken yet, because the cloud is not there.
    unwritten: Vec<(u16, u32)>,
    rounds: u64,
    /// Those of which something changed.
    dirty: BTreeSet<u16>,
    /// Those of which something is to change at the cloud with its next write.
    touched: BTreeSet<u16>,
    rng: StdRng,
}

impl<'a> Scene<'a> {
    fn new(scenario: &'a Scenario, timetable: Timetable, seed: u64, tells: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5ce9e);
        let sites = scenario.sites();
        let profile = |site| scenario.fleet_of(site).map(|it| it.link.clone()).unwrap_or_default();
        let roads = (0..sites).map(|site| Road::new(&profile(site), rng.random())).collect();
        Self {
            scenario,
            timetable,
            system: System::new(seed, sites, tells),
            record: Record::new(sites),
            roads,
            done: 0,
            cloud_is_there: true,
            cloud_due: None,
            unwritten: (0..sites).map(|site| (site, 1)).collect(),
            rounds: 0,
            dirty: (0..sites).collect(),
            touched: (0..sites).collect(),
            rng,
        }
    }

    fn run(&mut self) -> Result<(), Violation> {
        let (least, most) = length(self.scenario, &self.timetable);
        let (least, most) = (millis(least), millis(most));
        loop {
            self.settle()?;
            self.look();
            let now = self.system.now;
            let is_done = now >= least && self.record.sites.iter().all(|it| it.converged.is_on());
            if is_done || now >= most {
                return Ok(());
            }
            let mut next = self.next().min(most);
            if now < least {
                next = next.min(least);
            }
            let wait = next.max(now + 1) - now;
            self.system.carry(Event::Wait(u32::try_from(wait).unwrap_or(u32::MAX)))?;
        }
    }

    fn sites(&self) -> std::ops::Range<u16> {
        0..self.scenario.sites()
    }

    /// When something happens next.
    fn next(&self) -> u64 {
        let act = self.timetable.acts.get(self.done).map(|(at, _)| millis(*at));
        let cloud = self.system.cloud.due().filter(|_| self.cloud_is_there);
        let sites = self.roads.iter().zip(&self.system.places).flat_map(|(road, place)| {
            let due = place.site.due().filter(|_| !road.is_off);
            [due, road.next()].into_iter().flatten()
        });
        let all = [act, cloud, self.cloud_due].into_iter().flatten().chain(sites);
        all.min().unwrap_or(u64::MAX)
    }

    /// Lets everything happen that is due.
    fn settle(&mut self) -> Result<(), Violation> {
        loop {
            let mut again = self.act()?;
            again |= self.cloud()?;
            for site in self.sites() {
                again |= self.site(site)?;
            }
            if !again {
                return Ok(());
            }
        }
    }

    fn cloud(&mut self) -> Result<bool, Violation> {
        let now = self.system.now;
        if !self.cloud_is_there {
            return Ok(false);
        }
        for (site, count) in std::mem::take(&mut self.unwritten) {
            self.write(site, count);
        }
        if self.system.cloud.is_writing() {
            if self.cloud_due.is_none_or(|due| due > now) {
                return Ok(false);
            }
            self.cloud_due = None;
            self.dirty.append(&mut self.touched);
            self.system.happen(Event::CloudWrites(Fate::Done))?;
            return Ok(true);
        }
        if !self.system.cloud.has_work(now) {
            return Ok(false);
        }
        self.system.happen(Event::Decide)?;
        self.cloud_due = Some(now + CLOUD_WRITES);
        Ok(true)
    }

    /// What is due at a site and on its road; whether anything was.
    fn site(&mut self, site: u16) -> Result<bool, Violation> {
        let now = self.system.now;
        let (Some(road), cloud) = (self.roads.get_mut(usize::from(site)), self.cloud_is_there)
        else {
            return Ok(false);
        };
        let place = self.system.place(site);
        let mut events = Vec::new();
        if !road.is_off {
            let of = &place.site;
            let works = [
                (of.is_writing(), SITE_WRITES, Event::SiteWrites(site, Fate::Done)),
                (!of.answers.is_empty(), ANSWERS, Event::Answered { site, at: 0 }),
                (!of.steps.is_empty(), STEPS, Event::StepEnds { site, at: 0, fails: false }),
            ];
            for (due, (has, takes, event)) in road.work.iter_mut().zip(works) {
                match *due {
                    _ if !has => *due = None,
                    None => *due = Some(now + takes),
                    Some(at) if at <= now => {
                        *due = None;
                        events.push(event);
                    }
                    Some(_) => {}
                }
            }
        }
        events.extend(road.pass(now, site, &mut place.line, cloud));
        let moved = !events.is_empty();
        for event in events {
            // What the agent sees and decides shows in what it writes, sends and does.
            if !matches!(event, Event::Answered { .. }) {
                self.dirty.insert(site);
                self.touched.insert(site);
            }
            if matches!(event, Event::StepEnds { .. }) {
                self.system.happen(event)?;
            } else {
                self.system.carry(event)?;
            }
        }
        Ok(moved)
    }

    /// Does what the timetable says; whether there was anything.
    fn act(&mut self) -> Result<bool, Violation> {
        let now = self.system.now;
        let mut did = false;
        while let Some((_, act)) =
            self.timetable.acts.get(self.done).filter(|(at, _)| millis(*at) <= now)
        {
            let act = act.clone();
            self.done += 1;
            did = true;
            self.system.tell(|| format!("scenario: {act:?}"));
            self.carry_out(act)?;
        }
        Ok(did)
    }

    fn carry_out(&mut self, act: Act) -> Result<(), Violation> {
        let now = self.system.now;
        match act {
            Act::Carrier(site, is_there) => self.road(site, |road| road.order(now, is_there)),
            Act::Link(site, profile) => self.road(site, |road| road.behave(now, &profile)),
            Act::Write(site, count) => self.unwritten.push((site, count)),
            Act::Report(site, count) => self.report(site, count),
            Act::Cloud(false) => {
                self.cloud_is_there = false;
                self.cloud_due = None;
                self.system.happen(Event::CloudCrash)?;
            }
            Act::Cloud(true) => self.cloud_is_there = true,
            Act::Off(site, cause) => self.off(site, cause)?,
            Act::On(site) => {
                // What the dead agent still wanted is forgotten with it.
                let place = self.system.place(site);
                place.site.steps.clear();
                place.site.answers.clear();
                self.system.happen(Event::SiteCrash { site, power: false })?;
                self.road(site, |road| road.turn_on(now));
            }
            Act::Disturb(site, harm) => {
                let at = self.rng.random();
                let exits = Event::InstanceDies { site, at };
                let gone = Event::InstanceGoes { site, at };
                self.system.happen(if harm == Harm::Exits { exits } else { gone })?;
            }
            Act::Disk(site, is_full) => self.system.happen(Event::SiteFull(site, is_full))?,
            Act::CloudDisk(is_full) => self.system.happen(Event::CloudFull(is_full))?,
            Act::Orchestrator(site, answers) => {
                self.system.happen(Event::Outage(site, !answers))?;
            }
        }
        self.dirty.extend(0..self.scenario.sites());
        Ok(())
    }

    fn road(&mut self, site: u16, change: impl FnOnce(&mut Road)) {
        self.roads.get_mut(usize::from(site)).map(change);
    }

    fn off(&mut self, site: u16, cause: Cause) -> Result<(), Violation> {
        let now = self.system.now;
        self.system.happen(Event::SiteHangsUp(site))?;
        // A killed process' sockets are closed; a machine without power says nothing.
        if cause == Cause::Killed {
            self.system.happen(Event::BrokerHangsUp(site))?;
        }
        self.system.happen(Event::SiteCrash { site, power: cause == Cause::Power })?;
        self.road(site, |road| road.turn_off(now));
        Ok(())
    }

    fn write(&mut self, site: u16, count: u32) {
        let apps = self.scenario.fleet_of(site).map_or(1, |fleet| fleet.apps);
        self.touched.insert(site);
        for _ in 0..count {
            self.rounds += 1;
            for app in 0..apps {
                let (key, document) = (key(app), document(self.rounds));
                let place = self.system.place(site);
                place.ledger.asked(&key, Some(Arc::new(document.clone())));
                let name = place.site.name.clone();
                let (change, when) = (Change::Put(document), Precondition::Any);
                let write = Write { key, change, when, fields: Vec::new() };
                self.system.tally.changes += 1;
                self.system.cloud.tell(name, Action::Write(write));
            }
        }
    }

    fn report(&mut self, site: u16, count: u32) {
        for number in 0..count {
            let key: ShadowKey = "device/pump-1".parse().expect("a well-formed key");
            let value = json!({ "sales": self.rounds * 10_000 + u64::from(number) + 1 });
            self.system.input(site, Input::Asked(Ticket(1), Request::Report { key, value }));
        }
        self.rounds += 1;
    }

    /// Writes down how those stand of which something changed.
    fn look(&mut self) {
        let now = Duration::from_millis(self.system.now);
        for site in std::mem::take(&mut self.dirty) {
            let apps = self.scenario.fleet_of(site).map_or(1, |fleet| fleet.apps);
            let instances = self.system.place(site).site.instances();
            let well = instances.iter().filter(|(_, state)| is_well(*state)).count();
            let runs = well == usize::from(apps) * SERVICES;
            let is_off = self.roads.get(usize::from(site)).is_some_and(|road| road.is_off);
            let ill = if is_off { Some("it is off".to_owned()) } else { self.ill(site, apps) };
            let ill = ill.or_else(|| (!runs).then(|| format!("of its services {well} run")));
            let Some(record) = self.record.site(site) else { continue };
            record.runs.set(now, runs);
            record.converged.set(now, ill.is_none());
            record.ill = ill;
        }
    }

    /// Why a site is not as desired, as the cloud sees it.
    fn ill(&mut self, site: u16, apps: u8) -> Option<String> {
        let now = self.system.now;
        let place = self.system.place(site);
        let (status, name) = (place.site.status(now), place.site.name.clone());
        let Some(node) = self.system.cloud.domain.node(&name) else {
            return Some("the cloud does not know it".to_owned());
        };
        if !node.view().in_sync {
            return Some("it does not hold every desired".to_owned());
        }
        if !status.is_some_and(|status| status.up.is_some_and(|up| up.in_sync)) {
            return Some("it has not reported everything".to_owned());
        }
        (0..apps).find_map(|app| {
            let view = node.shadow(&key(app));
            let Some(desired) = view.desired else { return Some("nothing is desired".to_owned()) };
            let report = view.reported.map(|half| half.document.to_value());
            let report = report.and_then(|it| AppStatus::from_document(&it).ok());
            let is_done = report.is_some_and(|it| {
                it.desired_version == desired.version
                    && it.state == AppState::Running
                    && it.rolled_back_from.is_none()
            });
            (!is_done).then(|| format!("the newest {} is not reported to run", key(app)))
        })
    }

    fn finish(mut self) -> (Record, String) {
        self.record.end = Duration::from_millis(self.system.now);
        for (site, road) in (0..).zip(&self.roads) {
            let restarts = restarts(&self.system.place(site).site.fake.steps());
            if let Some(record) = self.record.site(site) {
                record.restarts = restarts;
                record.bytes = road.bytes;
            }
        }
        (self.record, self.system.story.unwrap_or_default())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn key(app: u8) -> ShadowKey {
    format!("app/station-{app}").parse().expect("a well-formed key")
}

/// An app such as a petrol station runs, in a version of its own.
fn document(round: u64) -> Document {
    let services = json!({
        "controller": { "image": "controller:1", "restart": "always",
            "environment": { "ROUND": round.to_string(), "TZ": "Europe/Berlin" } },
        "display": { "image": "display:1", "restart": "always" },
    });
    Document::from_value(json!({ "services": services })).expect("a well-formed app")
}
