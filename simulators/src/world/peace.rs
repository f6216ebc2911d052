//! The end of every run: faults stop, and within bounded time both ends must be equal and fall
//! silent.

use gnomon_schemas::topic::{Heading, Stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::World;
use super::event::{Event, Machine, Node, Pick, Role, Scope};
use super::violation::{Invariant, Violation, ensure};

/// The most events that one site may need to become equal.
const ROUNDS: u32 = 30_000;

/// The most time that one site may need to become equal, in milliseconds.
const PATIENCE: u64 = 15 * 60 * 1_000;

/// How many messages may be sent for each half and each message under way, and beyond these.
const SHARE: u64 = 16;
const FIXED_SHARE: u64 = 400;

/// The most sites whose costs are measured at the end.
const MEASURED: u16 = 4;

impl World {
    /// Ends all faults and checks what must then become true.
    pub(super) fn peace(&mut self) -> Result<(), Violation> {
        let mut rng = StdRng::seed_from_u64(self.setup.seed ^ 0x9eace);
        self.tell(|| "peace".to_owned());
        self.happen(Event::Full { node: Node::Cloud, on: false })?;
        for site in 0..self.setup.sites {
            self.happen(Event::Full { node: Node::Site(site), on: false })?;
            for heading in [Heading::ToSite, Heading::FromSite] {
                self.happen(Event::Cut { site, heading, on: false })?;
            }
        }
        for site in 0..self.setup.sites {
            self.check_bounds(site)?;
            self.settle(site, &mut rng, true)?;
            self.check_equal(site, true)?;
            self.check_bounds(site)?;
        }
        self.setup.in_order = true;
        for site in 0..self.setup.sites.min(MEASURED) {
            self.measure(site, &mut rng)?;
        }
        for site in 0..self.setup.sites {
            self.settle(site, &mut rng, true)?;
            self.check_equal(site, true)?;
        }
        self.check_restart()
    }

    /// Lets everything happen that can, until nothing is left to do.
    pub(super) fn settle(
        &mut self,
        site: u16,
        rng: &mut StdRng,
        applies: bool,
    ) -> Result<(), Violation> {
        let start = self.now;
        let sent_before = self.tally.messages;
        let most = self.fair_share(site);
        for _ in 0..ROUNDS {
            self.settle_link(site)?;
            self.drain(site)?;
            if let Some(pick) = self.any_packet(site, rng) {
                self.happen(Event::Arrive(pick))?;
            } else if applies && !Self::is_applied(self.site(site)) {
                self.happen(Event::Apply { site, pick: 0 })?;
            } else if self.is_in_sync(site) {
                return Ok(());
            } else {
                self.sleep(site)?;
            }
            let sent = self.tally.messages - sent_before;
            ensure(sent <= most, Invariant::Cost, || {
                format!("site {site} is not in sync after {sent} messages; {most} would do")
            })?;
            ensure(self.now < start + PATIENCE, Invariant::Convergence, || {
                format!("site {site} is not in sync after {} s", (self.now - start) / 1_000)
            })?;
        }
        let what = format!("site {site} finds no end within {ROUNDS} events");
        Err(Violation { invariant: Invariant::Convergence, what })
    }

    /// How many messages may be sent to bring a site up to date: a few for each half that there is,
    /// and for each message that is still under way.
    fn fair_share(&mut self, site: u16) -> u64 {
        let site = self.site(site);
        let under_way = [Heading::ToSite, Heading::FromSite].map(|it| site.link.packets(it).len());
        let halves = 2 * site.down.ledger.known() + site.up.ledger.known();
        let things = halves + under_way.iter().sum::<usize>();
        FIXED_SHARE + SHARE * u64::try_from(things).unwrap_or(u64::MAX)
    }

    /// Connects a site that has no whole connection; a whole one stays, with all that is lost in
    /// it.
    fn settle_link(&mut self, site: u16) -> Result<(), Violation> {
        let link = &self.site(site).link;
        if link.site.is_some() && link.site == link.broker {
            return Ok(());
        }
        self.happen(Event::SiteHangsUp(site))?;
        self.happen(Event::BrokerHangsUp(site))?;
        self.happen(Event::Connect { site, heard: true })
    }

    /// Carries out everything that the shells of a site have to do.
    pub(super) fn drain(&mut self, number: u16) -> Result<(), Violation> {
        loop {
            let site = self.site(number);
            let able = |test: fn(&super::Site, Machine) -> bool| {
                Machine::all(number).find(|it| test(site, *it))
            };
            let event = if let Some(machine) = able(super::Site::has_effect) {
                Event::Effect(machine)
            } else if let Some(machine) = able(super::Site::has_write) {
                Event::Commit(machine.node(), Scope::Group(number))
            } else {
                return Ok(());
            };
            self.happen(event)?;
        }
    }

    fn any_packet(&mut self, site: u16, rng: &mut StdRng) -> Option<Pick> {
        let link = &self.site(site).link;
        let counts = [Heading::ToSite, Heading::FromSite].map(|it| link.packets(it).len());
        let ticket = rng.random_range(0..(counts[0] + counts[1]).max(1));
        let heading = if ticket < counts[0] { Heading::ToSite } else { Heading::FromSite };
        let at = rng.random();
        (counts[0] + counts[1] > 0).then_some(Pick { site, heading, at })
    }

    fn is_in_sync(&mut self, site: u16) -> bool {
        let site = self.site(site);
        [&site.down, &site.up]
            .iter()
            .all(|channel| channel.writer.is_in_sync() && !channel.reader.is_incomplete())
    }

    /// Lets time pass until the next timer is due.
    fn sleep(&mut self, site: u16) -> Result<(), Violation> {
        let mut next: Option<(u64, Stream)> = None;
        for stream in [Stream::Down, Stream::Up] {
            let now = self.clock(Machine { site, stream, role: Role::Writer }.node());
            let Some(due) = self.site(site).channel(stream).due() else { continue };
            let wait = u64::try_from(due.saturating_since(now).as_millis()).unwrap_or(u64::MAX);
            if next.is_none_or(|(shortest, _)| wait < shortest) {
                next = Some((wait, stream));
            }
        }
        let Some((wait, stream)) = next else {
            let what = format!("site {site} is not in sync, nothing is under way, no timer runs");
            return Err(Violation { invariant: Invariant::Convergence, what });
        };
        self.happen(Event::Wait { millis: u32::try_from(wait).unwrap_or(u32::MAX) })?;
        self.happen(Event::Timer { site, stream })
    }

    fn check_bounds(&mut self, site: u16) -> Result<(), Violation> {
        self.site(site).down.check_bounds()?;
        self.site(site).up.check_bounds()
    }

    /// Both ends hold the same, and what is reported follows what is desired if it was applied.
    pub(super) fn check_equal(&mut self, site: u16, applied: bool) -> Result<(), Violation> {
        self.site(site).down.check_equal()?;
        self.site(site).up.check_equal()?;
        if !applied {
            return Ok(());
        }
        let site = self.site(site);
        for (key, desired) in &site.down.follower.view {
            let reported = site.up.follower.view.get(key);
            let follows = reported.is_some_and(|it| super::documents::follows(it, desired));
            ensure(follows, Invariant::Convergence, || {
                format!("the cloud's `reported` of {key} does not follow its `desired`")
            })?;
        }
        Ok(())
    }

    /// What the machines hold is what their disks hold.
    fn check_restart(&mut self) -> Result<(), Violation> {
        for site in 0..self.setup.sites {
            for Machine { stream, role, .. } in Machine::all(site) {
                self.site(site).channel_mut(stream).restart(role)?;
            }
            self.site(site).down.check_equal()?;
            self.site(site).up.check_equal()?;
        }
        Ok(())
    }
}
