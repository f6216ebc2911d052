//! What the campaign breaks: a cloud on a disk of its own, sites in boxes with Docker, one on host
//! processes, and a link for each.

mod boot;
pub(crate) mod cloud;
pub(crate) mod containers;
mod disk;
pub(crate) mod link;
mod local;
pub(crate) mod logs;
pub(crate) mod site;
mod warden;

pub(crate) use local::ask;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use cloud::{Cloud, Terms};
use link::Link;
use site::Site;
use warden::Warden;

/// The sites, and which of them are in boxes.
pub(crate) const NODES: [&str; 3] = ["east", "west", "south"];
pub(crate) const IS_BOX: [bool; 3] = [true, true, false];

/// The shadows that operators write and devices report.
pub(crate) const DEVICES: [&str; 3] = ["device/pump-1", "device/pump-2", "device/tank/level"];

/// `@` is the value that the services run with.
const COMPOSE: &str = r#"
name: probe
x-gnomon: { settle: 1s }
x-service: &service
  image: gnomon-demo:1
  restart: always
  stop_grace_period: 1s
  entrypoint: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]
  x-gnomon-process: { command: [sh, -c, "exec sleep 100000"] }
services:
  first:
    <<: *service
    environment: { VALUE: "@", SERVICE: first }
  second:
    <<: *service
    environment: { VALUE: "@", SERVICE: second }
    depends_on: [first]
"#;

/// Everything that stands.
pub(crate) struct Stage {
    pub(crate) sites: Vec<Site>,
    pub(crate) links: Vec<Link>,
    pub(crate) cloud: Cloud,
    pub(crate) folder: TempDir,
    _warden: Warden,
    runtime: Runtime,
}

impl Stage {
    /// Makes it, with every site joined and its app desired.
    pub(crate) fn set(seed: u64, terms: &Terms) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let warden = Warden::start(folder.path());
        let cloud = Cloud::start(folder.path(), terms);
        let mut stage =
            Self { sites: Vec::new(), links: Vec::new(), cloud, folder, _warden: warden, runtime };
        for (number, (node, is_box)) in NODES.into_iter().zip(IS_BOX).enumerate() {
            let site = Site::join(stage.cloud.door(), stage.folder.path(), node, is_box, number);
            let link = {
                let _inside = stage.runtime.enter();
                Link::start(&stage.cloud, &site, seed + number as u64)
            };
            stage.sites.push(site);
            stage.links.push(link);
        }
        for (site, link) in stage.sites.iter_mut().zip(&stage.links) {
            site.goes_through(link);
            site.power_on();
            site.make_images();
        }
        for site in &stage.sites {
            stage.apply(&site.node);
        }
        stage
    }

    /// Ends the sites; what listens to their daemons hears the end.
    pub(crate) fn power_off(&mut self) {
        self.sites.iter_mut().for_each(Site::power_off);
    }

    fn apply(&self, node: &str) {
        let file = self.folder.path().join("probe.yaml");
        std::fs::write(&file, COMPOSE.replace('@', "0")).unwrap();
        let file = file.to_string_lossy();
        self.cloud.gnomon(&["apply", "-f", &file, "--node", node]);
    }
}

/// A number of chance as an index.
pub(crate) fn pick<T>(all: &[T], chance: u64) -> Option<&T> {
    all.get(usize::try_from(chance % all.len().max(1) as u64).unwrap())
}

/// The member of an object, or null.
pub(crate) fn member<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, name| &value[*name])
}
