//! From one revision to the next.

use std::collections::BTreeSet;

use gnomon_schemas::document::Document;
use gnomon_schemas::version::Version;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{SHOP, SHOP_2};
use crate::reconcile::Attempts;
use crate::reconcile::model::{InstanceId, InstanceState};
use crate::reconcile::world::{Site, app};

#[test]
fn images_are_fetched_before_anything_is_stopped() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    site.want("shop", 2, SHOP_2);
    assert_snapshot!(site.plan(), @"
    pull db:2 for shop
    pull web:2 for shop
    shop v2 is pulling: db: pulling db:2
      db pulling 1/1 healthy: pulling db:2
      web pulling 1/1: pulling web:2
    ");
    site.faults.extend([("no route to host", true), ("no route to host", true)]);
    site.round();
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v2 is pulling: db: pulling db:2 failed once: no route to host; retrying
      db pulling 1/1 healthy: pulling db:2 failed once: no route to host; retrying
      web pulling 1/1: pulling web:2 failed once: no route to host; retrying
    wake at 1.000s: a failed step may be tried again
    ");
}

#[test]
fn the_pull_is_reported_and_not_those_that_wait_for_it() {
    let mut site = Site::new();
    let services = |value: u8, tag: u8| {
        format!(
            r#"{{
                "a": {{"image": "a:1", "restart": "always", "environment": {{"V": "{value}"}}}},
                "b": {{"image": "b:{tag}", "restart": "always"}}
            }}"#
        )
    };
    site.want("shop", 1, &services(1, 1));
    site.converge();
    site.want("shop", 2, &services(2, 2));
    assert_snapshot!(site.plan(), @"
    pull b:2 for shop
    shop v2 is pulling: b: pulling b:2
      a pending 1/1: waits for the other images of the revision
      b pulling 1/1: pulling b:2
    ");
}

#[test]
fn an_update_goes_copy_by_copy_in_start_order() {
    let mut site = Site::new();
    let services = |tag: u8| {
        format!(
            r#"{{
                "db": {{"image": "db:{tag}", "restart": "always", "stop_grace_period_ms": 60000,
                        "healthcheck": {{"test": {{"shell": "true"}}}}}},
                "web": {{"image": "web:{tag}", "restart": "always", "replicas": 2,
                         "depends_on": {{"db": "healthy"}}}}
            }}"#
        )
    };
    site.want("shop", 1, &services(1));
    site.converge();
    site.want("shop", 2, &services(2));
    assert_snapshot!(site.trace(), @"
    pull db:2 for shop, pull web:2 for shop
    stop shop/db.0 (i1) within 60000 ms
    remove shop/db.0 (i1)
    create shop/db.0
    start shop/db.0 (i4)
    stop shop/web.0 (i2) within 10000 ms
    remove shop/web.0 (i2)
    create shop/web.0
    start shop/web.0 (i5)
    stop shop/web.1 (i3) within 10000 ms
    remove shop/web.1 (i3)
    create shop/web.1
    start shop/web.1 (i6)
    ");
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v2 is running
      db running 1/1 healthy
      web running 2/2
    ");
}

#[test]
fn a_service_that_did_not_change_is_not_touched() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    site.want("shop", 2, &SHOP.replace("web:1", "web:2"));
    assert_snapshot!(site.trace(), @"
    pull web:2 for shop
    stop shop/web.0 (i2) within 10000 ms
    remove shop/web.0 (i2)
    create shop/web.0
    start shop/web.0 (i3)
    ");
}

