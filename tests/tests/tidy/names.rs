//! Where a dependency, a topic or the outside world may be named.

use crate::{files, is_test, report, without_tests};

/// A crate, and the only places that may name it.
const HOMES: [(&str, &[&str]); 6] = [
    ("rumqttd", &["broker/src/codec"]),
    ("rumqttc", &["edge-runtime/src/link"]),
    ("sled", &["edge-runtime/src/store/sled"]),
    ("redb", &["cloud-shadow/src/store/redb"]),
    ("bollard", &["edge-runtime/src/orchestrator/docker"]),
    ("kube", &["edge-runtime/src/orchestrator/k3s"]),
];

/// The parts that are told what time it is and touch nothing.
const PURE: [&str; 16] = [
    "schemas/src/",
    "sync/src/",
    "broker/src/acl",
    "broker/src/filter",
    "broker/src/topic",
    "broker/src/session.rs",
    "broker/src/session/",
    "broker/src/index",
    "cloud-shadow/src/domain",
    "cloud-shadow/src/aws/domain",
    "cloud-shadow/src/store/journal/frame",
    "cloud-shadow/src/store/journal/overlay",
    "cloud-shadow/src/store/journal/recovery",
    "edge-runtime/src/reconcile",
    "simulators/src/world",
    "simulators/src/link/modem",
];

/// What a pure part may not name, and why.
const IMPURE: [(&str, &str); 12] = [
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("std::net::Tcp", "no sockets"),
    ("std::net::Udp", "no sockets"),
    ("std::fs", "no files"),
    ("std::thread", "no threads"),
    ("std::process", "no processes"),
    ("tokio::", "no runtime"),
    ("HashMap", "its order depends on the process"),
    ("HashSet", "its order depends on the process"),
    ("rand::rng()", "randomness is a seeded generator handed in"),
    ("std::env", "no environment"),
];

/// Here maps are only looked into: clippy's `iter_over_hash_type` sees to that.
const LOOKED_UP: &str = "broker/src/index";

/// It shares a level of states among threads; what it does with each state is pure.
const EXPLORER: &str = "simulators/src/world/explore.rs";

fn sources() -> Vec<(String, String)> {
    let mut all = files(".", &[".rs"]);
    all.retain(|(path, _)| !is_test(path));
    all
}

fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = without_tests(text).lines().enumerate().map(|(at, line)| (at + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn each_big_dependency_is_named_in_its_home_only() {
    let mut findings = Vec::new();
    for (path, text) in sources() {
        for (name, homes) in HOMES {
            let own_module = text.contains(&format!("mod {name};"));
            if own_module || homes.iter().any(|home| path.starts_with(home)) {
                continue;
            }
            let named = |line: &str| {
                line.contains(&format!("use {name}::"))
                    || line.contains(&format!(" {name}::"))
                    || line.contains(&format!("({name}::"))
                    || line.contains(&format!("<{name}::"))
            };
            for (at, _) in code_lines(&text).filter(|(_, line)| named(line)) {
                findings.push(format!("{path}:{at} names {name}; its home is {homes:?}"));
            }
        }
    }
    report("dependencies have homes:", &findings);
}

#[test]
fn pure_parts_reach_nothing_and_read_no_clock() {
    let mut findings = Vec::new();
    let mut seen = 0;
    for (path, text) in sources() {
        if !PURE.iter().any(|part| path.starts_with(part)) {
            continue;
        }
        seen += 1;
        for (at, line) in code_lines(&text) {
            let looked_up = |name: &str| name == "HashMap" && path.starts_with(LOOKED_UP);
            if path == EXPLORER && line.contains("std::thread") {
                continue;
            }
            let named = IMPURE.iter().filter(|(name, _)| line.contains(name));
            for (name, why) in named.filter(|(name, _)| !looked_up(name)) {
                findings.push(format!("{path}:{at} names {name}: {why}"));
            }
        }
    }
    assert!(seen > 40, "only {seen} pure files were found");
    report("pure parts are pure:", &findings);
}

#[test]
fn topics_are_spelled_in_one_place() {
    let mut findings = Vec::new();
    for (path, text) in sources() {
        if path.starts_with("schemas/src/topic") {
            continue;
        }
        for (at, line) in code_lines(&text) {
            if line.contains("\"gnomon/1") || line.contains("\"$aws/") {
                findings.push(format!("{path}:{at} spells a topic"));
            }
        }
    }
    report("topics are built and parsed in schemas/src/topic only:", &findings);
}
