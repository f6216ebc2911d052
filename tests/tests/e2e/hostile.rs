//! Desired state that wants to do harm: it is refused with a reason, by the cloud or by the site,
//! and nothing of it is executed; what is only strange is taken for what it is.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use gnomon_tests::{Cloud, Site, eventually};
use serde_json::{Value, json};

use crate::app::{PATIENCE, apply, converged, runs};
use crate::docker::Stage;

/// Documents of apps, and a word of the reason for which each is refused.
fn hostile(canary: &str) -> Vec<(&'static str, Value, &'static str)> {
    let harm = format!("touch {canary}");
    let service = |more: Value| {
        let mut service = json!({
            "image": "gnomon-demo:1", "command": ["sh", "-c", harm], "restart": "always",
            "process": { "command": ["sh", "-c", harm] },
        });
        let members = more.as_object().unwrap().clone();
        service.as_object_mut().unwrap().extend(members);
        service
    };
    let app = |services: Value| json!({ "services": services });
    let mount = |target: &str| {
        let mut one = app(json!({
            "a": service(json!({ "configs": { target: { "source": "c" } } }))
        }));
        one["configs"] = json!({ "c": { "content": "x" } });
        one
    };
    let many: serde_json::Map<_, _> =
        (0..1000).map(|n| (format!("s{n}"), service(json!({})))).collect();
    let ring = json!({
        "a": service(json!({ "depends_on": { "b": "started" } })),
        "b": service(json!({ "depends_on": { "a": "started" } })),
    });
    let bind = json!({ "/host": { "type": "bind", "path": "/etc", "read_only": false } });
    vec![
        ("ring", app(ring), "wait for each other"),
        ("many", app(Value::Object(many)), "64"),
        ("copies", app(json!({ "a": service(json!({ "replicas": 100_000 })) })), "replicas"),
        ("name", app(json!({ "../../etc": service(json!({})) })), "services"),
        ("shell", app(json!({ "a;reboot": service(json!({})) })), "services"),
        ("escape", mount("/etc/../../root/x"), "configs"),
        ("relative", mount("root/x"), "configs"),
        ("mount", app(json!({ "a": service(json!({ "volumes": bind })) })), "volumes"),
        (
            "variable",
            app(json!({ "a": service(json!({ "environment": { "A=B": "x" } })) })),
            "environ",
        ),
        ("nul", app(json!({ "a": service(json!({ "working_dir": "/a\u{0}b" })) })), "working_dir"),
        ("unknown", app(json!({ "a": service(json!({ "privileged": true })) })), "privileged"),
        ("no-app", json!({ "services": "all" }), "services"),
        ("big", json!({ "x": "y".repeat(10 << 20) }), ""),
    ]
}

fn put(cloud: &Cloud, node: &str, app: &str, document: &Value) -> (u16, Value) {
    let path = format!("/v1/nodes/{node}/shadows/app/{app}");
    // A connection that is cut in the middle of ten megabytes is an answer, too.
    cloud.api.call("PUT", &path, Some(document)).unwrap_or((413, json!("no answer")))
}

/// Says it to the agent itself, past every check of the cloud; gives back what it answers.
fn tell_agent(site: &Site, app: &str, document: &Value) -> String {
    let mut stream = UnixStream::connect(site.data().join("agent.sock")).unwrap();
    let request = json!({ "request": "apply", "app": app, "spec": document });
    // It may hang up in the middle of what is too long.
    let _taken = stream.write_all(format!("{request}\n").as_bytes());
    let mut answer = String::new();
    let _read = BufReader::new(stream).read_line(&mut answer);
    answer
}

/// Says all of it to a node; each is refused by the cloud, or by the node.
fn say_all(cloud: &Cloud, node: &str, canary: &Path, tail: impl Fn() -> String) {
    let canary = canary.to_string_lossy();
    for (name, document, word) in hostile(&canary) {
        let (status, answer) = put(cloud, node, name, &document);
        if status >= 300 {
            assert!((400..500).contains(&status), "{name}: {status} {answer}");
            assert!(answer.to_string().contains(word) || answer.is_string(), "{name}: {answer}");
            continue;
        }
        let path = format!("/v1/nodes/{node}/shadows/app/{name}");
        eventually(&format!("{name} to be refused: {}", tail()), PATIENCE, || {
            let (_, shadow) = cloud.api.get(&path);
            let reported = &shadow["reported"]["document"];
            let reason = reported["reason"].as_str().unwrap_or_default();
            let is_refused = reported["state"] == "refused" && reason.contains(word);
            if is_refused { Ok(()) } else { Err(shadow["reported"].clone()) }
        });
    }
    assert!(!Path::new(&*canary).exists(), "something of it was executed");
}

#[test]
fn host_processes_run_nothing_of_a_hostile_wish_and_what_is_strange_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let canary = folder.path().join("canary");
    let cloud = Cloud::start(folder.path());
    let site = Site::join(&cloud, folder.path(), "site-1");
    assert!(apply(&cloud, folder.path(), "site-1", 1));
    converged(&cloud, "site-1");
    let before = site.instances();
    say_all(&cloud, "site-1", &canary, || site.tail());
    for (name, document, word) in hostile(&canary.to_string_lossy()) {
        let answer = tell_agent(&site, name, &document);
        let is_refused = answer.contains("error") && answer.contains(word);
        assert!(is_refused || (word.is_empty() && answer.is_empty()), "{name}: {answer}");
    }
    assert!(!canary.exists(), "something of it was executed");
    assert_eq!(site.instances(), before, "what runs was not touched, and nothing more runs");
    let words = format!("$(touch {0}); `touch {0}` && touch {0} | x\n'\"", canary.display());
    let strange = json!({ "services": { "a": {
        "image": "probe:1", "restart": "always", "environment": { "VALUE": words },
        "labels": { words.clone(): words }, "process": { "command": ["sleep", "100000"] },
    } } });
    let (status, answer) = put(&cloud, "site-1", "strange", &strange);
    assert!(status < 300, "{answer}");
    eventually(&format!("the strange app: {}", site.tail()), PATIENCE, || {
        let values = crate::app::running(&site);
        if values.contains(&words) { Ok(()) } else { Err(values) }
    });
    assert!(!canary.exists(), "text was taken for a command");
    let (status, _) =
        cloud.api.call("DELETE", "/v1/nodes/site-1/shadows/app/strange", None).unwrap();
    assert!(status < 300);
    runs(&site, 1);
}

#[test]
fn containers_of_a_hostile_wish_are_not_even_made() {
    let stage = Stage::set("hostile");
    let canary = stage.folder.path().join("canary");
    let before = stage.deploy(1);
    say_all(&stage.cloud, stage.node(), &canary, || stage.site.tail());
    assert_eq!(stage.runs(1), before);
    assert_eq!(stage.networks_and_volumes(), (1, 1));
}