#[test]
fn a_bad_revision_stops_at_its_first_copy() {
    let mut site = Site::new();
    let old = r#"{"web": {"image": "web:1", "restart": "always", "replicas": 3}}"#;
    site.want("shop", 1, old);
    site.converge();
    site.want("shop", 2, &old.replace("web:1", "web:2"));
    for _ in 0..5 {
        site.round();
    }
    site.befall("shop/web.0", InstanceState::Exited { code: 1 });
    assert_snapshot!(site.plan(), @"
    start shop/web.0 (i4)
    shop v2 is degraded: web: ended with exit code 1; starting it again
      web waiting 2/3 exit 1: ended with exit code 1; starting it again
    ");
}

#[test]
fn a_failing_service_does_not_hold_up_the_update_of_others() {
    let mut site = Site::new();
    let old = r#"{"a": {"image": "a:1", "restart": "always"},
                  "b": {"image": "b:1", "restart": "always"},
                  "c": {"image": "c:1", "restart": "always", "depends_on": {"a": "started"}}}"#;
    site.want("shop", 1, old);
    site.converge();
    site.want("shop", 2, &old.replace(":1", ":2"));
    for _ in 0..5 {
        site.round();
    }
    site.befall("shop/a.0", InstanceState::Exited { code: 1 });
    assert_snapshot!(site.plan(), @"
    start shop/a.0 (i4)
    stop shop/b.0 (i2) within 10000 ms
    shop v2 is degraded: a: ended with exit code 1; starting it again
      a waiting 0/1 exit 1: ended with exit code 1; starting it again
      b stopping 1/1
      c pending 1/1: waits for a to start
    ");
}

#[test]
fn an_old_instance_is_kept_alive_while_images_are_fetched() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    site.want("shop", 2, SHOP_2);
    site.befall("shop/web.0", InstanceState::Exited { code: 1 });
    assert_snapshot!(site.plan(), @"
    pull db:2 for shop
    pull web:2 for shop
    shop v2 is pulling: db: pulling db:2
      db pulling 1/1 healthy: pulling db:2
      web pulling 0/1 exit 1: pulling web:2
    ");
    for image in ["db:2", "web:2"] {
        site.attempts.looked_in_vain(image);
    }
    assert_snapshot!(site.plan(), @"
    start shop/web.0 (i2)
    pull db:2 for shop
    pull web:2 for shop
    shop v2 is degraded: web: ended with exit code 1; starting it again
      db pulling 1/1 healthy: pulling db:2
      web waiting 0/1 exit 1: ended with exit code 1; starting it again
    ");
}

#[test]
fn an_interrupted_update_goes_on_after_a_restart_of_the_agent() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    site.want("shop", 2, SHOP_2);
    site.round();
    site.round();
    site.attempts = Attempts::default();
    assert_snapshot!(site.trace(), @"
    pull db:2 for shop, pull web:2 for shop
    remove shop/db.0 (i1)
    create shop/db.0
    start shop/db.0 (i3)
    stop shop/web.0 (i2) within 10000 ms
    remove shop/web.0 (i2)
    create shop/web.0
    start shop/web.0 (i4)
    ");
}

#[test]
fn drift_is_repaired_while_the_images_of_an_update_are_fetched() {
    let mut site = Site::new();
    let old = r#"{"a": {"image": "a:1", "restart": "always"},
                  "b": {"image": "b:1", "restart": "always"}}"#;
    site.want("shop", 1, old);
    site.converge();
    let new = r#"{"a": {"image": "a:1", "restart": "always"},
                  "b": {"image": "b:2", "restart": "always"},
                  "c": {"image": "a:1", "restart": "always"}}"#;
    site.want("shop", 2, new);
    site.vanish("shop/a.0");
    assert_snapshot!(site.plan(), @"
    create shop/a.0
    pull b:2 for shop
    shop v2 is pulling: b: pulling b:2
      a starting 0/1
      b pulling 1/1: pulling b:2
      c pending 0/1: waits for the other images of the revision
    ");
}

#[test]
fn a_copy_that_vanishes_before_its_update_is_made_as_the_update_wants_it() {
    let mut site = Site::new();
    let services = |value: u8, tag: u8| {
        format!(
            r#"{{
                "a": {{"image": "a:1", "restart": "always", "environment": {{"V": "{value}"}}}},
                "b": {{"image": "a:1", "restart": "always", "depends_on": {{"a": "started"}}}},
                "c": {{"image": "c:{tag}", "restart": "always"}}
            }}"#
        )
    };
    site.want("shop", 1, &services(1, 1));
    site.converge();
    site.want("shop", 2, &services(2, 2));
    site.vanish("shop/a.0");
    site.befall("shop/b.0", InstanceState::Exited { code: 137 });
    assert_snapshot!(site.plan(), @"
    create shop/a.0
    pull c:2 for shop
    shop v2 is degraded: b: ended with exit code 137; waits for a to start
      a starting 0/1
      b waiting 0/1 exit 137: ended with exit code 137; waits for a to start
      c pulling 1/1: pulling c:2
    ");
}

