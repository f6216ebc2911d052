//! Apps as containers of a real Docker daemon: a site with a node of its own on it, what a person
//! would do there, and what is left in the end.

mod crashes;
pub(crate) mod daemon;
mod drift;
mod images;
mod outage;
mod updates;

use std::collections::BTreeMap;

use gnomon_tests::{Cloud, Site, eventually};
use serde_json::Value;
use tempfile::TempDir;

use crate::app::{PATIENCE, gnomon};
use daemon::{Cleaner, Docker};

/// Three services, the second after the first, and a volume; `@` is the value they run with, `%`
/// the image of the third.
const COMPOSE: &str = r#"
name: probe
x-service: &service
  image: gnomon-demo:1
  restart: always
  environment: { VALUE: "@" }
  stop_grace_period: 5s
  entrypoint: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]
services:
  first:
    <<: *service
    volumes: ["data:/data"]
  second:
    <<: *service
    depends_on: [first]
  third:
    <<: *service
    image: "%"
volumes:
  data: {}
"#;

/// A cloud, and a site that runs containers. Whatever it leaves goes when it is dropped.
pub(crate) struct Stage {
    pub(crate) cloud: Cloud,
    pub(crate) site: Site,
    pub(crate) docker: Docker,
    pub(crate) folder: TempDir,
    _cleaner: Cleaner,
}

/// One container of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) started_at: String,
    pub(crate) value: String,
    pub(crate) runs: bool,
}

impl Stage {
    /// On the daemon that `DOCKER_HOST` names.
    pub(crate) fn set(test: &str) -> Self {
        Self::on(Docker::shared(), test)
    }

    pub(crate) fn on(docker: Docker, test: &str) -> Self {
        let node = format!("e2e-{test}-{}", std::process::id());
        let cleaner = Cleaner::new(docker.clone(), node.clone());
        let folder = tempfile::tempdir().unwrap();
        let cloud = Cloud::start(folder.path());
        let site = Site::join_docker(&cloud, folder.path(), &node, docker.socket());
        Self { cloud, site, docker, folder, _cleaner: cleaner }
    }

    pub(crate) fn node(&self) -> &str {
        &self.site.name
    }

    /// Applies the app; says whether the cloud took it.
    pub(crate) fn apply(&self, value: u32) -> bool {
        self.apply_text(&compose(value, "gnomon-demo:1"))
    }

    pub(crate) fn apply_text(&self, text: &str) -> bool {
        let file = self.folder.path().join("app.yaml");
        std::fs::write(&file, text).unwrap();
        let file = file.to_string_lossy();
        let output = gnomon(&self.cloud, &["apply", "-f", &file, "--node", self.node()]);
        output.status.success()
    }

    /// Applies the app and waits until exactly it runs.
    pub(crate) fn deploy(&self, value: u32) -> BTreeMap<String, Container> {
        assert!(self.apply(value), "{}", self.cloud.tail());
        self.runs(value)
    }

    /// Waits until the site runs exactly one container per service with this value, and the cloud
    /// knows.
    pub(crate) fn runs(&self, value: u32) -> BTreeMap<String, Container> {
        crate::app::converged(&self.cloud, self.node());
        eventually(&format!("three services at {value}: {}", self.site.tail()), PATIENCE, || {
            let all = self.containers();
            let value = value.to_string();
            let is_right = |it: &Container| it.runs && it.value == value;
            let services: BTreeMap<_, _> = all.clone().into_iter().collect();
            let names: Vec<_> = services.keys().map(String::as_str).collect();
            let is_exact = all.len() == 3 && names == ["first", "second", "third"];
            if is_exact && services.values().all(is_right) { Ok(services) } else { Err(all) }
        })
    }

    /// Every container of the site, with its service.
    pub(crate) fn containers(&self) -> Vec<(String, Container)> {
        let ids = self.docker.of_node("container", self.node());
        let found = ids.iter().filter_map(|id| self.docker.inspect(id));
        found.map(|found| (label(&found, "io.gnomon.service"), container(&found))).collect()
    }

    /// How many networks and volumes the site has.
    pub(crate) fn networks_and_volumes(&self) -> (usize, usize) {
        let count = |kind| self.docker.of_node(kind, self.node()).len();
        (count("network"), count("volume"))
    }

    /// The apps as the operator sees them.
    pub(crate) fn get_apps(&self) -> String {
        let output = gnomon(&self.cloud, &["get", "apps", "--node", self.node()]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until an app's line, as the operator sees it, holds all of these words.
    pub(crate) fn shows(&self, app: &str, words: &[&str]) {
        let wanted = format!("`{app}` to be shown with {words:?}: {}", self.site.tail());
        eventually(&wanted, PATIENCE, || {
            let all = self.get_apps();
            let mut lines = all.lines();
            let is_of = |line: &&str| line.split_whitespace().nth(1) == Some(app);
            let line = lines.find(is_of).unwrap_or_default();
            let holds = !line.is_empty() && words.iter().all(|word| line.contains(word));
            if holds { Ok(()) } else { Err(all.clone()) }
        });
    }

    /// What the agent has logged so far, line by line.
    pub(crate) fn logged(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.site.data().with_extension("log")).unwrap();
        log.lines().map(str::to_owned).collect()
    }
}

pub(crate) fn compose(value: u32, third: &str) -> String {
    COMPOSE.replace('@', &value.to_string()).replace('%', third)
}

fn container(found: &Value) -> Container {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let env = found["Config"]["Env"].as_array().cloned().unwrap_or_default();
    let value = env.iter().find_map(|entry| entry.as_str()?.strip_prefix("VALUE="));
    Container {
        id: text(&found["Id"]),
        started_at: text(&found["State"]["StartedAt"]),
        value: value.unwrap_or_default().to_owned(),
        runs: found["State"]["Running"] == true,
    }
}

fn label(found: &Value, name: &str) -> String {
    found["Config"]["Labels"][name].as_str().unwrap_or_default().to_owned()
}
