//! What must be so after each power cut.

use std::collections::BTreeMap;

use gnomon_tests::{Cloud, eventually};
use serde_json::Value;

use super::Wish;
use super::site_box::SiteBox;
use crate::app::PATIENCE;

fn app(cloud: &Cloud, site: &SiteBox, name: &str) -> Value {
    let path = format!("/v1/nodes/{}/shadows/app/{name}", site.node());
    cloud.api.call("GET", &path, None).map_or(Value::Null, |(_, body)| body)
}

/// Waits until the app's newest revision has shown that it is good.
pub(super) fn is_good(cloud: &Cloud, site: &SiteBox) {
    eventually("a good revision", PATIENCE, || {
        let shadow = app(cloud, site, "probe");
        let reported = &shadow["reported"]["document"];
        if reported["good"] == true && reported["state"] == "running" {
            Ok(())
        } else {
            Err(shadow)
        }
    });
}

/// Whether everything is as wished; else what is not.
pub(super) fn look(cloud: &Cloud, site: &SiteBox, wish: &Wish) -> Result<(), String> {
    let mut wanted = BTreeMap::new();
    for service in ["first", "second", "third"] {
        wanted.insert(format!("probe/{service}"), vec![format!("{} true", wish.value)]);
    }
    let mut apps = vec![("probe", if wish.is_bad { "failed" } else { "running" })];
    if wish.has_extra {
        wanted.insert("extra/only".to_owned(), vec!["extra true".to_owned()]);
        apps.push(("extra", "running"));
    }
    for (name, state) in apps.clone() {
        let shadow = app(cloud, site, name);
        let (desired, reported) = (&shadow["desired"], &shadow["reported"]["document"]);
        let is_told =
            reported["state"] == state && reported["desired_version"] == desired["version"];
        if !is_told || (wish.is_bad && name == "probe" && reported["rolled_back_from"].is_null()) {
            return Err(format!("{name} is not told to be {state}: {shadow}"));
        }
    }
    let found = containers(site);
    if found != wanted {
        return Err(format!("containers: {found:#?} instead of {wanted:#?}"));
    }
    let networks = site.docker().of_node("network", site.node()).len();
    if networks != apps.len() {
        return Err(format!("{networks} networks of {} apps", apps.len()));
    }
    let status = site.status();
    let is_open = status["store"]["state"] == "ok" && status["desired_complete"] == true;
    if !is_open || status["pending"] != serde_json::json!([]) {
        return Err(format!("the agent's own word: {status}"));
    }
    reported(cloud, site, wish)
}

/// The value and whether it runs, of every container of the daemon, by service.
fn containers(site: &SiteBox) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let all = site.docker().run(&["ps", "-a", "-q", "--no-trunc"]);
    for container in all.lines().filter_map(|id| site.docker().inspect(id)) {
        let label = |name: &str| {
            let label = &container["Config"]["Labels"][format!("io.gnomon.{name}")];
            label.as_str().unwrap_or("foreign").to_owned()
        };
        let env = container["Config"]["Env"].as_array().cloned().unwrap_or_default();
        let value =
            env.iter().find_map(|it| it.as_str()?.strip_prefix("VALUE=").map(str::to_owned));
        let runs = &container["State"]["Running"];
        let entry = found.entry(format!("{}/{}", label("app"), label("service"))).or_default();
        entry.push(format!("{} {runs}", value.unwrap_or_default()));
    }
    found
}

/// What the agent said that it reports is at the cloud: that value, or the one after it, of which
/// the power cut took the answer.
fn reported(cloud: &Cloud, site: &SiteBox, wish: &Wish) -> Result<(), String> {
    if wish.given == 0 {
        return Ok(());
    }
    let (_, shadow) = cloud.api.get(&format!("/v1/nodes/{}/shadows/node", site.node()));
    let value = shadow["reported"]["document"]["local"]["count"].as_u64().unwrap_or(0);
    let is_right = (u64::from(wish.acked)..=u64::from(wish.given)).contains(&value);
    if is_right { Ok(()) } else { Err(format!("{value} is reported, {wish:?}")) }
}

/// The store was never put aside, and volumes are those of the apps that ever were.
pub(super) fn nothing_was_lost(site: &SiteBox) {
    let volumes = site.docker().of_node("volume", site.node());
    let ours = [
        format!("gnomon-{}.probe.data", site.node()),
        format!("gnomon-{}.extra.more", site.node()),
    ];
    assert!(volumes.iter().all(|it| ours.contains(it)), "{volumes:?}");
    assert!(volumes.contains(&ours[0]), "the app's volume is kept: {volumes:?}");
    let store = site.data().join("store");
    let names = std::fs::read_dir(store.join(site.node())).unwrap();
    let names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
    let is_aside = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("bad-");
    assert!(!names.iter().any(is_aside), "a store was put aside: {names:?}: {}", site.tail());
}