#[test]
fn a_renamed_service_waits_until_the_old_one_has_stopped() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"old": {"image": "db", "restart": "always"}}"#);
    site.converge();
    site.want("shop", 2, r#"{"new": {"image": "db", "restart": "always"}}"#);
    assert_snapshot!(site.plan(), @"
    stop shop/old.0 (i1) within 10000 ms
    shop v2 is pending: new: waits for the surplus old to stop
      new pending 0/1: waits for the surplus old to stop
    ");
    assert_snapshot!(site.trace(), @"
    stop shop/old.0 (i1) within 10000 ms
    remove shop/old.0 (i1), create shop/new.0
    start shop/new.0 (i2)
    ");
}

#[test]
fn a_new_revision_is_tried_at_once_although_the_old_one_backed_off() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"web": {"image": "web:1", "restart": "always"}}"#);
    site.converge();
    for _ in 0..6 {
        site.befall("shop/web.0", InstanceState::Exited { code: 1 });
        site.converge();
    }
    site.befall("shop/web.0", InstanceState::Exited { code: 1 });
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is failed: web: ended with exit code 1, 7 times in a row; starting it again
      web waiting 0/1 restarts 6 exit 1: ended with exit code 1, 7 times in a row; starting it again
    wake at 63.000s: the back-off of a restart is over
    ");
    site.want("shop", 2, r#"{"web": {"image": "web:2", "restart": "always"}}"#);
    assert_snapshot!(site.trace(), @"
    pull web:2 for shop
    remove shop/web.0 (i1)
    create shop/web.0
    start shop/web.0 (i2)
    ");
}

#[test]
fn an_app_of_manifests_is_changed_in_place() {
    let mut site = Site::new();
    site.capabilities.kind = crate::orchestrator::Kind::K3s;
    let services = |value: u8| {
        format!(
            r#"{{"objects": {{"manifests": {{"ConfigMap/a": {{"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {{"name": "a"}}, "data": {{"a": "{value}"}}}}}}}}}}"#
        )
    };
    site.want("shop", 1, &services(1));
    site.converge();
    let unhealthy = InstanceState::Running(crate::reconcile::model::Health::Unhealthy);
    site.instance("shop/objects.0").note = Some("Pump b: Dry".into());
    site.befall("shop/objects.0", unhealthy);
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is failed: objects: Pump b: Dry
      objects unhealthy 1/1 unhealthy: Pump b: Dry
    ");
    site.want("shop", 2, &services(2));
    assert_snapshot!(site.plan(), @"
    create shop/objects.0
    shop v2 is starting: objects: changing its objects
      objects starting 1/1 unhealthy: changing its objects
    ");
    site.faults.push_back(("it is invalid", false));
    site.round();
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v2 is failed: objects: changing its objects failed once: it is invalid; retrying
      objects failed 1/1 unhealthy: changing its objects failed once: it is invalid; retrying
    wake at 30.000s: a failed step may be tried again
    ");
}

#[test]
fn a_service_that_starts_first_is_never_without_an_instance() {
    let mut site = Site::new();
    let services = |tag: u8| {
        format!(
            r#"{{"web": {{"image": "web:{tag}", "restart": "always", "replicas": 2,
                "update": "start-first", "healthcheck": {{"test": {{"shell": "true"}}}}}}}}"#
        )
    };
    site.want("shop", 1, &services(1));
    site.converge();
    site.want("shop", 2, &services(2));
    assert_snapshot!(site.trace(), @"
    pull web:2 for shop
    create shop/web.0
    start shop/web.0 (i3)
    stop shop/web.0 (i1) within 10000 ms
    remove shop/web.0 (i1), create shop/web.1
    start shop/web.1 (i4)
    stop shop/web.1 (i2) within 10000 ms
    remove shop/web.1 (i2)
    ");
}

#[test]
fn a_new_instance_that_fails_beside_the_old_one_waits_longer_each_time_and_gives_way() {
    let mut site = Site::new();
    let services = |tag: u8| {
        format!(
            r#"{{"web": {{"image": "web:{tag}", "restart": "always", "update": "start-first"}}}}"#
        )
    };
    site.want("shop", 1, &services(1));
    site.converge();
    let old = site.instance("shop/web.0").id.clone();
    site.want("shop", 2, &services(2));
    let mut starts = 0;
    for _ in 0..60 {
        let plan = site.round();
        let new = site.world.instances.values().find(|it| it.id != old).map(|it| it.id.clone());
        let begun =
            |id: &InstanceId| plan.to_string().contains(&format!("start shop/web.0 ({id})"));
        if let Some(id) = new.filter(begun) {
            starts += 1;
            site.world.instances.get_mut(&id).unwrap().state = InstanceState::Exited { code: 1 };
        }
        site.pass(1);
        assert!(site.world.instances[&old].state.is_running(), "the old one goes on");
    }
    assert!((4..9).contains(&starts), "{starts} starts in a minute");
    site.want("shop", 3, &services(1));
    site.converge();
    assert_eq!(site.instance("shop/web.0").id, old, "the way back stops nothing");
}

#[test]
fn outside_of_its_window_an_update_waits_with_its_images_here() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    let mut document = json!({ "services": serde_json::from_str::<Value>(SHOP_2).unwrap() });
    document["services"]["new"] = json!({ "image": "new:1", "restart": "always" });
    document["trial"] = json!({ "update_window": "02:00-04:00" });
    let document = Document::from_value(document).unwrap();
    site.desired.insert(app("shop"), Version(2), &document);
    site.desired.postpone(BTreeSet::from([app("shop")]));
    assert_snapshot!(site.trace(), @"pull db:2 for shop, pull new:1 for shop, pull web:2 for shop");
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v2 is pending: db: waits for its window of updates, 02:00-04:00 UTC
      db pending 1/1 healthy: waits for its window of updates, 02:00-04:00 UTC
      new pending 0/1: waits for its window of updates, 02:00-04:00 UTC
      web pending 1/1: waits for its window of updates, 02:00-04:00 UTC
    ");
    site.vanish("shop/web.0");
    assert_snapshot!(site.trace(), @"
    create shop/web.0
    start shop/web.0 (i3)
    ");
    site.desired.postpone(BTreeSet::new());
    assert!(site.trace().contains("stop shop/db.0 (i1)"));
}
