//! Where the figures come from.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::process;

/// How many processes want a core: what else runs is in the figures too.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// The machine and the versions; `load` is that before the run.
pub(crate) fn facts(has_peer: bool, load: &str) -> Value {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpus.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, value)| value)
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let peer = process::mosquitto().filter(|_| has_peer).and_then(|path| {
        let help = Command::new(path).arg("-h").output().ok()?;
        String::from_utf8_lossy(&help.stdout).lines().next().map(str::to_owned)
    });
    let cores = fs::read_dir("/sys/devices/system/cpu")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("cpu"));
            number.is_some_and(|number| number.parse::<u16>().is_ok())
        })
        .count();
    json!({
        "processor": field("model name"),
        "cores": cores,
        "kernel": kernel.trim(),
        "load before the run": load,
        "peer": peer.unwrap_or_else(|| "none".to_owned()),
        "broker": "one core; the load generator has another",
    })
}
