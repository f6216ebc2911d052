//! The local commands of the real program, with host processes and without a link.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Agent, edge, joined, text};

const DEADLINE: Duration = Duration::from_secs(30);

/// The program's answer with a data directory.
fn run(data: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let (command, rest) = args.split_first().unwrap();
    let all = [&[*command, "--data", data.to_str().unwrap()], rest].concat();
    let output = edge(&all);
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn compose(dir: &Path, command: &str) -> String {
    let file = dir.join("compose.yaml");
    let text = format!(
        "name: shop\nx-gnomon: {{ settle: 200ms }}\nservices:\n  web:\n    image: none:1\n    \
         restart: always\n    stop_grace_period: 2s\n    environment: {{ TOKEN: hunter2 }}\n    \
         secrets: [key]\n    x-gnomon-process: {{ command: [sh, -c, \"{command}\"] }}\n\
         secrets: {{ key: {{ content: hunter2 }} }}\n"
    );
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Asks until the app `shop` is as wanted.
fn eventually(data: &Path, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let ask = || {
        let (_, out, _) = run(data, &["apps", "--json"]);
        let apps: Value = serde_json::from_str(&out).unwrap_or_default();
        apps[0]["status"].clone()
    };
    until(what, ask, wanted)
}

fn until(what: &str, ask: impl Fn() -> Value, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = ask();
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: {answer}");
        thread::yield_now();
    }
}

fn is_good(status: &Value) -> bool {
    status["state"] == "running" && status["good"] == true
}

#[test]
fn an_app_is_applied_held_restarted_and_looked_into_without_a_link() {
    let data = joined();
    let data = data.path();
    let files = tempfile::tempdir().unwrap();
    let _agent = Agent::start(data);
    let file = compose(files.path(), "echo up; exec sleep 1000");
    let (code, _, talk) = run(data, &["apply", &file]);
    assert_eq!(code, Some(0), "{talk}");
    assert!(talk.contains("until the cloud has an app of that name"), "{talk}");
    let status = eventually(data, "it is good", is_good);
    assert_eq!(status["local"], true);
    let (_, table, _) = run(data, &["apps"]);
    assert!(table.contains("running (good, local)"), "{table}");

    let exec = ["exec", "shop", "web", "--", "sh", "-c", "echo $TOKEN; echo oh >&2; exit 7"];
    assert_eq!(run(data, &exec), (Some(7), "hunter2\n".into(), "oh\n".into()));
    let (code, _, talk) = run(data, &["exec", "shop", "web", "--", "/no/such/program"]);
    assert!(code == Some(1) && talk.contains("cannot run /no/such/program"), "{talk}");
    let slow = ["exec", "--timeout", "0", "shop", "web", "--", "sleep", "100"];
    assert!(run(data, &slow).2.contains("did not end within 0 s"));

    let (_, first, _) = run(data, &["logs", "shop"]);
    assert_eq!(first, "up\n");
    assert_eq!(run(data, &["restart", "shop", "web"]).0, Some(0));
    let restarted = |status: &Value| status["services"]["web"]["restarts"] == 1 && is_good(status);
    eventually(data, "it was restarted", restarted);

    assert_eq!(run(data, &["hold", "shop"]).0, Some(0));
    let (code, _, talk) = run(data, &["apply", &file]);
    assert!(code == Some(1) && talk.contains("`release shop` first"), "{talk}");
    eventually(data, "it is held", |status| status["held"] == true);
    assert_eq!(run(data, &["release", "shop"]).0, Some(0));
    let (code, _, talk) = run(data, &["release", "shop"]);
    assert!(code == Some(1) && talk.contains("neither held nor rolled back"), "{talk}");
    assert_eq!(run(data, &["apply", "--discard", "shop"]).0, Some(0));
    eventually(data, "it is gone", Value::is_null);
}

#[test]
fn a_bad_revision_is_rolled_back_on_a_real_machine_and_survives_a_kill() {
    let data = joined();
    let data = data.path();
    let files = tempfile::tempdir().unwrap();
    let agent = Agent::start(data);
    run(data, &["apply", &compose(files.path(), "exec sleep 1000")]);
    let good = eventually(data, "it is good", is_good)["revision"].clone();
    let file = compose(files.path(), "exit 3");
    assert_eq!(run(data, &["apply", &file]).0, Some(0));
    let is_back = |status: &Value| {
        status["rolled_back_from"].is_string() && status["services"]["web"]["running"] == 1
    };
    let status = eventually(data, "it is rolled back", is_back);
    assert_eq!((&status["revision"], &status["state"]), (&good, &Value::from("failed")));
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("web ended 4 times, last with exit code 3"), "{reason}");
    agent.kill();
    let _agent = Agent::start(data);
    let status = eventually(data, "it still is", is_back);
    assert_eq!(status["revision"], good);
    assert_eq!(status["services"]["web"]["restarts"], Value::Null, "it was left alone");
    run(data, &["apply", "--discard", "shop"]);
    eventually(data, "it is gone", Value::is_null);
}

