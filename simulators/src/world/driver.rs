//! Chooses what happens next, by chance, among what can happen.

use gnomon_schemas::topic::{Heading, Stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::documents::FIELDS;
use super::event::{Event, Machine, Node, Pick, Role, Scope};
use super::network::Link;
use super::{Site, World};

/// How often a fault that goes by itself goes.
const HEALING: u32 = 20;

/// What kind of thing happens; its details are drawn once it is chosen.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Set,
    Delete,
    Churn,
    Apply,
    Commit,
    Effect,
    Timer(Stream),
    Connect { heard: bool },
    SiteHangsUp,
    BrokerHangsUp,
    BrokerRestart,
    Cut(Heading),
    Arrive(Heading),
    Repeat(Heading),
    Lose(Heading),
    Damage(Heading),
    Crash(Node),
    Wipe(Node),
    Backup(Node),
    Restore(Node),
    Full(Node, bool),
    Wait,
    Jump,
}

/// The chance behind one run.
#[derive(Debug)]
pub(super) struct Driver {
    rng: StdRng,
    /// Sites that things happen to more often, so that much happens to some even among many.
    hot: Vec<u16>,
    kinds: Vec<(u32, Kind)>,
}

impl Driver {
    pub(super) fn new(seed: u64, sites: u16) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
        let hot = (0..8).map(|_| rng.random_range(0..sites)).collect();
        Self { rng, hot, kinds: Vec::new() }
    }

    /// The next event.
    pub(super) fn next(&mut self, world: &mut World) -> Event {
        let number = if self.rng.random_bool(0.5) {
            self.hot[self.rng.random_range(0..self.hot.len())]
        } else {
            self.rng.random_range(0..world.setup.sites)
        };
        self.kinds.clear();
        let kinds = self.offer(world, number);
        let total: u32 = kinds.iter().map(|(rate, _)| rate).sum();
        let mut ticket = self.rng.random_range(0..total.max(1));
        let chosen = kinds.iter().find(|(rate, _)| {
            let here = ticket < *rate;
            ticket = ticket.saturating_sub(*rate);
            here
        });
        let kind = chosen.map_or(Kind::Wait, |(_, kind)| *kind);
        self.kinds = kinds;
        self.detail(world, number, kind)
    }

    /// Everything that can happen to a site now, with its rate.
    fn offer(&mut self, world: &mut World, number: u16) -> Vec<(u32, Kind)> {
        let mut kinds = std::mem::take(&mut self.kinds);
        let mut offer = |rate: u32, kind| {
            if rate > 0 {
                kinds.push((rate, kind));
            }
        };
        let rates = world.setup.rates;
        offer(rates.set, Kind::Set);
        offer(rates.delete, Kind::Delete);
        offer(rates.churn, Kind::Churn);
        offer(rates.apply, Kind::Apply);
        offer(rates.wait, Kind::Wait);
        offer(rates.jump, Kind::Jump);
        for stream in [Stream::Down, Stream::Up] {
            let writer = Machine { site: number, stream, role: Role::Writer };
            let now = world.clock(writer.node());
            let due = world.site(number).channel(stream).due();
            offer(
                if due.is_some_and(|due| due <= now) { rates.timer } else { 0 },
                Kind::Timer(stream),
            );
        }
        let site = &world.sites[usize::from(number)];
        let has = |test: fn(&Site, Machine) -> bool| Machine::all(number).any(|it| test(site, it));
        offer(if has(Site::has_write) { rates.commit } else { 0 }, Kind::Commit);
        offer(if has(Site::has_effect) { rates.effect } else { 0 }, Kind::Effect);
        offer_link(&site.link, world, &mut offer);
        // What concerns the cloud concerns all sites: it must not happen more often for many.
        let cloud = self.rng.random_range(0..world.setup.sites) == 0;
        for node in [Node::Site(number), Node::Cloud].into_iter().take(1 + usize::from(cloud)) {
            offer_faults(node, world, &mut offer);
        }
        if cloud {
            offer(rates.broker_restart, Kind::BrokerRestart);
        }
        kinds
    }

    fn detail(&mut self, world: &World, site: u16, kind: Kind) -> Event {
        let rng = &mut self.rng;
        match kind {
            Kind::Set => {
                let (key, field) = (rng.random(), rng.random_range(0..FIELDS));
                let value = rng.random_range(0..6);
                Event::Set { site, stream: stream(rng), key, field, value }
            }
            Kind::Delete => Event::Delete { site, stream: stream(rng), key: rng.random() },
            Kind::Churn => {
                let from = rng.random_range(0..4) * 100;
                Event::Churn { site, stream: stream(rng), from, count: rng.random_range(100..400) }
            }
            Kind::Apply => Event::Apply { site, pick: rng.random() },
            Kind::Commit => self.commit(world, site),
            Kind::Effect => self.effect(world, site),
            Kind::Timer(stream) => Event::Timer { site, stream },
            Kind::Connect { heard } => Event::Connect { site, heard },
            Kind::SiteHangsUp => Event::SiteHangsUp(site),
            Kind::BrokerHangsUp => Event::BrokerHangsUp(site),
            Kind::BrokerRestart => Event::BrokerRestart,
            Kind::Cut(heading) => {
                let on = !world.sites[usize::from(site)].link.is_cut(heading);
                Event::Cut { site, heading, on }
            }
            Kind::Arrive(heading) => Event::Arrive(pick(rng, site, heading)),
            Kind::Repeat(heading) => Event::Repeat(pick(rng, site, heading)),
            Kind::Lose(heading) => Event::Lose(pick(rng, site, heading)),
            Kind::Damage(heading) => Event::Damage(pick(rng, site, heading)),
            Kind::Crash(node) => Event::Crash { node, kept: rng.random() },
            Kind::Wipe(node) => Event::Wipe(node),
            Kind::Backup(node) => Event::Backup(node),
            Kind::Restore(node) => Event::RestoreBackup(node),
            Kind::Full(node, on) => Event::Full { node, on },
            Kind::Wait => Event::Wait { millis: duration(rng) },
            Kind::Jump => {
                let node = if rng.random_bool(0.3) { Node::Cloud } else { Node::Site(site) };
                Event::Jump { node, millis: rng.random_range(1..100_000_000) }
            }
        }
    }

    fn commit(&mut self, world: &World, number: u16) -> Event {
        let site = &world.sites[usize::from(number)];
        let able: Vec<_> = Machine::all(number).filter(|it| site.has_write(*it)).collect();
        let machine = able[self.rng.random_range(0..able.len())];
        let scope =
            if self.rng.random_bool(0.5) { Scope::Group(number) } else { Scope::Next(machine) };
        Event::Commit(machine.node(), scope)
    }

    fn effect(&mut self, world: &World, number: u16) -> Event {
        let site = &world.sites[usize::from(number)];
        let able: Vec<_> = Machine::all(number).filter(|it| site.has_effect(*it)).collect();
        Event::Effect(able[self.rng.random_range(0..able.len())])
    }
}

