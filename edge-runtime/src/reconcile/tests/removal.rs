//! What is not wanted any more.

use insta::assert_snapshot;

use super::SHOP;
use crate::reconcile::Desired;
use crate::reconcile::model::InstanceState;
use crate::reconcile::world::{Site, app};

#[test]
fn a_removed_app_stops_in_reverse_order() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    site.desired.remove(&app("shop"));
    assert_snapshot!(site.plan(), @"
    stop shop/web.0 (i2) within 10000 ms
    shop v0 is stopping
    ");
    assert_snapshot!(site.trace(), @"
    stop shop/web.0 (i2) within 10000 ms
    stop shop/db.0 (i1) within 10000 ms, remove shop/web.0 (i2)
    remove shop/db.0 (i1)
    remove what is left of shop
    ");
    assert_snapshot!(site.plan(), @"nothing to do");
}

#[test]
fn an_app_that_was_removed_while_the_agent_was_down_stops_at_once() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    site.desired = Desired::default();
    assert_snapshot!(site.plan(), @"
    stop shop/db.0 (i1) within 10000 ms
    stop shop/web.0 (i2) within 10000 ms
    shop v0 is stopping
    ");
}

#[test]
fn a_removal_that_fails_is_told() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"web": {"image": "web", "restart": "always"}}"#);
    site.converge();
    site.desired.remove(&app("shop"));
    site.faults.push_back(("permission denied", false));
    site.round();
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v0 is stopping: stopping an old instance failed once: permission denied; retrying
    wake at 30.000s: a failed step may be tried again
    ");
}

#[test]
fn surplus_copies_are_stopped_and_removed() {
    let mut site = Site::new();
    let web = r#"{"web": {"image": "web", "restart": "always", "replicas": 3}}"#;
    site.want("shop", 1, web);
    site.converge();
    site.befall("shop/web.1", InstanceState::Exited { code: 1 });
    site.want("shop", 2, &web.replace('3', "1"));
    assert_snapshot!(site.plan(), @"
    remove shop/web.1 (i2)
    stop shop/web.2 (i3) within 10000 ms
    shop v2 is starting: surplus instances are being removed
      web running 1/1
    ");
    assert_snapshot!(site.trace(), @"
    remove shop/web.1 (i2), stop shop/web.2 (i3) within 10000 ms
    remove shop/web.2 (i3)
    ");
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v2 is running
      web running 1/1
    ");
}

#[test]
fn an_app_scaled_to_nothing_rests() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    let mut document = site.desired.apps[&app("shop")].spec.clone().unwrap().to_value();
    document["services"]["db"]["replicas"] = 0.into();
    document["services"]["web"]["replicas"] = 0.into();
    site.want("shop", 2, &document["services"].to_string());
    assert_snapshot!(site.trace(), @"
    stop shop/web.0 (i2) within 10000 ms
    stop shop/db.0 (i1) within 10000 ms, remove shop/web.0 (i2)
    remove shop/db.0 (i1)
    ");
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v2 is running
      db running 0/0
      web running 0/0
    ");
}