#[test]
fn a_compose_file_that_is_wrong_is_refused_with_its_place_and_the_agent_is_not_asked() {
    let data = joined();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("compose.yaml");
    fs::write(&file, "services: {a: {image: i}}\nx-gnomon: {rollback: perhaps}\n").unwrap();
    let (code, _, talk) = run(data.path(), &["apply", "--app", "x", file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(talk.contains("compose.yaml:2:22: x-gnomon.rollback must be"), "{talk}");
    fs::write(&file, "services: {a: {image: i}}\n").unwrap();
    let (_, _, talk) = run(data.path(), &["apply", file.to_str().unwrap()]);
    assert!(talk.contains("--app NAME"), "{talk}");
}

#[test]
fn the_support_bundle_has_everything_and_no_secret() {
    let data = joined();
    let data = data.path();
    let files = tempfile::tempdir().unwrap();
    let agent = Agent::start(data);
    run(data, &["apply", &compose(files.path(), "echo up; exec sleep 1000")]);
    eventually(data, "it is good", is_good);
    assert_eq!(run(data, &["report", "node", r#"{"site": "north"}"#]).0, Some(0));
    let out = files.path().join("diag.tar.gz");
    let diag = ["diag", "--output", out.to_str().unwrap()];
    let (code, _, talk) = run(data, &diag);
    assert_eq!(code, Some(0), "{talk}");
    let files_in = |path: &Path| {
        let file = fs::File::open(path).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (name, text(&bytes))
        });
        entries.collect::<Vec<_>>()
    };
    let found = files_in(&out);
    let of = |name: &str| {
        let file = found.iter().find(|(found, _)| found.ends_with(name));
        &file.unwrap_or_else(|| panic!("no {name}")).1
    };
    assert!(of("agent.json").contains("north") && of("agent.json").contains("TOKEN"));
    assert_eq!(of("logs/shop/web.0.log"), "up\n");
    assert!(of("data-files.txt").contains("store/") && of("versions.json").contains("gnomon-edge"));
    assert!(of("identity.json").contains("site-1"));
    for (name, text) in &found {
        assert!(!text.contains("hunter2") && !text.contains("PRIVATE KEY"), "{name}: {text}");
    }
    let (code, _, talk) = run(data, &diag);
    assert!(code == Some(1) && talk.contains("cannot make"), "it overwrites nothing: {talk}");
    run(data, &["apply", "--discard", "shop"]);
    eventually(data, "it is gone", Value::is_null);
    agent.stop();
    let out = files.path().join("dead.tar.gz");
    assert_eq!(run(data, &["diag", "--output", out.to_str().unwrap()]).0, Some(0));
    let dead = files_in(&out);
    assert!(dead.iter().any(|(_, text)| text.contains("no agent answers")));
}

#[test]
fn a_workload_reads_over_http_what_its_site_knows_and_no_secret() {
    let data = joined();
    let data = data.path();
    let files = tempfile::tempdir().unwrap();
    let (config, socket) = (files.path().join("edge.toml"), files.path().join("http.sock"));
    fs::write(&config, format!("http = \"unix:{}\"\n", socket.display())).unwrap();
    let _agent = Agent::start_with(data, &["--config", config.to_str().unwrap()]);
    run(data, &["apply", &compose(files.path(), "exec sleep 1000")]);
    eventually(data, "it is good", is_good);
    run(data, &["report", "device/pump", r#"{"level": 3}"#]);
    let get = |path: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Value>(body).unwrap()
    };
    let status = get("/v1/status");
    assert_eq!((&status["online"], &status["apps"]["shop"]), (&false.into(), &"running".into()));
    assert!(status["pending"].as_array().unwrap().contains(&"device/pump".into()), "{status}");
    let pump = get("/v1/shadows/device/pump");
    assert_eq!(pump["reported"]["document"], serde_json::json!({ "level": 3 }));
    assert_eq!(pump["reported_in_sync"], false);
    let shop = || get("/v1/shadows/app/shop")["reported"]["document"].clone();
    until("what is reported follows", shop, is_good);
    run(data, &["apply", "--discard", "shop"]);
    eventually(data, "it is gone", Value::is_null);
}
