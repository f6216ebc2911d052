//! The app that the tests deploy: two services whose environment tells which version runs.

use std::path::Path;
use std::time::Duration;

use gnomon_tests::process::run;
use gnomon_tests::{Cloud, Site, eventually};
use serde_json::{Value, json};

pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

const COMPOSE: &str = r#"
name: probe
services:
  first:
    image: probe:1
    restart: always
    environment: { VALUE: "@" }
    stop_grace_period: 1s
    x-gnomon-process: { command: [sh, -c, "exec sleep 100000"] }
  second:
    image: probe:1
    restart: always
    environment: { VALUE: "@" }
    stop_grace_period: 1s
    depends_on: [first]
    x-gnomon-process: { command: [sh, -c, "exec sleep 100000"] }
"#;

/// Applies the app with `gnomon apply`, as an operator does; says whether the cloud took it.
pub(crate) fn apply(cloud: &Cloud, folder: &Path, node: &str, value: u32) -> bool {
    let file = folder.join("probe.yaml");
    std::fs::write(&file, COMPOSE.replace('@', &value.to_string())).unwrap();
    let file = file.to_string_lossy();
    let output = gnomon(cloud, &["apply", "-f", &file, "--node", node]);
    output.status.success()
}

/// Runs `gnomon` against this cloud.
pub(crate) fn gnomon(cloud: &Cloud, args: &[&str]) -> std::process::Output {
    let token = cloud.data().join("admin-token").to_string_lossy().into_owned();
    let env = [("GNOMON_SERVER", cloud.api.url()), ("GNOMON_TOKEN_FILE", &token)];
    run("gnomon", args, &env)
}

/// The values of the running services, read from the processes themselves.
pub(crate) fn running(site: &Site) -> Vec<String> {
    let of = |pid: &i32| -> Option<String> {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        if !line.starts_with(b"sleep\0") {
            return None;
        }
        let env = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let env = String::from_utf8_lossy(&env).into_owned();
        env.split('\0').find_map(|entry| entry.strip_prefix("VALUE=").map(str::to_owned))
    };
    site.instances().iter().filter_map(of).collect()
}

/// Waits until the site runs exactly one process per service, each with this value.
pub(crate) fn runs(site: &Site, value: u32) {
    let wanted = vec![value.to_string(); 2];
    eventually(&format!("both services at {value}: {}", site.tail()), PATIENCE, || {
        let seen = running(site);
        if seen == wanted { Ok(()) } else { Err(seen) }
    });
}

/// The app's shadow at the cloud, without the ages of its halves.
pub(crate) fn shadow(cloud: &Cloud, node: &str) -> Value {
    let path = format!("/v1/nodes/{node}/shadows/app/probe");
    let mut shadow = cloud.api.call("GET", &path, None).map_or(json!(null), |(_, body)| body);
    for half in ["desired", "reported"] {
        if let Some(half) = shadow.get_mut(half).and_then(Value::as_object_mut) {
            half.remove("age_ms");
        }
    }
    shadow
}

/// Waits until what the site reports is what the cloud desires, and running.
pub(crate) fn converged(cloud: &Cloud, node: &str) {
    eventually(&format!("{node} to converge: {}", cloud.tail()), PATIENCE, || {
        let shadow = shadow(cloud, node);
        let reported = &shadow["reported"]["document"];
        let wanted = &shadow["desired"]["version"];
        let equal = reported["desired_version"] == *wanted && reported["state"] == "running";
        if equal && !wanted.is_null() { Ok(()) } else { Err(shadow) }
    });
}
