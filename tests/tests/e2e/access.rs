//! Identity from end to end: a cloud as `init` makes it, an operator and a site over HTTPS, a site
//! that nobody has announced, and certificates that renew themselves.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use gnomon_tests::process::run;
use gnomon_tests::{Program, Site, eventually};
use serde_json::Value;

use crate::app::PATIENCE;

const APP: &str = r#"
name: probe
services:
  only:
    image: probe:1
    restart: always
    stop_grace_period: 1s
    x-gnomon-process: { command: [sh, -c, "exec sleep 100000"] }
"#;

/// A cloud that `gnomon-cloud init` has set up.
pub(crate) struct Cloud {
    made: Value,
    ready: Value,
    program: Program,
    log: PathBuf,
}

impl Cloud {
    /// With these values in its configuration file.
    pub(crate) fn start(folder: &Path, values: &[(&str, &str)]) -> Self {
        let dir = folder.join("cloud").to_string_lossy().into_owned();
        let any = "127.0.0.1:0";
        let args = ["init", &dir, "--http", any, "--https", any, "--mqtt", any];
        let made = run("gnomon-cloud", &args, &[]);
        assert!(made.status.success(), "{}", text(&made));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let config = made["config"].as_str().unwrap().to_owned();
        set(&config, values);
        let log = folder.join("cloud.log");
        let (program, ready) = Program::start("gnomon-cloud", &["--config".into(), config], &log);
        Self { made, ready, program, log }
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> String {
        self.log.with_extension("").to_string_lossy().into_owned()
    }

    /// Stops it, does something to its data folder, and starts it again where it was.
    pub(crate) fn restart(self, between: impl FnOnce(&str)) -> Self {
        let Self { made, ready, program, log } = self;
        assert_eq!(program.stop(), Some(0));
        let config = made["config"].as_str().unwrap().to_owned();
        let at = ["http", "https", "mqtt"].map(|name| (name, ready[name].to_string()));
        set(&config, &at.each_ref().map(|(name, at)| (*name, at.as_str())));
        between(&log.with_extension("").to_string_lossy());
        let (program, ready) = Program::start("gnomon-cloud", &["--config".into(), config], &log);
        Self { made, ready, program, log }
    }

    fn url(&self) -> String {
        format!("https://{}", self.ready["https"].as_str().unwrap())
    }

    fn gnomon(&self, args: &[&str]) -> Output {
        let url = self.url();
        let env = [
            ("GNOMON_SERVER", url.as_str()),
            ("GNOMON_TOKEN", self.made["token"].as_str().unwrap()),
            ("GNOMON_CA", self.made["ca"].as_str().unwrap()),
        ];
        run("gnomon", args, &env)
    }

    /// What a command prints, which must succeed.
    pub(crate) fn said(&self, args: &[&str]) -> String {
        let output = self.gnomon(args);
        assert!(output.status.success(), "gnomon {args:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.said(&[args, &["-o", "json"]].concat())).unwrap()
    }
}

/// Puts values into a configuration file.
fn set(config: &str, values: &[(&str, &str)]) {
    let mut toml = std::fs::read_to_string(config).unwrap();
    for (name, value) in values {
        let line = toml.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
        toml = toml.replacen(&line.to_owned(), &format!("{name} = {value}"), 1);
    }
    std::fs::write(config, toml).unwrap();
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn join(cloud: &Cloud, data: &Path, args: &[&str]) -> Output {
    let (url, data) = (cloud.url(), data.to_string_lossy().into_owned());
    run("gnomon-edge", &[&["join", &url, "--data", &data], args].concat(), &[])
}

pub(crate) fn is_online(cloud: &Cloud, node: &str) {
    eventually(&format!("{node} to be online"), PATIENCE, || {
        let nodes = cloud.json(&["get", "nodes"]);
        let nodes = nodes.as_array().unwrap().clone();
        let found = nodes.iter().find(|found| found["name"] == node);
        if found.is_some_and(|node| node["online"] == true) { Ok(()) } else { Err(nodes) }
    });
}

pub(crate) fn certificate(data: &Path) -> String {
    std::fs::read_to_string(data.join("cert.pem")).unwrap()
}

#[test]
fn an_operator_and_a_site_reach_a_new_cloud_over_https_only() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path(), &[]);
    let data = folder.path().join("site-1");

    let without = run("gnomon", &["get", "nodes"], &[("GNOMON_SERVER", &cloud.url())]);
    assert_eq!(without.status.code(), Some(6), "{}", text(&without));
    assert!(text(&without).contains("--ca FILE"), "{}", text(&without));

    cloud.said(&["node", "create", "site-1"]);
    let token = cloud.said(&["node", "token", "site-1"]);
    let (secret, _) = token.split_once('.').unwrap();
    let other = format!("{secret}.{}", "0f".repeat(32));
    let wrong = join(&cloud, &data, &["--token", &other]);
    assert!(!wrong.status.success() && text(&wrong).contains("authority"), "{}", text(&wrong));
    let blind = join(&cloud, &data, &["--token", secret]);
    assert!(text(&blind).contains("--ca-sha256"), "{}", text(&blind));
    assert!(!data.join("identity.json").exists());
    let joined = join(&cloud, &data, &["--token", &token]);
    assert!(joined.status.success(), "{}", text(&joined));
    let _site = Site::joined(&data);
    let file = folder.path().join("probe.yaml");
    std::fs::write(&file, APP).unwrap();
    cloud.said(&["apply", "-f", &file.to_string_lossy(), "--node", "site-1"]);
    eventually("the app to run", PATIENCE, || {
        let apps = cloud.json(&["get", "apps"]);
        if apps[0]["status"]["state"] == "running" { Ok(()) } else { Err(apps) }
    });

    let ci = cloud.said(&["token", "create", "ci", "--role", "viewer", "--ttl", "1h"]);
    let env = [
        ("GNOMON_SERVER", cloud.url()),
        ("GNOMON_TOKEN", ci),
        ("GNOMON_CA", cloud.made["ca"].as_str().unwrap().to_owned()),
    ];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(run("gnomon", &["get", "nodes"], &env).status.success());
    let denied = run("gnomon", &["node", "revoke", "site-1"], &env);
    assert_eq!(denied.status.code(), Some(1));
    assert!(text(&denied).contains("operator"), "{}", text(&denied));
    let audit = cloud.json(&["audit"]).to_string();
    for what in
        ["node.put", "node.join", "shadow.", "site-1/app/probe", "token.create", "forbidden"]
    {
        assert!(audit.contains(what), "{what}: {audit}");
    }
    cloud.said(&["delete", "app", "probe", "--node", "site-1"]);
    eventually("the app to be gone", PATIENCE, || {
        let apps = cloud.json(&["get", "apps"]);
        if apps.as_array().unwrap().is_empty() { Ok(()) } else { Err(apps) }
    });
    cloud.said(&["node", "revoke", "site-1"]);
    eventually("the site to be out", PATIENCE, || {
        let nodes = cloud.json(&["get", "nodes"]);
        if nodes[0]["online"] == false { Ok(()) } else { Err(nodes) }
    });
}

#[test]
fn a_site_without_a_token_waits_until_it_is_approved() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path(), &[("approve_unknown", "true")]);
    let data = folder.path().join("pump-9");
    let ca = cloud.made["ca_sha256"].as_str().unwrap();
    let args = ["--node", "pump-9", "--ca-sha256", ca, "--wait", "0"];
    let waiting = join(&cloud, &data, &args);
    assert!(!waiting.status.success(), "nobody has approved it");
    let pending = cloud.json(&["node", "pending"]);
    let (id, key) = (pending[0]["id"].as_str().unwrap(), &pending[0]["key_sha256"]);
    assert_eq!(pending[0]["node"], "pump-9");
    let said = text(&waiting);
    assert!(said.contains(id) && said.contains(key.as_str().unwrap()), "{said}");
    cloud.said(&["node", "approve", id, "--label", "kind=pump"]);
    let joined = join(&cloud, &data, &args);
    assert!(joined.status.success(), "{}", text(&joined));
    let _site = Site::joined(&data);
    is_online(&cloud, "pump-9");
    let nodes = cloud.json(&["get", "nodes"]);
    assert_eq!(nodes[0]["labels"]["kind"], "pump");
}

#[test]
fn a_certificate_that_lives_for_seconds_is_renewed_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    // 17 seconds.
    let cloud = Cloud::start(folder.path(), &[("certificate_days", "0.0002")]);
    let data: PathBuf = folder.path().join("site-1");
    cloud.said(&["node", "create", "site-1"]);
    let token = cloud.said(&["node", "token", "site-1"]);
    assert!(join(&cloud, &data, &["--token", &token]).status.success());
    let first = certificate(&data);
    let mut site = Site::joined(&data);
    is_online(&cloud, "site-1");
    let mut seen = vec![first];
    eventually("three renewals", Duration::from_mins(2), || {
        let now = certificate(&data);
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        if seen.len() > 3 { Ok(()) } else { Err(site.tail()) }
    });
    // The first one has ended by now; the link is made anew with what was renewed.
    site.kill9();
    site.start();
    is_online(&cloud, "site-1");
    assert!(!data.join("renewed.pem").exists());
    let audit = cloud.json(&["audit", "--action", "node.renew"]);
    assert!(audit.as_array().unwrap().len() >= 3, "{audit}");
}
