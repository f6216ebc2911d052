//! Apps that are not touched.

use gnomon_schemas::document::Document;
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
    shop v2 is refused: the app does not have the expected form at services.web.colour: unknown field `colour`, expected one of `image`, `entrypoint`, `command`, `process`, `environment`, `ports`, `volumes`, `configs`, `secrets`, `healthcheck`, `restart`, `schedule`, `depends_on`, `resources`, `replicas`, `stop_grace_period_ms`, `stop_signal`, `working_dir`, `user`, `labels`
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
