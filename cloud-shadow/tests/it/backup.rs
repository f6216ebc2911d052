//! Backup while the cloud runs, the way back, the check, and the disk that fills up.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gnomon_schemas::document::Document;
use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bench::{Cloud, ageless, refused};
use crate::enrolment::join;
use crate::process::{api, serve, signal, start};
use crate::site::{Machines, NODE, Order, SHADOW, is_in_sync};

pub(crate) fn gnomon(args: &[&str], data: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon-cloud"));
    command.args(args).arg("--data").arg(data).env_remove("RUST_LOG").output().unwrap()
}

/// What a command says that succeeds.
pub(crate) fn said(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command complains of that fails.
fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) async fn backup(data: &Path, file: &Path) -> Output {
    let (data, file) = (data.to_owned(), file.to_str().unwrap().to_owned());
    let run = move || gnomon(&["backup", &file], &data);
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn a_restored_cloud_heals_its_sites_and_loses_nothing_that_they_report() {
    let files = TempDir::new().unwrap();
    let file = files.path().join("backup");
    let cloud = Cloud::with_node().await;
    cloud.api.patch(SHADOW, &json!({ "rate": 1 })).await;
    let joined = join(&cloud.api, "site-1").await;
    let site = Machines::new("site-1").connect(cloud.mqtt(), &joined);
    site.order(Order::Report(Document::parse(b"{\"rate\":1}").unwrap())).await;
    cloud.api.eventually(SHADOW, |shadow| shadow["reported"]["version"] == 1).await;
    cloud.api.eventually(NODE, is_in_sync).await;

    let report = said(&backup(cloud.dir.path(), &file).await);
    assert_eq!((&report["online"], &report["files"]), (&json!(true), &json!(6)));
    let epoch = cloud.api.get(NODE).await["down"]["epoch"].take();

    cloud.api.patch(SHADOW, &json!({ "rate": 2 })).await;
    cloud.api.patch("/v1/nodes/site-1/shadows/device/late", &json!({ "x": 1 })).await;
    site.order(Order::Report(Document::parse(b"{\"rate\":2,\"seen\":true}").unwrap())).await;
    cloud.api.eventually(SHADOW, |shadow| shadow["reported"]["version"] == 2).await;
    cloud.api.eventually(NODE, is_in_sync).await;
    let machines = site.leave().await;
    assert_eq!(machines.desired().unwrap(), "{\"rate\":2}");
    let dir = cloud.stop().await;

    let restore = ["restore", file.to_str().unwrap()];
    assert!(complaint(&gnomon(&restore, dir.path())).contains("--replace"));
    let report = said(&gnomon(&[restore[0], restore[1], "--replace"], dir.path()));
    assert!(Path::new(report["moved_aside"].as_str().unwrap()).exists());
    let cloud = Cloud::in_dir(dir, |_| ()).await;
    assert_ne!(cloud.api.get(NODE).await["down"]["epoch"], epoch);
    assert_eq!(cloud.api.get(SHADOW).await["reported"]["document"], json!({ "rate": 1 }));
    let site = machines.connect(cloud.mqtt(), &joined);
    let healed = |shadow: &Value| shadow["reported"]["version"] == 2;
    let shadow = cloud.api.eventually(SHADOW, healed).await;
    assert_eq!(shadow["reported"]["document"], json!({ "rate": 2, "seen": true }));
    cloud.api.eventually(NODE, is_in_sync).await;
    cloud.api.patch(SHADOW, &json!({ "more": true })).await;
    cloud.api.eventually(NODE, is_in_sync).await;
    let machines = site.leave().await;
    assert_eq!(machines.desired().unwrap(), "{\"more\":true,\"rate\":1}");
    let cloud = cloud.restart().await;
    let epoch = cloud.api.get(NODE).await["down"]["epoch"].take();
    let cloud = cloud.restart().await;
    assert_eq!(cloud.api.get(NODE).await["down"]["epoch"], epoch, "it begins anew once");
    let report = said(&gnomon(&["check"], cloud.stop().await.path()));
    assert_eq!((&report["nodes"], &report["problems"]), (&json!(1), &json!([])));
}

#[tokio::test]
async fn a_backup_of_a_stopped_cloud_makes_a_new_one_elsewhere() {
    let (files, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = files.path().join("backup");
    let cloud = Cloud::with_node().await;
    cloud.api.patch(SHADOW, &json!({ "rate": 1 })).await;
    let (shadow, token) = (ageless(cloud.api.get(SHADOW).await), cloud.api.token.clone());
    let dir = cloud.stop().await;
    let report = said(&gnomon(&["backup", file.to_str().unwrap()], dir.path()));
    assert_eq!(report["online"], false);
    let again = gnomon(&["backup", file.to_str().unwrap()], dir.path());
    assert!(complaint(&again).contains("is there already"));
    said(&gnomon(&["restore", file.to_str().unwrap()], elsewhere.path()));
    let cloud = Cloud::in_dir(elsewhere, |_| ()).await;
    assert_eq!(cloud.api.token, token);
    assert_eq!(ageless(cloud.api.get(SHADOW).await), shadow);
    let history = cloud.api.get("/v1/nodes/site-1/history/node").await;
    assert_eq!(history["versions"].as_array().unwrap().len(), 1);
    cloud.stop().await;
}

#[tokio::test]
async fn a_backup_that_is_not_whole_changes_nothing() {
    let files = TempDir::new().unwrap();
    let file = files.path().join("backup");
    let cloud = Cloud::with_node().await;
    let dir = cloud.stop().await;
    said(&gnomon(&["backup", file.to_str().unwrap()], dir.path()));
    let whole = std::fs::read(&file).unwrap();
    let before = std::fs::read(dir.path().join("store.redb")).unwrap();
    let restore = ["restore", file.to_str().unwrap(), "--replace"];
    for at in [0, 10, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..at]).unwrap();
        assert!(complaint(&gnomon(&restore, dir.path())).contains("not a whole backup"));
    }
    assert_eq!(std::fs::read(dir.path().join("store.redb")).unwrap(), before);
    let running = Cloud::in_dir(dir, |_| ()).await;
    std::fs::write(&file, &whole).unwrap();
    assert!(complaint(&gnomon(&restore, running.dir.path())).contains("in use"));
    assert!(complaint(&gnomon(&["check"], running.dir.path())).contains("in use"));
    running.stop().await;
}

