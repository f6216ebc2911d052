//! What the protocol costs when no message is lost or overtaken: the least that can be.

use gnomon_schemas::topic::{Heading, MessageKind, Stream};
use rand::RngExt;
use rand::rngs::StdRng;

use super::World;
use super::event::{Event, Node, Pick, Role};
use super::network::Packet;
use super::violation::{Invariant, Violation, ensure};

/// How many tombstones a writer may keep that its reader has seen.
const TOMBSTONES: usize = 256;

/// Bytes of a batch without its changes.
const BATCH_BYTES: usize = 50;

/// Bytes of a change of one small field.
const CHANGE_BYTES: usize = 80;

/// How many messages one misfit among six changes may cost.
const MISFIT_MESSAGES: usize = 40;

/// The messages of the down stream that were sent, counted by kind.
#[derive(Debug, PartialEq, Eq)]
struct Bill {
    hellos: usize,
    batches: usize,
    acks: usize,
    fetches: usize,
    manifests: usize,
}

impl World {
    /// Measures a site, once it is in sync.
    pub(super) fn measure(&mut self, site: u16, rng: &mut StdRng) -> Result<(), Violation> {
        self.settle(site, rng, true)?;
        self.check_quiet_reconnect(site, rng)?;
        self.check_changes(site, rng)?;
        self.check_tombstones(site)?;
        self.check_lost_ack_and_crash(site, rng)?;
        self.check_restored_reader(site, rng)?;
        self.check_one_misfit(site, rng)?;
        self.check_manifest(site, rng)?;
        if self.setup.many { self.check_many(site, rng) } else { Ok(()) }
    }

    /// Remembers what is sent, while someone counts.
    pub(super) fn log(&mut self, packet: Packet) {
        if let Some(log) = &mut self.log {
            log.push(packet);
        }
    }

    /// A reconnect with nothing to say costs one hello for each stream.
    fn check_quiet_reconnect(&mut self, site: u16, rng: &mut StdRng) -> Result<(), Violation> {
        self.disconnect(site)?;
        let log = self.logged_settle(site, rng)?;
        let kinds: Vec<_> = log.iter().map(|packet| packet.kind).collect();
        ensure(kinds == [MessageKind::Hello; 2], Invariant::Cost, || {
            format!("a reconnect with nothing to say cost {kinds:?}")
        })
    }

    /// A reconnect after changes costs what the changes are worth: one batch if they fit into one,
    /// one entry for each half, and a patch where that is shorter.
    fn check_changes(&mut self, site: u16, rng: &mut StdRng) -> Result<(), Violation> {
        self.disconnect(site)?;
        let before = self.site(site).down.ledger.live.clone();
        for _ in 0..rng.random_range(1..12) {
            self.set_some(site, rng)?;
        }
        let after = &self.site(site).down.ledger.live;
        let changed = after.iter().filter(|(key, fact)| before.get(*key) != Some(*fact)).count();
        let known = before.len() == after.len() && before.values().all(|it| it.document.is_some());
        let log = self.logged_settle(site, rng)?;
        let bill = Bill::of(&log);
        let most = if self.setup.writer.max_batch > 4_096 { 1 } else { changed };
        let fits = if changed == 0 { bill.batches == 0 } else { bill.batches <= most };
        ensure(fits && bill.acks == bill.batches, Invariant::Cost, || {
            format!("{changed} changes cost {bill:?}")
        })?;
        bill.is_plain("a reconnect after changes")?;
        let limit = BATCH_BYTES * bill.batches + CHANGE_BYTES * changed;
        let bytes: usize = down(&log, MessageKind::Batch).map(|packet| packet.bytes.len()).sum();
        ensure(!known || self.setup.padding == 0 || bytes <= limit, Invariant::Cost, || {
            format!("{changed} small changes cost {bytes} bytes; {limit} are allowed")
        })
    }

    /// Deletions that everyone has seen are forgotten, but for the last few.
    fn check_tombstones(&mut self, site: u16) -> Result<(), Violation> {
        let down = &self.site(site).down;
        let rows = down.disk(Role::Writer).rows();
        let limit = down.writer.halves().count() + TOMBSTONES + 1;
        ensure(rows <= limit, Invariant::Bounded, || {
            format!("the writer keeps {rows} rows where {limit} would do")
        })
    }

    /// A batch arrived, its ack was lost, the half changed again, and the writer was restarted: it
    /// does not know what the reader holds, and must not guess.
    fn check_lost_ack_and_crash(&mut self, site: u16, rng: &mut StdRng) -> Result<(), Violation> {
        self.set_some(site, rng)?;
        self.drain(site)?;
        self.happen(Event::Arrive(Pick { site, heading: Heading::ToSite, at: 0 }))?;
        self.drain(site)?;
        self.disconnect(site)?;
        for _ in 0..4 {
            self.set_some(site, rng)?;
        }
        self.drain(site)?;
        self.happen(Event::Crash { node: Node::Cloud, kept: true })?;
        let log = self.logged_settle(site, rng)?;
        Bill::of(&log).is_plain("a lost ack and a crash")
    }

