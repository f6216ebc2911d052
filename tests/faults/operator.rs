//! Those who never rest: operators that write what is desired, with conditions and without, and
//! devices that report.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gnomon_tests::Api;
use gnomon_tests::eventually::let_pass;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::campaign::Recorder;
use crate::history::{APP, Event, Half, Holder, Outcome, SERVICES, value};
use crate::stage::cloud::Door;
use crate::stage::{DEVICES, NODES, Stage, member};

/// How many write at once.
pub(crate) const OPERATORS: u64 = 2;

/// Between two changes of an app, in a campaign.
const APP_PAUSE: Duration = Duration::from_millis(3_500);

pub(crate) struct Operator {
    number: u64,
    door: Door,
    api: Api,
    rng: StdRng,
    writes: u64,
    /// The last version of each `desired` that this operator knows of.
    known: BTreeMap<(String, String), u64>,
    apps: BTreeMap<String, Instant>,
    /// An app is changed no more often than this.
    app_pause: Duration,
}

impl Operator {
    pub(crate) fn new(door: &Door, seed: u64, number: u64) -> Self {
        Self {
            number,
            door: door.clone(),
            api: door.api(),
            rng: StdRng::seed_from_u64(seed ^ (number + 1) << 32),
            writes: 0,
            known: BTreeMap::new(),
            apps: BTreeMap::new(),
            app_pause: APP_PAUSE,
        }
    }

    /// With so much time between two changes of an app.
    pub(crate) fn at_leisure(self, app_pause: Duration) -> Self {
        Self { app_pause, ..self }
    }

    /// Writes until it is told to rest.
    pub(crate) fn work(&mut self, recorder: &Recorder, rest: &AtomicBool) {
        while !rest.load(Ordering::SeqCst) {
            self.write(recorder);
            let_pass(Duration::from_millis(self.rng.random_range(30..200)));
        }
    }

    fn write(&mut self, recorder: &Recorder) {
        let node = NODES[self.rng.random_range(0..NODES.len())].to_owned();
        // One operator is for the apps; both are for the devices.
        let is_app = self.number == 0
            && self.apps.get(&node).is_none_or(|last| last.elapsed() > self.app_pause);
        let key = if is_app {
            self.apps.insert(node.clone(), Instant::now());
            APP
        } else {
            DEVICES[self.rng.random_range(0..DEVICES.len())]
        };
        self.writes += 1;
        let value = self.writes * OPERATORS + self.number;
        let known = self.known.get(&(node.clone(), key.to_owned())).copied();
        let condition = match self.rng.random_range(0..10) {
            0..4 => known,
            4 => known.map(|known| known.saturating_sub(1)),
            _ => None,
        };
        let era = self.door.era();
        let outcome = self.send(&node, key, value, condition);
        // Whether the old cloud or the new one has answered, nobody can say.
        let outcome = if era == self.door.era() { outcome } else { Outcome::Unknown };
        self.learn(&node, key, outcome);
        recorder.record(Event::Wrote { node, key: key.to_owned(), value, condition, outcome });
    }

    fn send(&self, node: &str, key: &str, value: u64, condition: Option<u64>) -> Outcome {
        let body = if key == APP {
            let service = |name: &str| {
                (name.to_owned(), json!({"environment": {"VALUE": value.to_string()}}))
            };
            let services: serde_json::Map<_, _> = SERVICES.into_iter().map(service).collect();
            json!({ "services": services })
        } else {
            json!({ "n": value })
        };
        let path = format!("/v1/nodes/{node}/shadows/{key}");
        let tag = condition.map(|version| format!("\"{version}\""));
        let headers: Vec<_> = tag.iter().map(|tag| ("If-Match", tag.as_str())).collect();
        let body = Some((body.to_string().into_bytes(), "application/json"));
        match self.api.raw("PATCH", &path, &headers, body) {
            Some((200 | 201, body)) => {
                let version = member(&body, &["desired", "version"]).as_u64();
                Outcome::Answered { version: version.expect("an answer has its version") }
            }
            Some((status @ (400..500 | 507), _)) => Outcome::Refused { status },
            Some(_) | None => Outcome::Unknown,
        }
    }

    fn learn(&mut self, node: &str, key: &str, outcome: Outcome) {
        let place = (node.to_owned(), key.to_owned());
        let version = match outcome {
            Outcome::Answered { version } => Some(version),
            Outcome::Refused { status: 507 } => return,
            Outcome::Refused { .. } | Outcome::Unknown => {
                let shadow = self.api.call("GET", &format!("/v1/nodes/{node}/shadows/{key}"), None);
                shadow.and_then(|(_, body)| member(&body, &["desired", "version"]).as_u64())
            }
        };
        match version {
            Some(version) => self.known.insert(place, version),
            None => self.known.remove(&place),
        };
    }
}

/// The devices behind one site.
pub(crate) struct Devices {
    node: String,
    data: PathBuf,
    door: Door,
    rng: StdRng,
    counts: u64,
}

impl Devices {
    pub(crate) fn of(stage: &Stage, seed: u64, number: usize) -> Self {
        let site = &stage.sites[number];
        Self {
            node: site.node.clone(),
            data: site.data(),
            door: stage.cloud.door().clone(),
            rng: StdRng::seed_from_u64(seed ^ (number as u64 + 1) << 40),
            counts: 0,
        }
    }

    /// Reports, and looks at what the site holds, until it is told to rest.
    pub(crate) fn work(&mut self, recorder: &Recorder, rest: &AtomicBool) {
        while !rest.load(Ordering::SeqCst) {
            let key = DEVICES[self.rng.random_range(0..DEVICES.len())];
            if self.rng.random_range(0..4) == 0 {
                self.look(key, recorder);
            } else {
                self.report(key, recorder);
            }
            let_pass(Duration::from_millis(self.rng.random_range(50..400)));
        }
    }

    fn report(&mut self, key: &str, recorder: &Recorder) {
        self.counts += 1;
        let count = self.counts;
        let request = json!({"request": "report", "key": key, "value": {"count": count}});
        let answer = crate::stage::ask(&self.data, &request);
        let taken = answer.is_ok_and(|answer| answer.get("done").is_some());
        let (node, key) = (self.node.clone(), key.to_owned());
        recorder.record(Event::Given { node, key, value: count, taken });
    }

    fn look(&self, key: &str, recorder: &Recorder) {
        let request = json!({"request": "shadow", "key": key});
        let Ok(answer) = crate::stage::ask(&self.data, &request) else { return };
        seen(recorder, self.door.era(), Holder::Site, &self.node, key, &answer["shadow"], None);
    }
}

/// Writes down the halves of a shadow that somebody has seen; one of them only, if only that is new.
pub(crate) fn seen(
    recorder: &Recorder,
    era: u64,
    holder: Holder,
    node: &str,
    key: &str,
    shadow: &Value,
    only: Option<Half>,
) {
    for (half, name) in [(Half::Desired, "desired"), (Half::Reported, "reported")] {
        let Some(version) = member(shadow, &[name, "version"]).as_u64() else { continue };
        if only.is_some_and(|only| only != half) {
            continue;
        }
        let value = value(key, half, member(shadow, &[name, "document"]));
        let (node, key) = (node.to_owned(), key.to_owned());
        recorder.record(Event::Seen { era, holder, node, key, half, version, value });
    }
}
