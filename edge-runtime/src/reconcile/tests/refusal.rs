//! Apps that are not touched.

use gnomon_schemas::app::AppState;
use gnomon_schemas::document::Document;
use gnomon_schemas::limits::APPS_PER_NODE;
use gnomon_schemas::version::Version;
use insta::assert_snapshot;

use super::SHOP;
use crate::reconcile::world::{Site, app};

#[test]
fn an_invalid_app_leaves_what_runs_untouched() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    let document = Document::parse(br#"{"services": {"web": {"image": "web", "colour": 1}}}"#);
    site.desired.insert(app("shop"), Version(2), &document.unwrap());
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v2 is refused: the app does not have the expected form at services.web.colour: unknown field `colour`, expected one of `image`, `entrypoint`, `command`, `process`, `environment`, `ports`, `volumes`, `configs`, `secrets`, `healthcheck`, `restart`, `schedule`, `depends_on`, `resources`, `update`, `replicas`, `stop_grace_period_ms`, `stop_signal`, `working_dir`, `user`, `confinement`, `devices`, `labels`, `manifests`, `manifest_secrets`
      db running 1/0 healthy
      web running 1/0
    ");
}

#[test]
fn an_app_beyond_the_orchestrator_is_refused() {
    let mut site = Site::new();
    site.capabilities.images = false;
    site.want("shop", 1, SHOP);
    let plan = site.plan();
    assert!(plan.steps.is_empty());
    let reason = plan.report[&app("shop")].reason.clone().unwrap();
    assert!(reason.contains("service db"), "{reason}");
}

#[test]
fn an_orchestrator_without_images_is_never_asked_to_pull() {
    let mut site = Site::new();
    site.capabilities.images = false;
    site.want("shop", 1, r#"{"web": {"image": "w", "command": ["x"], "restart": "always"}}"#);
    assert_snapshot!(site.trace(), @"
    create shop/web.0
    start shop/web.0 (i1)
    ");
}

const WEB: &str =
    r#"{"web": {"image": "w", "restart": "always", "ports": [{"container": 80, "host": 8080}]}}"#;
const ELSEWHERE: &str = r#"{"web": {"image": "w", "restart": "always", "ports": [{"container": 80, "host": 8080, "host_ip": "127.0.0.1", "protocol": "udp"}]}}"#;

#[test]
fn a_port_of_another_app_is_refused_before_anything_is_touched() {
    let mut site = Site::new();
    site.want("b", 1, WEB);
    site.want("c", 1, ELSEWHERE);
    site.converge();
    site.want("a", 1, WEB);
    assert_snapshot!(site.plan(), @"
    nothing to do
    a v1 is refused: service web asks for port 8080/tcp of the node, which app b has
    b v1 is running
      web running 1/1
    c v1 is running
      web running 1/1
    ");
    site.desired.remove(&app("b"));
    site.converge();
    assert_snapshot!(site.plan(), @"
    nothing to do
    a v1 is running
      web running 1/1
    c v1 is running
      web running 1/1
    ");
}

#[test]
fn the_app_that_has_a_port_keeps_it() {
    let mut site = Site::new();
    site.want("a", 1, r#"{"web": {"image": "w", "restart": "always"}}"#);
    site.want("b", 1, WEB);
    site.converge();
    site.want("a", 2, WEB);
    site.want("b", 2, &WEB.replace("\"w\"", "\"w:2\""));
    site.converge();
    let plan = site.plan();
    assert!(plan.steps.is_empty(), "what runs of it stays: {plan}");
    let reason = plan.report[&app("a")].reason.clone().unwrap();
    assert_eq!(reason, "service web asks for port 8080/tcp of the node, which app b has");
}

#[test]
fn a_port_on_which_somebody_else_listens_is_refused() {
    let taken = |text: &str| serde_json::from_str(text).unwrap();
    let mut site = Site::new();
    site.want("b", 1, WEB);
    site.world.taken_ports = vec![taken(r#"{"container": 1, "host": 8080, "protocol": "udp"}"#)];
    site.converge();
    assert!(site.plan().report[&app("b")].reason.is_none(), "another protocol is another port");
    site.world.taken_ports = vec![taken(r#"{"container": 1, "host": 8080}"#)];
    assert!(site.plan().report[&app("b")].reason.is_none(), "what is made says it at its start");
    site.want("b", 2, &WEB.replace("\"w\"", "\"w:2\""));
    let plan = site.plan();
    assert!(plan.steps.is_empty(), "what runs of it stays: {plan}");
    let reason = plan.report[&app("b")].reason.clone().unwrap();
    assert_eq!(
        reason,
        "service web asks for port 8080/tcp of the node, on which something that is not Gnomon's \
         listens"
    );
    site.world.taken_ports.clear();
    site.converge();
    assert!(site.plan().report[&app("b")].reason.is_none());
}

#[test]
fn of_too_many_apps_those_that_run_stay_and_the_others_are_refused() {
    const ONE: &str = r#"{"web": {"image": "w", "restart": "always"}}"#;
    let mut site = Site::new();
    site.want("zulu", 1, ONE);
    site.converge();
    for number in 0..APPS_PER_NODE {
        site.want(&format!("app-{number:03}"), 1, ONE);
    }
    site.converge();
    let plan = site.plan();
    assert!(plan.steps.is_empty());
    let is_refused = |name: &str| plan.report[&app(name)].state == AppState::Refused;
    let refused: Vec<_> = plan.report.keys().filter(|it| is_refused(it.as_str())).collect();
    assert_eq!(refused, [&app("app-255")]);
    let reason = plan.report[&app("app-255")].reason.as_deref();
    assert_eq!(reason, Some("a node runs at most 256 apps, and 257 are desired"));
}
