//! What each event does to the world. An event that cannot happen now does nothing.

use gnomon_schemas::document::{Document, Packed};
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::{Heading, Stream};

use super::event::{Event, Machine, Node, Role, Scope};
use super::violation::Violation;
use super::{Site, World, documents};

impl World {
    /// Lets one thing happen, and checks everything that it could have broken.
    pub(super) fn happen(&mut self, event: Event) -> Result<(), Violation> {
        self.tally.events += 1;
        self.tell(|| format!("{event:?}"));
        match event {
            Event::Set { site, stream, key, field, value } => {
                self.set(site, stream, key, field, value)
            }
            Event::Delete { site, stream, key } => {
                let key = self.key_of(stream, key);
                self.ask(site, stream, &key, None)
            }
            Event::Churn { site, stream, from, count } => {
                self.churn(site, stream, from..from.saturating_add(count))
            }
            Event::Apply { site, pick } => self.apply(site, pick),
            Event::Commit(node, scope) => self.commit(node, scope),
            Event::Effect(machine) => self.effect(machine),
            Event::Timer { site, stream } => self.timer(site, stream),
            Event::Connect { site, heard } => self.connect(site, heard),
            Event::SiteHangsUp(site) => self.site_hangs_up(site),
            Event::BrokerHangsUp(site) => self.broker_hangs_up(site),
            Event::BrokerRestart => self.broker_restart(),
            Event::Cut { site, heading, on } => {
                self.site(site).link.cut(heading, on);
                Ok(())
            }
            Event::Arrive(pick) => self.arrive(pick, false),
            Event::Repeat(pick) => self.arrive(pick, true),
            Event::Lose(pick) => {
                self.lose(pick);
                Ok(())
            }
            Event::Damage(pick) => {
                self.damage(pick);
                Ok(())
            }
            Event::Crash { node, kept } => self.crash(node, kept),
            Event::Wipe(node) => self.wipe(node),
            Event::Backup(node) => {
                self.back_up(node);
                Ok(())
            }
            Event::RestoreBackup(node) => self.restore_backup(node),
            Event::Full { node, on } => {
                self.process(node).full = on;
                Ok(())
            }
            Event::Wait { millis } => {
                self.now += u64::from(millis);
                Ok(())
            }
            Event::Jump { node, millis } => {
                self.process(node).ahead += u64::from(millis);
                Ok(())
            }
        }
    }

    /// The keys that the site writes of its own accord are none that it is asked about.
    pub(super) fn key_of(&self, stream: Stream, pick: u8) -> ShadowKey {
        let key = self.key(pick);
        match stream {
            Stream::Down => key,
            Stream::Up => format!("device/own-{}", usize::from(pick) % self.setup.keys.len())
                .parse()
                .expect("a well-formed key"),
        }
    }

    fn set(
        &mut self,
        site: u16,
        stream: Stream,
        key: u8,
        field: u8,
        value: u8,
    ) -> Result<(), Violation> {
        let key = self.key_of(stream, key);
        let padding = self.setup.padding;
        let facts = &self.site(site).channel(stream).ledger.live;
        let old = facts.get(&key).and_then(|fact| fact.document.as_ref()).map(Packed::unpack);
        let document = documents::edit(old.as_ref(), field, value, padding);
        self.ask(site, stream, &key, Some(document))
    }

    fn ask(
        &mut self,
        site: u16,
        stream: Stream,
        key: &ShadowKey,
        document: Option<Document>,
    ) -> Result<(), Violation> {
        self.tally.changes += 1;
        let node = Machine { site, stream, role: Role::Writer }.node();
        let now = self.clock(node);
        self.site(site).channel_mut(stream).ask(now, key, document)
    }

    fn churn(
        &mut self,
        site: u16,
        stream: Stream,
        numbers: std::ops::Range<u16>,
    ) -> Result<(), Violation> {
        for number in numbers {
            let key = format!("device/{stream:?}-{number}").parse().expect("a well-formed key");
            let live = &self.site(site).channel(stream).ledger.live;
            let exists = live.get(&key).is_some_and(|fact| fact.document.is_some());
            let document = (!exists).then(|| documents::edit(None, 0, 1, 0));
            self.ask(site, stream, &key, document)?;
        }
        Ok(())
    }

    /// The site's application takes one thing that it was told and does it.
    fn apply(&mut self, site: u16, pick: u8) -> Result<(), Violation> {
        let here = self.site(site);
        let (view, reported) = (&here.down.follower.view, &here.up.ledger.live);
        let is = |key: &ShadowKey| reported.get(key).and_then(|fact| fact.document.as_ref());
        let stale = reported
            .keys()
            .filter(|key| !view.contains_key(*key) && is(key).is_some_and(documents::is_report));
        let due: Vec<_> = view
            .iter()
            .filter(|(key, desired)| !is(key).is_some_and(|it| documents::follows(it, desired)))
            .map(|(key, desired)| (key, Some(desired)))
            .chain(stale.map(|key| (key, None)))
            .collect();
        let Some((key, desired)) = due.get(usize::from(pick) % due.len().max(1)) else {
            return Ok(());
        };
        let (key, report) = ((*key).clone(), desired.map(documents::report));
        self.ask(site, Stream::Up, &key, report)
    }

