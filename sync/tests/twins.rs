//! Two writers with one history, as two machines have that were copied from one disk. Each takes the
//! link from the other, again and again. Whoever is told of that begins a new history; then the one
//! that is left in the end and the reader become equal, whatever was lost, late or killed.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test harness")]

use std::collections::BTreeMap;
use std::time::Duration;

use gnomon_schemas::document::Document;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::MessageKind;
use gnomon_schemas::version::Epoch;
use gnomon_schemas::wire::Message;
use gnomon_sync::{Held, Moment, Output, Reader, ReaderConfig, Writer, WriterConfig};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng as _};
use serde_json::json;

type Disk = BTreeMap<Vec<u8>, Vec<u8>>;

struct Site {
    writer: Writer,
    disk: Disk,
}

/// What can happen; the first number says to which of the two.
#[derive(Debug, Clone)]
enum Action {
    Set(usize, u8, u8),
    Delete(usize, u8),
    /// Its connection takes the place of the other's, which is told.
    Connect(usize),
    /// Whoever has the link loses it, and nobody is told.
    Cut,
    /// It is killed, and starts again.
    Crash(usize),
    Step,
    Arrive(u8),
    Repeat(u8),
    Lose(u8),
    Wait(u16),
}

struct World {
    now: Moment,
    rng: StdRng,
    sites: [Site; 2],
    reader: Reader,
    /// Who has the link.
    holder: Option<usize>,
    /// What is under way in the holder's session; that of another one is nobody's.
    network: Vec<Message>,
    /// Whether a site that is told begins a new history.
    heeds: bool,
}

fn restore(disk: &Disk, seed: u64) -> Writer {
    let rng = StdRng::seed_from_u64(seed);
    Writer::restore(disk.clone(), WriterConfig::default(), rng).unwrap().unwrap()
}

