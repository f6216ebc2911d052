//! Where the figures come from.

use std::fs;

use serde_json::{Map, Value, json};

/// How many processes want a core: what else runs is in the figures too.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// The machine; `load` is that before the run.
pub(crate) fn facts(load: &str) -> Map<String, Value> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpus.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, value)| value)
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
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
    let facts = [
        ("processor", json!(field("model name"))),
        ("cores", json!(cores)),
        ("kernel", json!(kernel.trim())),
        ("load before the run", json!(load)),
    ];
    facts.map(|(name, fact)| (name.to_owned(), fact)).into_iter().collect()
}