impl Site {
    pub(super) fn has_write(&self, machine: Machine) -> bool {
        self.channel(machine.stream).has_write(machine.role)
    }

    pub(super) fn has_effect(&self, machine: Machine) -> bool {
        self.channel(machine.stream).has_effect(machine.role)
    }
}

fn offer_link(link: &Link, world: &World, offer: &mut impl FnMut(u32, Kind)) {
    let rates = world.setup.rates;
    if link.site.is_none() && link.is_whole() {
        offer(rates.connect, Kind::Connect { heard: true });
        offer(rates.half_connect, Kind::Connect { heard: false });
    }
    let half_open = if link.site == link.broker { 0 } else { HEALING };
    if link.site.is_some() {
        offer(rates.site_hangs_up + half_open, Kind::SiteHangsUp);
    }
    if link.broker.is_some() {
        offer(rates.broker_hangs_up + half_open, Kind::BrokerHangsUp);
    }
    for heading in [Heading::ToSite, Heading::FromSite] {
        offer(if link.is_cut(heading) { HEALING } else { rates.cut }, Kind::Cut(heading));
        if !link.packets(heading).is_empty() {
            offer(rates.arrive, Kind::Arrive(heading));
            offer(rates.repeat, Kind::Repeat(heading));
            offer(rates.lose, Kind::Lose(heading));
            offer(rates.damage, Kind::Damage(heading));
        }
    }
}

fn offer_faults(node: Node, world: &World, offer: &mut impl FnMut(u32, Kind)) {
    let rates = world.setup.rates;
    let (crash, process) = match node {
        Node::Cloud => (rates.crash_cloud, &world.cloud),
        Node::Site(site) => (rates.crash_site, &world.sites[usize::from(site)].process),
    };
    offer(crash, Kind::Crash(node));
    offer(rates.wipe, Kind::Wipe(node));
    offer(rates.backup, Kind::Backup(node));
    offer(rates.backup / 2, Kind::Restore(node));
    let full = if process.full { HEALING } else { rates.full };
    offer(full, Kind::Full(node, !process.full));
}

fn stream(rng: &mut StdRng) -> Stream {
    if rng.random_bool(0.6) { Stream::Down } else { Stream::Up }
}

fn pick(rng: &mut StdRng, site: u16, heading: Heading) -> Pick {
    Pick { site, heading, at: rng.random() }
}

fn duration(rng: &mut StdRng) -> u32 {
    match rng.random_range(0..10) {
        0..5 => rng.random_range(1..200),
        5..9 => rng.random_range(200..4_000),
        _ => rng.random_range(4_000..60_000),
    }
}