impl World {
    /// A site that has told its reader a few things, and has then become two.
    fn new(seed: u64, heeds: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let epoch = Epoch(rng.random_range(1..=u128::MAX));
        let writer = Writer::new(epoch, WriterConfig::default(), StdRng::seed_from_u64(seed ^ 1));
        let first = Site { writer, disk: Disk::new() };
        let second = Site { writer: first.writer.clone(), disk: Disk::new() };
        let mut world = Self {
            now: Moment::from_millis(0),
            rng,
            sites: [first, second],
            reader: Reader::new(ReaderConfig::default()),
            holder: None,
            network: Vec::new(),
            heeds,
        };
        world.connect(0);
        for key in 0..3 {
            world.set(0, key, 1);
        }
        world.settle(0);
        world.cut();
        let disk = world.sites[0].disk.clone();
        world.sites[1] = Site { writer: restore(&disk, seed ^ 2), disk };
        world
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Set(site, key, value) => self.set(site, key, value),
            Action::Delete(site, key) => {
                let now = self.now;
                self.sites[site].writer.delete(now, &key_of(key));
                self.write_down(site);
            }
            Action::Connect(site) => self.connect(site),
            Action::Cut => self.cut(),
            Action::Crash(site) => self.crash(site),
            Action::Step => drop(self.step()),
            Action::Arrive(pick) => self.arrive(pick, false),
            Action::Repeat(pick) => self.arrive(pick, true),
            Action::Lose(pick) => drop(self.pick(pick).map(|at| self.network.swap_remove(at))),
            Action::Wait(millis) => self.wait(Duration::from_millis(millis.into())),
        }
    }

    fn set(&mut self, site: usize, key: u8, value: u8) {
        let document = Document::from_value(json!({ "v": value })).unwrap();
        let now = self.now;
        self.sites[site].writer.put(now, &key_of(key), document);
        self.write_down(site);
    }

    fn connect(&mut self, site: usize) {
        if self.holder == Some(site) {
            return;
        }
        let before = self.holder;
        self.cut();
        if let Some(other) = before.filter(|_| self.heeds) {
            self.sites[other].writer.begin_epoch();
            self.write_down(other);
        }
        self.holder = Some(site);
        self.sites[site].writer.link_up(self.now);
        self.reader.link_up(self.now);
    }

    fn cut(&mut self) {
        if let Some(holder) = self.holder.take() {
            self.sites[holder].writer.link_down();
            self.write_down(holder);
        }
        self.reader.link_down();
        while self.reader.poll_output().is_some() {}
        self.network.clear();
    }

    fn crash(&mut self, site: usize) {
        if self.holder == Some(site) {
            self.cut();
        }
        let seed = self.rng.random();
        let writer = restore(&self.sites[site].disk, seed);
        self.sites[site].writer = writer;
    }

    /// Carries out what a site wants written, and sends what it wants sent if it has the link.
    fn write_down(&mut self, site: usize) {
        while let Some(output) = self.sites[site].writer.poll_output() {
            match output {
                Output::Persist(rows) => write(&mut self.sites[site].disk, rows),
                Output::Send(message) if self.holder == Some(site) => self.network.push(message),
                Output::Send(_) => {}
                Output::Deliver(_) => unreachable!("a writer delivers nothing"),
            }
        }
    }

    /// One effect of the holder or of the reader; false if there is none.
    fn step(&mut self) -> bool {
        let Some(holder) = self.holder else { return false };
        let from_site = self.sites[holder].writer.poll_output();
        match from_site.map(|it| (true, it)).or_else(|| Some((false, self.reader.poll_output()?))) {
            None => return false,
            Some((true, Output::Persist(rows))) => write(&mut self.sites[holder].disk, rows),
            Some((_, Output::Send(message))) => self.network.push(message),
            // The reader is never killed here: sync/tests/pair/ does that.
            Some((false, Output::Persist(_)) | (_, Output::Deliver(_))) => {}
        }
        true
    }

    fn pick(&self, pick: u8) -> Option<usize> {
        (!self.network.is_empty()).then(|| usize::from(pick) % self.network.len())
    }

    fn arrive(&mut self, pick: u8, stays: bool) {
        let (Some(at), Some(holder)) = (self.pick(pick), self.holder) else { return };
        let message = if stays { self.network[at].clone() } else { self.network.swap_remove(at) };
        match message.kind() {
            MessageKind::Batch | MessageKind::Manifest => self.reader.receive(self.now, &message),
            MessageKind::Hello | MessageKind::Ack | MessageKind::Fetch => {
                self.sites[holder].writer.receive(self.now, &message);
            }
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        if let Some(holder) = self.holder {
            self.sites[holder].writer.handle_timeout(self.now);
        }
    }

    /// This one is left, and has a link that works.
    fn settle(&mut self, left: usize) {
        self.cut();
        self.connect(left);
        for round in 0..2_000 {
            while self.step() {}
            let writer = &self.sites[left].writer;
            if !self.network.is_empty() {
                let pick = self.rng.random_range(0..=u8::MAX);
                self.arrive(pick, false);
            } else if writer.is_in_sync() && !self.reader.is_incomplete() {
                return;
            } else {
                let (due, _) = writer.poll_timeout().expect("not in sync, so a timer runs");
                self.wait(due.saturating_since(self.now));
            }
            assert!(round < 1_999, "no end");
        }
    }

    fn are_equal(&self, left: usize) -> bool {
        let own = |(k, h): (&ShadowKey, Held<'_>)| (k.clone(), h.version, h.document.clone());
        let writer = &self.sites[left].writer;
        let (told, held): (Vec<_>, Vec<_>) =
            (writer.halves().map(own).collect(), self.reader.halves().map(own).collect());
        told == held && writer.epoch() == self.reader.epoch() && writer.head() == self.reader.seq()
    }
}

fn write(disk: &mut Disk, rows: Vec<gnomon_sync::Row>) {
    for row in rows {
        match row.value {
            Some(value) => disk.insert(row.key, value),
            None => disk.remove(&row.key),
        };
    }
}

fn key_of(pick: u8) -> ShadowKey {
    ["node", "app/web", "device/p1"][usize::from(pick)].parse().unwrap()
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..2_usize, 0..3_u8, any::<u8>()).prop_map(|(s, k, v)| Action::Set(s, k, v)),
        1 => (0..2_usize, 0..3_u8).prop_map(|(s, k)| Action::Delete(s, k)),
        4 => (0..2_usize).prop_map(Action::Connect),
        1 => Just(Action::Cut),
        1 => (0..2_usize).prop_map(Action::Crash),
        20 => Just(Action::Step),
        12 => any::<u8>().prop_map(Action::Arrive),
        2 => any::<u8>().prop_map(Action::Repeat),
        2 => any::<u8>().prop_map(Action::Lose),
        3 => (0..40_000_u16).prop_map(Action::Wait),
    ]
}

/// Both tell something under the same position, one after the other, and the second is left.
fn two_stories(heeds: bool) -> World {
    let mut world = World::new(1, heeds);
    world.set(1, 0, 20);
    world.connect(1);
    while world.step() {}
    world.arrive(0, false);
    while world.step() {}
    assert!(matches!(world.network[..], [Message::Batch(_)]), "which is lost");
    world.connect(0);
    world.set(0, 0, 10);
    world.settle(0);
    world.settle(1);
    world
}

#[test]
fn without_a_new_history_the_two_ends_would_be_sure_and_unequal() {
    let world = two_stories(false);
    assert!(world.sites[1].writer.is_in_sync() && !world.are_equal(1));
}

#[test]
fn with_a_new_history_the_story_of_the_one_that_is_left_counts() {
    assert!(two_stories(true).are_equal(1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn whoever_is_left_and_the_reader_become_equal(
        seed: u64,
        actions in prop::collection::vec(action(), 0..120),
        left in 0..2_usize,
    ) {
        let mut world = World::new(seed, true);
        // Both are there, and the first is told.
        world.connect(0);
        world.connect(1);
        for action in &actions {
            world.act(action);
        }
        world.settle(left);
        prop_assert!(world.are_equal(left));
    }
}