    /// Whether the site's application has nothing left to do.
    pub(super) fn is_applied(site: &Site) -> bool {
        let reported = site.up.ledger.live.iter();
        let reports = reported.filter_map(|(key, fact)| Some((key, fact.document.as_ref()?)));
        let mut reports = reports.filter(|(_, document)| documents::is_report(document));
        let same = site.down.follower.view.iter().all(|(key, desired)| {
            reports
                .next()
                .is_some_and(|(reported, is)| reported == key && documents::follows(is, desired))
        });
        same && reports.next().is_none()
    }

    fn commit(&mut self, node: Node, scope: Scope) -> Result<(), Violation> {
        let full = self.process(node).full;
        let (machines, all): (Vec<_>, _) = match scope {
            Scope::Group(site) => (self.machines(node, site), true),
            Scope::Next(machine) => (vec![machine], false),
        };
        for machine in machines {
            let Machine { site, stream, role } = machine;
            let channel = self.site(site).channel_mut(stream);
            if !channel.has_write(role) {
                continue;
            }
            if full {
                channel.refuse(role)?;
                self.tally.refusals += 1;
                self.relink(machine)?;
            } else {
                channel.commit(role, all)?;
                self.tally.commits += 1;
            }
        }
        Ok(())
    }

    /// The machines of a node that concern one site.
    fn machines(&self, node: Node, site: u16) -> Vec<Machine> {
        let site = site % self.setup.sites;
        let here = |machine: &Machine| match (machine.node(), node) {
            (Node::Cloud, Node::Cloud) => true,
            (Node::Site(a), Node::Site(b)) => a == b % self.setup.sites,
            _ => false,
        };
        Machine::all(site).filter(here).collect()
    }

    fn timer(&mut self, site: u16, stream: Stream) -> Result<(), Violation> {
        let now = self.clock(Machine { site, stream, role: Role::Writer }.node());
        let channel = self.site(site).channel_mut(stream);
        if channel.due().is_some_and(|due| due <= now) {
            channel.timeout(now)?;
            self.tally.timers += 1;
        }
        Ok(())
    }

    fn crash(&mut self, node: Node, kept: bool) -> Result<(), Violation> {
        self.tally.crashes += 1;
        let kept = kept && !self.process(node).full;
        self.stop(node);
        for site in self.sites_of(node) {
            for Machine { stream, role, .. } in self.machines(node, site) {
                let channel = self.site(site).channel_mut(stream);
                if kept {
                    channel.commit(role, true)?;
                }
                channel.restart(role)?;
            }
        }
        Ok(())
    }

    fn wipe(&mut self, node: Node) -> Result<(), Violation> {
        self.tally.wipes += 1;
        self.stop(node);
        for site in self.sites_of(node) {
            for Machine { stream, role, .. } in self.machines(node, site) {
                self.site(site).channel_mut(stream).wipe(role)?;
            }
        }
        Ok(())
    }

    fn back_up(&mut self, node: Node) {
        self.process(node).backed_up = true;
        for site in self.sites_of(node) {
            for Machine { stream, role, .. } in self.machines(node, site) {
                self.site(site).channel_mut(stream).back_up(role);
            }
        }
    }

    fn restore_backup(&mut self, node: Node) -> Result<(), Violation> {
        if !self.process(node).backed_up {
            return Ok(());
        }
        self.tally.restores += 1;
        self.stop(node);
        for site in self.sites_of(node) {
            for Machine { stream, role, .. } in self.machines(node, site) {
                self.site(site).channel_mut(stream).restore_backup(role)?;
            }
        }
        Ok(())
    }

    /// The process is gone, its connections with it, and another begins with a clock of its own.
    fn stop(&mut self, node: Node) {
        let now = self.now;
        let process = self.process(node);
        (process.started, process.ahead, process.full) = (now, 0, false);
        for site in self.sites_of(node) {
            let link = &mut self.site(site).link;
            match node {
                Node::Site(_) => link.site = None,
                Node::Cloud => {
                    link.cloud = None;
                    link.broker = None;
                }
            }
        }
    }

    /// A machine that was started while the link is up is told so.
    fn relink(&mut self, machine: Machine) -> Result<(), Violation> {
        let now = self.clock(machine.node());
        let Machine { site, stream, role } = machine;
        let link = &self.site(site).link;
        let up = match machine.end() {
            Heading::ToSite => link.site.is_some(),
            Heading::FromSite if role == Role::Writer => link.broker.is_some(),
            Heading::FromSite => link.cloud.is_some(),
        };
        if up { self.site(site).channel_mut(stream).link_up(role, now) } else { Ok(()) }
    }
}
