//! Writers that compare and set, a thousand at once: one winner per version, no lost update, and
//! what was answered is there after a `kill -9` in the middle of it. `GNOMON_KILL_ROUNDS` says how
//! many times the cloud is killed, `GNOMON_KILL_WRITERS` how many write meanwhile (`make kills`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::bench::Api;
use crate::process::{api, start};

const SHARED: &str = "/v1/nodes/site-1/shadows/device/shared";

/// How many versions of a half the cloud keeps, and so how far back a version can be told.
const KEPT: usize = 100;

/// What the writers of one shadow were told.
#[derive(Default)]
struct Answered {
    /// The number that was written, by the version that it made.
    won: BTreeMap<u64, u64>,
    /// How many attempts lost.
    lost: u64,
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
            let mut answered = Answered::default();
            let mut version = 1;
            while !over.load(Ordering::Relaxed) {
                let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
                let request = api.request(Method::PATCH, SHARED).json(&json!({ "w": number }));
                let request = request.header("If-Match", format!("\"{version}\""));
                let Ok(response) = request.send().await else { break };
                let status = response.status();
                let Ok(body) = response.json::<Value>().await else { break };
                if status == StatusCode::OK {
                    version = body["desired"]["version"].as_u64().unwrap();
                    let other = answered.won.insert(version, number);
                    assert_eq!(other, None, "version {version} was won twice");
                    if won.fetch_add(1, Ordering::Relaxed) + 1 >= versions {
                        over.store(true, Ordering::Relaxed);
                    }
                } else {
                    assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{body}");
                    version = body["error"]["detail"]["current"].as_u64().unwrap();
                    answered.lost += 1;
                }
            }
            answered
        });
    }
    let mut all = Answered::default();
    for answered in tasks.join_all().await {
        all.lost += answered.lost;
        for (version, number) in answered.won {
            let other = all.won.insert(version, number);
            assert_eq!(other, None, "version {version} was won twice");
        }
    }
    all
}

/// Checks what is there against what was answered; gives back the present version.
async fn check(api: &Api, answered: &BTreeMap<u64, u64>) -> u64 {
    let present = api.get(SHARED).await["desired"]["version"].as_u64().unwrap();
    let last = answered.last_key_value().map_or(0, |(version, _)| *version);
    assert!(present >= last, "version {last} was answered, {present} is there");
    let path = format!("/v1/nodes/site-1/history/device/shared?limit={KEPT}");
    let history = api.get(&path).await;
    let mut expected = present;
    for entry in history["versions"].as_array().unwrap() {
        let version = entry["version"].as_u64().unwrap();
        assert_eq!(version, expected, "the versions follow on each other");
        expected -= 1;
        if let Some(number) = answered.get(&version) {
            assert_eq!(entry["patch"]["w"], *number, "version {version} is another writer's");
        }
    }
    present
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_writers_that_compare_and_set_each_version_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, ready) = start(dir.path());
    let api = api(&ready, dir.path());
    api.create("site-1").await;
    api.patch(SHARED, &json!({ "w": -1 })).await;
    let answered = race(&api, 1000, 20, Arc::default()).await;
    let present = check(&api, &answered.won).await;
    let all: Vec<u64> = (2..=present).collect();
    assert_eq!(answered.won.keys().copied().collect::<Vec<_>>(), all, "each has its winner");
    assert!(answered.won.len() >= 20 && answered.lost > 0, "{} lost", answered.lost);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_racing_writers_were_answered_is_there_after_kill_9() {
    let number = |name: &str, usual| {
        std::env::var(name).map_or(usual, |number| number.parse::<u64>().unwrap())
    };
    let (rounds, writers) = (number("GNOMON_KILL_ROUNDS", 3), number("GNOMON_KILL_WRITERS", 64));
    let dir = tempfile::tempdir().unwrap();
    let mut answered = BTreeMap::new();
    for round in 0..rounds {
        let (mut child, ready) = start(dir.path());
        let api = api(&ready, dir.path());
        if round == 0 {
            api.create("site-1").await;
            api.patch(SHARED, &json!({ "w": -1 })).await;
        }
        let over = Arc::new(AtomicBool::new(false));
        let racing = race(&api, writers, u64::MAX, Arc::clone(&over));
        let kill = async {
            let before = answered.len() as u64 + 1;
            let path = "/v1/nodes/site-1";
            api.eventually(path, |node| {
                node["down"]["head"].as_u64() > Some(before + 3 + round % 40)
            })
            .await;
            child.kill().unwrap();
            over.store(true, Ordering::Relaxed);
        };
        let (told, ()) = tokio::join!(racing, kill);
        child.wait().unwrap();
        for (version, number) in told.won {
            let other = answered.insert(version, number);
            assert_eq!(other, None, "round {round}: version {version} was won twice");
        }
        let (mut child, ready) = start(dir.path());
        check(&self::api(&ready, dir.path()), &answered).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(answered.len() as u64 >= rounds, "{} versions in {rounds} rounds", answered.len());
}
