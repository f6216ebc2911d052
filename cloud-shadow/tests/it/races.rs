//! Writers that compare and set, a thousand at once: one winner per version, no lost update, and
//! what was answered is there after a `kill -9` in the middle of it. `GNOMON_KILL_ROUNDS` says how
//! many times the cloud is killed, `GNOMON_KILL_WRITERS` how many write meanwhile (`make kills`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::bench::Api;
use crate::process::{api, serve, wait_ready};

const NODE: &str = "/v1/nodes/site-1";
const SHARED: &str = "/v1/nodes/site-1/shadows/device/shared";

/// How many versions of a half the cloud keeps here: more than there are, so that each is checked.
const KEPT: usize = 100_000;

/// How many of them are told at once.
const PAGE: usize = 100;

/// What the writers of one shadow were told.
#[derive(Default)]
struct Answered {
    /// The number that was written, by the version that it made.
    won: BTreeMap<u64, u64>,
    /// How many attempts lost.
    lost: u64,
    /// The latest version that somebody was told of, by an answer or a refusal.
    seen: u64,
}

impl Answered {
    fn win(&mut self, version: u64, number: u64) {
        let other = self.won.insert(version, number);
        assert_eq!(other, None, "version {version} was won twice");
    }

    fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.seen = self.seen.max(other.seen);
        other.won.into_iter().for_each(|(version, number)| self.win(version, number));
    }
}

/// Starts the cloud on a folder.
fn start(data: &Path) -> (Child, Api) {
    let config = data.join("cloud.toml");
    std::fs::write(&config, format!("[history]\nversions = {KEPT}\n")).unwrap();
    let (child, ready) = wait_ready(&mut serve(data, &["--config", config.to_str().unwrap()]));
    (child, api(&ready, data))
}

/// Lets writers race until so many versions are won or the cloud is gone; each writes a number if
/// nobody else has written since it last looked. No number comes twice in a test: a write that
/// changes nothing makes no version, and is answered with the one that is there.
async fn race(api: &Api, writers: u64, versions: u64, over: Arc<AtomicBool>) -> Answered {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let won = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..writers {
        let (api, over, won) = (api.clone(), Arc::clone(&over), Arc::clone(&won));
        tasks.spawn(async move {
            let mut answered = Answered { seen: 1, ..Answered::default() };
            while !over.load(Ordering::Relaxed) {
                let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
                let request = api.request(Method::PATCH, SHARED).json(&json!({ "w": number }));
                let request = request.header("If-Match", format!("\"{}\"", answered.seen));
                let Ok(response) = request.send().await else { break };
                let status = response.status();
                let Ok(body) = response.json::<Value>().await else { break };
                if status == StatusCode::OK {
                    let version = body["desired"]["version"].as_u64().unwrap();
                    assert_eq!(version, answered.seen + 1, "the next one after what it has seen");
                    answered.seen = version;
                    answered.win(version, number);
                    if won.fetch_add(1, Ordering::Relaxed) + 1 >= versions {
                        over.store(true, Ordering::Relaxed);
                    }
                } else {
                    assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{body}");
                    let current = body["error"]["detail"]["current"].as_u64().unwrap();
                    assert!(current > answered.seen, "{} is current", answered.seen);
                    answered.seen = current;
                    answered.lost += 1;
                }
            }
            answered
        });
    }
    let mut all = Answered::default();
    tasks.join_all().await.into_iter().for_each(|answered| all.add(answered));
    all
}

/// The numbers that made the versions which are there, by version.
async fn written(api: &Api) -> BTreeMap<u64, u64> {
    let (mut written, mut before) = (BTreeMap::new(), String::new());
    loop {
        let path = format!("{NODE}/history/device/shared?limit={PAGE}{before}");
        let page = api.get(&path).await;
        for entry in page["versions"].as_array().unwrap() {
            // The first version is not a racer's.
            if let Some(number) = entry["patch"]["w"].as_u64() {
                let other = written.insert(entry["version"].as_u64().unwrap(), number);
                assert_eq!(other, None, "{entry} is there twice");
            }
        }
        let Some(next) = page["next"].as_u64() else { return written };
        before = format!("&before={next}");
    }
}

/// Checks what is there against what was answered; gives back how many versions there are.
async fn check(api: &Api, answered: &Answered) -> u64 {
    let shadow = api.get(SHARED).await;
    let present = shadow["desired"]["version"].as_u64().unwrap();
    assert!(present >= answered.seen, "{} was told, {present} is there", answered.seen);
    let written = written(api).await;
    let versions: Vec<u64> = written.keys().copied().collect();
    assert_eq!(versions, (2..=present).collect::<Vec<_>>(), "no version is missing");
    assert_eq!(shadow["desired"]["document"]["w"].as_u64(), written.get(&present).copied());
    for (version, number) in &answered.won {
        assert_eq!(written.get(version), Some(number), "version {version} is another writer's");
    }
    let numbers: BTreeSet<u64> = written.values().copied().collect();
    assert_eq!(numbers.len(), written.len(), "a write made two versions");
    present
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_writers_that_compare_and_set_each_version_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, api) = start(dir.path());
    api.create("site-1").await;
    api.patch(SHARED, &json!({ "w": -1 })).await;
    let answered = race(&api, 1000, 20, Arc::default()).await;
    let present = check(&api, &answered).await;
    let all: Vec<u64> = (2..=present).collect();
    assert_eq!(answered.won.keys().copied().collect::<Vec<_>>(), all, "each has its winner");
    assert!(answered.won.len() >= 20 && answered.lost > 0, "{} lost", answered.lost);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[expect(clippy::print_stderr, reason = "says what the kills have shown")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_racing_writers_were_answered_is_there_after_kill_9() {
    let number = |name: &str, usual| {
        std::env::var(name).map_or(usual, |number| number.parse::<u64>().unwrap())
    };
    let (rounds, writers) = (number("GNOMON_KILL_ROUNDS", 3), number("GNOMON_KILL_WRITERS", 64));
    let dir = tempfile::tempdir().unwrap();
    let (mut answered, mut present) = (Answered::default(), 1);
    for round in 0..rounds {
        let (mut child, api) = start(dir.path());
        if round == 0 {
            api.create("site-1").await;
            api.patch(SHARED, &json!({ "w": -1 })).await;
        }
        let over = Arc::new(AtomicBool::new(false));
        let racing = race(&api, writers, u64::MAX, Arc::clone(&over));
        let kill = async {
            let wanted = present + 3 + round % 20;
            let is_there = |shadow: &Value| shadow["desired"]["version"].as_u64() >= Some(wanted);
            api.eventually(SHARED, is_there).await;
            child.kill().unwrap();
            over.store(true, Ordering::Relaxed);
        };
        let (told, ()) = tokio::join!(racing, kill);
        child.wait().unwrap();
        assert!(!told.won.is_empty(), "round {round}: nobody was answered");
        answered.add(told);
        let (mut child, api) = start(dir.path());
        present = check(&api, &answered).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (won, lost) = (answered.won.len() as u64, answered.lost);
    eprintln!(
        "{rounds} kills, {writers} writers: {won} writes were answered and are there, {} more are \
         there of which nobody was told, {lost} attempts lost",
        present - 1 - won
    );
}
