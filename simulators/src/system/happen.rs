//! What each event does.

use std::sync::Arc;

use gnomon_cloud::domain::{Action, Answer, Change, Precondition, Session, Write};
use gnomon_edge::core::Input;
use gnomon_edge::reconcile::model::InstanceState;
use gnomon_schemas::topic::Topic;
use gnomon_schemas::wire::Message;

use super::cloud::Deed;
use super::event::{Event, Fate};
use super::{System, site, wishes};
use crate::world::{Invariant, Violation};

impl System {
    pub(super) fn happen(&mut self, event: Event) -> Result<(), Violation> {
        self.carry(event)?;
        self.check()
    }

    /// Lets something happen of which the result is looked at later.
    pub(super) fn carry(&mut self, event: Event) -> Result<(), Violation> {
        self.tally.events += 1;
        self.tell(|| format!("{event:?}"));
        match event {
            Event::Wish { site, app, variant } => self.wish(site, app, variant),
            Event::Decide => self.cloud.decide(self.now),
            Event::CloudWrites(fate) => self.cloud_writes(fate)?,
            Event::CloudCrash => self.cloud_crash(false)?,
            Event::CloudFull(full) => self.cloud.set_full(full),
            Event::Connect(site) => self.connect(site),
            Event::SiteHangsUp(site) => self.site_hangs_up(site),
            Event::BrokerHangsUp(site) => self.broker_hangs_up(site),
            Event::Arrive { site, up, at } => self.arrive(site, up, at, false)?,
            Event::Repeat { site, up, at } => self.arrive(site, up, at, true)?,
            Event::Lose { site, up, at } => {
                let lost = self.place(site).line.take(up, at, false).is_some();
                self.tally.lost += u64::from(lost);
            }
            Event::SiteWrites(site, fate) => self.site_writes(site, fate),
            Event::Answered { site, at } => self.answer(site, at),
            Event::StepEnds { site, at, fails } => {
                let now = self.now;
                let sent = self.place(site).site.end_step(now, at, fails);
                self.send_up(site, sent);
            }
            Event::SiteCrash { site, power } => self.site_crash(site, false, power),
            Event::SiteFull(site, full) => self.place(site).site.set_full(full),
            Event::Outage(site, true) => {
                self.place(site).site.fake.break_down("the daemon is gone");
            }
            Event::Outage(site, false) => self.recover(site),
            Event::InstanceDies { site, at } => self.disturb(site, at, false),
            Event::InstanceGoes { site, at } => self.disturb(site, at, true),
            Event::Wait(millis) => self.wait(millis),
        }
        Ok(())
    }

    fn wish(&mut self, site: u16, app: u8, variant: Option<u8>) {
        self.tally.changes += 1;
        let document = variant.map(wishes::document);
        let (key, when) = (wishes::key(app), Precondition::Any);
        self.place(site).ledger.asked(&key, document.clone().map(Arc::new));
        let change = document.map_or(Change::Delete, Change::Put);
        let write = Write { key, change, when, fields: Vec::new() };
        let name = self.place(site).site.name.clone();
        self.cloud.tell(name, Action::Write(write));
    }

    fn cloud_writes(&mut self, fate: Fate) -> Result<(), Violation> {
        if !self.cloud.is_writing() {
            return Ok(());
        }
        self.tally.commits += 1;
        match fate {
            Fate::Done => {
                let deeds = self.cloud.written(self.now)?;
                for deed in deeds {
                    self.carry_out(deed);
                }
                Ok(())
            }
            Fate::DoneUnheard => self.cloud_crash(true),
            Fate::Lost => self.cloud_crash(false),
        }
    }

    fn cloud_crash(&mut self, durable: bool) -> Result<(), Violation> {
        self.tally.crashes += 1;
        for place in &mut self.places {
            place.line.broker = None;
            place.line.packets(true).clear();
        }
        self.cloud.crash(self.now, durable)
    }

    fn carry_out(&mut self, deed: Deed) {
        match deed {
            Deed::Send(topic, bytes) => {
                self.tally.messages += 1;
                self.tell(|| format!("    the cloud sends {topic}, {} bytes", bytes.len()));
                let number = self.number(topic.node.as_str());
                let sent = self.place(number).line.send_down(topic, bytes);
                self.tally.lost += u64::from(!sent);
            }
            Deed::Close(session) => {
                let is_it = |place: &&super::Place| place.line.broker == Some(session);
                let name = self.places.iter().find(is_it).map(|place| place.site.name.clone());
                if let Some(name) = name {
                    self.broker_hangs_up(self.number(name.as_str()));
                }
            }
            Deed::Answered(node, Answer::Shadow(view, _)) => {
                self.tally.answers += 1;
                self.tell(|| format!("    answered: {} v{}", view.key, view.desired_version()));
                let number = self.number(node.as_str());
                let desired = view.desired.as_ref().map(|half| half.document.tree().clone());
                self.place(number).ledger.answered(&view.key, desired);
            }
            Deed::Answered(..) => {}
            Deed::Refused(node, why) => self.tell(|| format!("    refused for {node}: {why}")),
        }
    }

