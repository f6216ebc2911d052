//! The laws of revisions, under random wishes, orders, crashes, cuts of the link and full disks:
//! what is good is known to be, what is reported is so, a bad revision gives way to a good one
//! where there is one, and the app next door notices nothing.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Images from here on end as soon as they are started.
const FIRST_BAD: u8 = 3;

#[derive(Debug, Clone, Copy)]
enum Event {
    Put(u8),
    Delete,
    Apply(u8),
    Discard,
    Hold,
    Release,
    Restart,
    Link(bool),
    Pass(u64),
    Vanish,
    End,
    Kill,
    PowerCut(u32, u64),
    Disk(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..6_u8).prop_map(Event::Put),
        1 => Just(Event::Delete),
        2 => (1..6_u8).prop_map(Event::Apply),
        1 => Just(Event::Discard),
        1 => Just(Event::Hold),
        2 => Just(Event::Release),
        1 => Just(Event::Restart),
        3 => any::<bool>().prop_map(Event::Link),
        6 => (1..400_u64).prop_map(Event::Pass),
        1 => Just(Event::Vanish),
        1 => Just(Event::End),
        1 => Just(Event::Kill),
        2 => (1..40_u32, 1..200_u64).prop_map(|(left, seconds)| Event::PowerCut(left, seconds)),
        1 => any::<bool>().prop_map(Event::Disk),
    ]
}

fn image(tag: u8) -> String {
    format!("web:{tag}")
}

fn document(image: &str) -> Value {
    json!({ "services": { "main": { "image": image, "restart": "always" } } })
}

fn revision(tag: u8) -> gnomon_schemas::app::Revision {
    let spec = gnomon_schemas::app::AppSpec::from_document(&document(&image(tag))).unwrap();
    spec.revision()
}

/// A world, and which image each version of the app has.
struct Court {
    world: World,
    versions: BTreeMap<Version, u8>,
    /// The instance of the app next door.
    neighbour: Vec<(String, String)>,
}

impl Court {
    fn new() -> Self {
        let mut world = World::new();
        for tag in FIRST_BAD..6 {
            world.fake.when_image_starts(&image(tag), InstanceState::Exited { code: 1 });
        }
        world.input(Input::Woken);
        world.connect();
        world.put("other", "other:1");
        world.pass(MINUTE);
        let neighbour = world.instances("other");
        Self { world, versions: BTreeMap::new(), neighbour }
    }

    fn happen(&mut self, event: Event) {
        let web = || app("web");
        let order = |world: &mut World, request| world.input(Input::Asked(Ticket(5), request));
        let world = &mut self.world;
        match event {
            Event::Put(tag) => {
                world.put("web", &image(tag));
                self.versions.insert(world.cloud_down.last_version(&key("web")), tag);
            }
            Event::Delete => world.delete("web"),
            Event::Apply(tag) => {
                order(world, Request::Apply { app: web(), spec: document(&image(tag)) });
            }
            Event::Discard => order(world, Request::Discard { app: web() }),
            Event::Hold => order(world, Request::Hold { app: web() }),
            Event::Release => order(world, Request::Release { app: web() }),
            Event::Restart => order(world, Request::Restart { app: web(), service: None }),
            Event::Link(true) if !world.link_up => world.connect(),
            Event::Link(false) if world.link_up => world.disconnect(),
            Event::Link(_) => {}
            Event::Pass(seconds) => world.pass(Duration::from_secs(seconds)),
            Event::Vanish => world.fake.vanish(&slot("web")),
            Event::End => world.fake.set_state(&slot("web"), InstanceState::Exited { code: 9 }),
            Event::Kill => self.boot(),
            Event::PowerCut(effects, seconds) => {
                world.power = Some(effects);
                world.pass(Duration::from_secs(seconds));
                self.boot();
            }
            Event::Disk(full) => world.disk.set_full(full),
        }
        self.check();
    }

    fn boot(&mut self) {
        self.world.restart();
        self.world.input(Input::Woken);
        self.world.connect();
    }

    /// What holds at any time.
    fn check(&self) {
        assert_eq!(self.world.instances("other"), self.neighbour, "the app next door");
        let record = self.world.core.ledger.get(&app("web"));
        let good = record.good_revision();
        let is_bad = |tag| good == Some(revision(tag));
        assert!(!(FIRST_BAD..6).any(is_bad), "a bad revision is taken for good");
        let Some(report) = self.world.reported("web") else { return };
        if report.state == AppState::Running && !report.local {
            let tag = self.versions[&report.desired_version];
            assert_eq!(report.revision, Some(revision(tag)), "{report:?}");
            assert!(tag < FIRST_BAD, "a bad revision is reported as running: {report:?}");
        }
        assert!(!report.good || report.revision.is_some());
    }

    /// Where it ends when all is calm.
    fn rest(&mut self) {
        self.world.disk.set_full(false);
        if !self.world.link_up {
            self.world.connect();
        }
        self.world.pass(MINUTE * 40);
        self.check();
        let web = app("web");
        let core = &self.world.core;
        assert!(core.settled && self.world.cloud_down.is_in_sync());
        let record = core.ledger.get(&web);
        let wanted = record.hold.as_ref().map(|held| &held.app).or_else(|| core.wanted(&web));
        let images = self.world.images("web");
        let Some(wanted) = wanted else {
            assert!(images.is_empty() && self.world.reported("web").is_none(), "it is gone");
            assert!(record.good.is_none() && record.bad.is_none() && record.local.is_none());
            return;
        };
        let tag = (1..6).find(|tag| wanted.revision() == Some(revision(*tag))).unwrap();
        let report = self.world.reported("web").unwrap();
        let good = (1..FIRST_BAD).find(|tag| record.good_revision() == Some(revision(*tag)));
        match (tag < FIRST_BAD, good) {
            (true, _) => {
                assert_eq!(images, [format!("sha256:{}", image(tag))], "{report:?}");
                assert_eq!((report.state, report.good), (AppState::Running, true));
                assert_eq!(report.rolled_back_from, None);
            }
            (false, Some(good)) if record.hold.is_none() => {
                assert_eq!(images, [format!("sha256:{}", image(good))], "{report:?}");
                assert_eq!(report.state, AppState::Failed);
                assert_eq!(report.rolled_back_from, Some(revision(tag)));
            }
            (false, _) => assert!(images.is_empty() && report.rolled_back_from.is_none()),
        }
        assert_eq!(report.held, record.hold.is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn revisions_keep_their_laws(events in prop::collection::vec(event(), 0..40)) {
        let mut court = Court::new();
        for event in events {
            court.happen(event);
        }
        court.rest();
    }
}