    /// A reader that is restored from a backup is behind what its writer knew of it.
    fn check_restored_reader(&mut self, site: u16, rng: &mut StdRng) -> Result<(), Violation> {
        self.happen(Event::Backup(Node::Site(site)))?;
        for _ in 0..4 {
            self.set_some(site, rng)?;
            self.settle(site, rng, false)?;
        }
        self.happen(Event::RestoreBackup(Node::Site(site)))?;
        let log = self.logged_settle(site, rng)?;
        Bill::of(&log).is_plain("a reader from a backup")
    }

    /// One change that does not fit costs its own repair, and not that of all others.
    fn check_one_misfit(&mut self, site: u16, rng: &mut StdRng) -> Result<(), Violation> {
        self.disconnect(site)?;
        for key in 0..6 {
            let value = rng.random_range(1..=255);
            self.happen(Event::Set { site, stream: Stream::Down, key, field: 0, value })?;
        }
        self.connect_and_greet(site)?;
        self.happen(Event::Damage(Pick { site, heading: Heading::ToSite, at: 0 }))?;
        let log = self.logged_settle(site, rng)?;
        let bill = Bill::of(&log);
        let total = log.iter().filter(|packet| packet.stream == Stream::Down).count();
        ensure(total <= MISFIT_MESSAGES, Invariant::Cost, || format!("one misfit cost {bill:?}"))
    }

    /// A half that is deleted before a manifest is sent and made anew after it needs no repair.
    fn check_manifest(&mut self, site: u16, rng: &mut StdRng) -> Result<(), Violation> {
        self.disconnect(site)?;
        self.happen(Event::Backup(Node::Cloud))?;
        self.happen(Event::RestoreBackup(Node::Cloud))?;
        self.happen(Event::Delete { site, stream: Stream::Down, key: 0 })?;
        self.connect_and_greet(site)?;
        let value = rng.random_range(1..=255);
        self.happen(Event::Set { site, stream: Stream::Down, key: 0, field: 0, value })?;
        let bill = Bill::of(&self.logged_settle(site, rng)?);
        ensure(bill.fetches == 0, Invariant::Cost, || {
            format!("a half made anew after a manifest cost {bill:?}")
        })
    }

    /// Many documents are made and deleted, each time with the reader at hand, and one is made anew.
    fn check_many(&mut self, site: u16, rng: &mut StdRng) -> Result<(), Violation> {
        for count in [300, 300, 1] {
            let (stream, from) = (Stream::Down, 1_000);
            self.happen(Event::Churn { site, stream, from, count })?;
            self.settle(site, rng, false)?;
            self.check_equal(site, false)?;
        }
        Ok(())
    }

    /// The site connects, and its hello arrives at the cloud, which answers.
    fn connect_and_greet(&mut self, site: u16) -> Result<(), Violation> {
        self.happen(Event::SiteHangsUp(site))?;
        self.happen(Event::Connect { site, heard: true })?;
        self.drain(site)?;
        self.happen(Event::Arrive(Pick { site, heading: Heading::FromSite, at: 0 }))?;
        self.drain(site)
    }

    fn set_some(&mut self, site: u16, rng: &mut StdRng) -> Result<(), Violation> {
        let (key, field, value) = (rng.random(), 0, rng.random_range(1..=255));
        self.happen(Event::Set { site, stream: Stream::Down, key, field, value })
    }

    /// Both ends find the connection dead, and nothing is under way any more.
    fn disconnect(&mut self, site: u16) -> Result<(), Violation> {
        self.happen(Event::SiteHangsUp(site))?;
        self.happen(Event::BrokerHangsUp(site))?;
        for heading in [Heading::ToSite, Heading::FromSite] {
            while !self.site(site).link.packets(heading).is_empty() {
                self.happen(Event::Lose(Pick { site, heading, at: 0 }))?;
            }
        }
        Ok(())
    }

    /// Settles a site and gives back what was sent for that.
    fn logged_settle(&mut self, site: u16, rng: &mut StdRng) -> Result<Vec<Packet>, Violation> {
        self.log = Some(Vec::new());
        self.settle(site, rng, false)?;
        Ok(self.log.take().unwrap_or_default())
    }
}

impl Bill {
    fn of(log: &[Packet]) -> Self {
        let count = |kind| down(log, kind).count();
        Self {
            hellos: count(MessageKind::Hello),
            batches: count(MessageKind::Batch),
            acks: count(MessageKind::Ack),
            fetches: count(MessageKind::Fetch),
            manifests: count(MessageKind::Manifest),
        }
    }

    /// One hello, and nothing that says that anybody was lost.
    fn is_plain(&self, what: &str) -> Result<(), Violation> {
        let plain = self.hellos == 1 && self.fetches == 0 && self.manifests == 0;
        ensure(plain, Invariant::Cost, || format!("{what} cost {self:?}"))
    }
}

fn down(log: &[Packet], kind: MessageKind) -> impl Iterator<Item = &Packet> {
    log.iter().filter(move |packet| packet.stream == Stream::Down && packet.kind == kind)
}