#[tokio::test]
async fn only_one_copy_is_made_at_once_and_only_for_who_may() {
    let cloud = Cloud::with_node().await;
    let open = cloud.api.open(Method::GET, "/v1/backup").send().await.unwrap();
    refused(open, 401, "unauthorized").await;
    for n in 0..40 {
        let path = format!("/v1/nodes/site-1/shadows/device/d{n}");
        cloud.api.patch(&path, &json!({ "fill": "x".repeat(200_000) })).await;
    }
    let slow = cloud.api.request(Method::GET, "/v1/backup").send().await.unwrap();
    let second = cloud.api.request(Method::GET, "/v1/backup").send().await.unwrap();
    refused(second, 409, "limit_reached").await;
    drop(slow);
    cloud.stop().await;
}

#[test]
fn a_damaged_or_missing_store_is_found_by_the_check() {
    let dir = TempDir::new().unwrap();
    assert!(complaint(&gnomon(&["check"], dir.path())).contains("no store"));
    let path = dir.path().join("store.redb");
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    let found = complaint(&gnomon(&["check"], dir.path()));
    assert!(found.contains("damaged") && found.contains("gnomon-cloud restore"), "{found}");
    assert!(found.contains("Nothing of the store could be saved"), "{found}");
}

/// Turns a bit in the middle of the commits that the only file of a journal holds.
fn damage_journal(data: &Path) {
    let mut files = std::fs::read_dir(data.join("store.journal")).unwrap();
    let (path, None) = (files.next().unwrap().unwrap().path(), files.next()) else {
        panic!("the journal has several files")
    };
    let mut bytes = std::fs::read(&path).unwrap();
    let frames: Vec<_> =
        (0..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(b"GJf1")).collect();
    bytes[frames[frames.len() / 2] + 24] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn whoever_has_a_damaged_journal_is_told_the_ways_out_in_their_order_and_they_lead_out() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (mut child, ready) = start(dir.path());
    let api = api(&ready, dir.path());
    api.create("site-1").await;
    for n in 0..20 {
        api.patch(SHADOW, &json!({ "n": n })).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    damage_journal(dir.path());

    let refused = complaint(&serve(dir.path(), &[]).output().unwrap());
    let data = dir.path().display();
    let ways = [
        format!("`gnomon-cloud restore FILE --data {data} --replace`"),
        format!("`gnomon-cloud check --data {data}`"),
        format!("`gnomon-cloud check --data {data} --salvage NEW`"),
    ];
    let places: Vec<_> = ways.iter().map(|way| refused.find(way).expect(way)).collect();
    assert!(places.is_sorted() && refused.contains("damaged"), "{refused}");
    let forecast = complaint(&gnomon(&["check"], dir.path()));
    let new = other.path().join("new");
    let saved = said(&gnomon(&["check", "--salvage", new.to_str().unwrap()], dir.path()));
    let (commits, lost) = (&saved["commits"], &saved["lost_commits"]);
    assert!(lost.as_u64() > Some(0), "{saved}");
    let expected =
        format!("would save store.redb and {commits} commits of its journal, and lose {lost} ");
    assert!(forecast.contains(&expected), "{forecast:?} is not {saved}");
    let still = complaint(&serve(dir.path(), &[]).output().unwrap());
    assert_eq!(still, refused, "the old folder stays as it is");

    let (mut child, ready) = start(&new);
    let shadow = self::api(&ready, &new).get(SHADOW).await;
    let n = shadow["desired"]["document"]["n"].as_u64().unwrap();
    assert!((5..15).contains(&n), "what was written before the damage: {n}");
    signal(&child, Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
}

fn small_disk() -> PathBuf {
    let disk = std::env::var_os("GNOMON_TEST_SMALL_DISK").expect(
        "GNOMON_TEST_SMALL_DISK must name a directory on a file system of its own of at most \
         64 MiB; `make test` mounts one",
    );
    disk.into()
}

/// Leaves no byte free beside a file; gives back what took the rest.
fn fill(beside: &Path) -> PathBuf {
    let path = beside.with_extension("rest");
    let mut file = std::fs::File::create(&path).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    path
}

#[tokio::test]
async fn on_a_full_disk_reads_go_on_and_writes_come_back_with_the_space() {
    let dir = TempDir::new_in(small_disk()).unwrap();
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![0; 4 << 20]).unwrap();
    let cloud = Cloud::in_dir(dir, |_| ()).await;
    cloud.api.create("site-1").await;
    let path = |n: usize| format!("/v1/nodes/site-1/shadows/device/d{n}");
    let mut written = 0;
    let refusal = loop {
        let response = cloud.api.patch(&path(written), &json!({ "n": "x".repeat(100_000) })).await;
        if !response.status().is_success() {
            break response;
        }
        written += 1;
        assert!(written < 1000, "the disk is not small");
    };
    refused(refusal, 507, "store_full").await;
    for _ in 0..3 {
        let still = cloud.api.patch(&path(written), &json!({ "n": "x".repeat(100_000) })).await;
        refused(still, 507, "store_full").await;
        assert_eq!(cloud.api.get(NODE).await["shadows"], written);
        assert_eq!(cloud.api.get(&path(0)).await["desired"]["version"], 1);
        cloud.api.get("/v1/nodes/site-1/history/device/d0").await;
    }
    let filler = fill(&ballast);
    // A cloud that is killed there, or updated, is there again.
    let cloud = cloud.restart().await;
    let still = cloud.api.patch(&path(0), &json!({ "n": 1 })).await;
    refused(still, 507, "store_full").await;
    assert_eq!(cloud.api.get(NODE).await["shadows"], written);
    let elsewhere = TempDir::new().unwrap();
    let saved = backup(cloud.dir.path(), &elsewhere.path().join("backup")).await;
    assert_eq!(said(&saved)["online"], true);
    for file in [filler, ballast] {
        std::fs::remove_file(file).unwrap();
    }
    let deadline = std::time::Instant::now() + crate::bench::DEADLINE;
    loop {
        let response = cloud.api.patch(&path(written), &json!({ "n": 1 })).await;
        if response.status() == StatusCode::CREATED {
            break;
        }
        assert_eq!(response.status(), StatusCode::INSUFFICIENT_STORAGE);
        assert!(std::time::Instant::now() < deadline, "writes do not come back");
    }
    let cloud = cloud.restart().await;
    assert_eq!(cloud.api.get(NODE).await["shadows"], written + 1);
    let report = said(&gnomon(&["check"], cloud.stop().await.path()));
    assert_eq!(report["problems"], json!([]));
}