    fn number(&self, name: &str) -> u16 {
        let at = self.places.iter().position(|place| place.site.name.as_str() == name);
        at.and_then(|at| u16::try_from(at).ok()).expect("the system knows its sites")
    }

    fn connect(&mut self, site: u16) {
        if self.place(site).line.site.is_some() {
            return;
        }
        self.tally.connections += 1;
        let session = self.cloud.next_session();
        let place = self.place(site);
        (place.line.site, place.line.broker) = (Some(session), Some(session));
        let name = place.site.name.clone();
        self.cloud.tell(name, Action::Connected(Session(session)));
        self.input(site, Input::LinkUp);
    }

    fn site_hangs_up(&mut self, site: u16) {
        if self.place(site).line.site.take().is_some() {
            self.input(site, Input::LinkDown { reason: "it is dead".to_owned() });
        }
    }

    fn broker_hangs_up(&mut self, site: u16) {
        let place = self.place(site);
        let name = place.site.name.clone();
        if let Some(session) = place.line.broker.take() {
            self.cloud.tell(name, Action::Disconnected(Session(session), "it is dead".to_owned()));
        }
    }

    fn arrive(&mut self, site: u16, up: bool, at: u8, stays: bool) -> Result<(), Violation> {
        let line = &mut self.place(site).line;
        let Some(packet) = line.take(up, at, stays) else { return Ok(()) };
        let is_alive = Some(packet.session) == if up { line.broker } else { line.site };
        self.tally.repeated += u64::from(stays);
        self.tally.arrived += u64::from(is_alive);
        self.tally.lost += u64::from(!is_alive);
        if !is_alive {
            return Ok(());
        }
        let message = packet.message().ok_or_else(|| Violation {
            invariant: Invariant::Convergence,
            what: format!("{} cannot be read", packet.topic),
        })?;
        self.tell(|| format!("    arrives: {} {message:?}", packet.topic));
        let stream = packet.topic.stream();
        if up {
            let (session, bytes) = (Session(packet.session), packet.bytes.len());
            let name = self.place(site).site.name.clone();
            self.cloud.tell(name, Action::Received { session, stream, message, bytes });
        } else {
            self.input(site, Input::Received(stream, message));
        }
        Ok(())
    }

    fn site_writes(&mut self, site: u16, fate: Fate) {
        if !self.place(site).site.is_writing() {
            return;
        }
        self.tally.commits += 1;
        match fate {
            Fate::Done => {
                let now = self.now;
                let sent = self.place(site).site.written(now);
                self.send_up(site, sent);
            }
            Fate::DoneUnheard => self.site_crash(site, true, false),
            Fate::Lost => self.site_crash(site, false, true),
        }
    }

    fn answer(&mut self, site: u16, at: u8) {
        let answers = &mut self.place(site).site.answers;
        let at = usize::from(at) % answers.len().max(1);
        if let Some(answer) = answers.remove(at) {
            self.input(site, answer);
        }
    }

    pub(super) fn site_crash(&mut self, site: u16, durable: bool, power: bool) {
        self.tally.crashes += 1;
        let now = self.now;
        let place = self.place(site);
        place.line.site = None;
        let sent = place.site.crash(now, durable, power);
        self.send_up(site, sent);
    }

    pub(super) fn recover(&mut self, site: u16) {
        self.place(site).site.fake.recover();
        self.input(site, Input::Hint);
    }

    fn disturb(&mut self, site: u16, at: u8, goes: bool) {
        let of = &self.place(site).site;
        let (fake, instances) = (&of.fake, of.instances());
        let Some((slot, state)) = instances.get(usize::from(at) % instances.len().max(1)) else {
            return;
        };
        if goes {
            fake.vanish(slot);
        } else if state.is_running() {
            fake.set_state(slot, InstanceState::Exited { code: 1 });
        }
        self.input(site, Input::Hint);
    }

    /// Time passes for everyone; what is due is told to the sites, and the cloud's next round.
    pub(super) fn wait(&mut self, millis: u32) {
        self.now += u64::from(millis);
        let now = self.now;
        for site in 0..u16::try_from(self.places.len()).unwrap_or(u16::MAX) {
            if self.place(site).site.due().is_some_and(|due| due <= now) {
                self.tally.timers += 1;
                self.input(site, Input::Woken);
            }
        }
    }

    pub(super) fn input(&mut self, site: u16, input: Input) {
        let now = self.now;
        let sent = self.place(site).site.input(now, input);
        self.send_up(site, sent);
    }

    fn send_up(&mut self, number: u16, sent: Vec<(Topic, Message)>) {
        for (topic, message) in sent {
            self.tally.messages += 1;
            let name = site::name(number);
            self.tell(|| format!("    {name} sends {topic} {message:?}"));
            let sent = self.place(number).line.send_up(&topic, &message);
            self.tally.lost += u64::from(!sent);
        }
    }
}
