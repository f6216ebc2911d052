//! From nothing to running, and back to it when somebody interferes.

use insta::assert_snapshot;

use super::SHOP;
use crate::reconcile::Attempts;
use crate::reconcile::model::{Health, InstanceState};
use crate::reconcile::world::Site;

#[test]
fn services_start_in_the_order_of_their_conditions() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    assert_snapshot!(site.plan(), @"
    pull db:1 for shop
    pull web:1 for shop
    shop v1 is pulling: db: pulling db:1
      db pulling 0/1: pulling db:1
      web pulling 0/1: pulling web:1
    ");
    site.round();
    assert_snapshot!(site.plan(), @"
    create shop/db.0
    shop v1 is starting: web: waits for db to be healthy
      db starting 0/1
      web pending 0/1: waits for db to be healthy
    ");
    site.round();
    site.round();
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is starting: db: its health check has not passed yet
      db starting 1/1: its health check has not passed yet
      web pending 0/1: waits for db to be healthy
    ");
    site.befall("shop/db.0", InstanceState::Running(Health::Healthy));
    assert_snapshot!(site.trace(), @"
    create shop/web.0
    start shop/web.0 (i2)
    ");
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is running
      db running 1/1 healthy
      web running 1/1
    ");
}

#[test]
fn a_service_starts_once_its_job_has_completed() {
    let mut site = Site::new();
    site.want(
        "shop",
        1,
        r#"{
            "migrate": {"image": "tool"},
            "web": {"image": "web", "restart": "always",
                    "depends_on": {"migrate": "completed_successfully"}}
        }"#,
    );
    assert_snapshot!(site.trace(), @"
    pull tool for shop, pull web for shop
    create shop/migrate.0
    start shop/migrate.0 (i1)
    create shop/web.0
    start shop/web.0 (i2)
    ");
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is running
      migrate completed 0/1 exit 0
      web running 1/1
    ");
}

#[test]
fn a_service_waits_for_a_job_that_failed() {
    let mut site = Site::new();
    site.want(
        "shop",
        1,
        r#"{
            "migrate": {"image": "tool"},
            "web": {"image": "web", "restart": "always",
                    "depends_on": {"migrate": "completed_successfully"}}
        }"#,
    );
    for _ in 0..3 {
        site.round();
    }
    site.befall("shop/migrate.0", InstanceState::Exited { code: 3 });
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is failed: migrate: ended with exit code 3; its restart policy is `no`
      migrate failed 0/1 exit 3: ended with exit code 3; its restart policy is `no`
      web pending 0/1: waits for migrate to complete
    ");
}

#[test]
fn a_healthy_instance_is_left_alone() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    for _ in 0..5 {
        site.pass(3_600);
        assert!(site.round().steps.is_empty());
    }
    site.want("shop", 2, SHOP);
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v2 is running
      db running 1/1 healthy
      web running 1/1
    ");
}

#[test]
fn a_running_app_needs_no_pull_after_a_restart_of_the_agent() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    site.attempts = Attempts::default();
    assert!(site.round().steps.is_empty());
}

#[test]
fn everything_starts_again_in_order_after_a_power_cut() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    site.instance("shop/db.0").state = InstanceState::Exited { code: 255 };
    site.instance("shop/web.0").state = InstanceState::Exited { code: 255 };
    site.attempts = Attempts::default();
    site.look();
    assert_snapshot!(site.plan(), @"
    start shop/db.0 (i1)
    shop v1 is starting: db: ended with exit code 255; starting it again
      db waiting 0/1 exit 255: ended with exit code 255; starting it again
      web waiting 0/1 exit 255: ended with exit code 255; waits for db to be healthy
    ");
    assert_snapshot!(site.trace(), @"
    start shop/db.0 (i1)
    start shop/web.0 (i2)
    ");
}

#[test]
fn a_missing_copy_is_made_at_once() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    site.pass(60);
    site.look();
    site.vanish("shop/web.0");
    assert_snapshot!(site.trace(), @"
    create shop/web.0
    start shop/web.0 (i3)
    ");
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is running
      db running 1/1 healthy
      web running 1/1 restarts 1
    ");
}

#[test]
fn a_copy_that_is_removed_over_and_over_is_made_ever_later() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    for _ in 0..3 {
        site.vanish("shop/web.0");
        site.converge();
    }
    site.vanish("shop/web.0");
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is degraded: web: its instance is gone, 4 times in a row; making it anew
      db running 1/1 healthy
      web waiting 0/1 restarts 3: its instance is gone, 4 times in a row; making it anew
    wake at 7.000s: the back-off of a restart is over
    ");
}

#[test]
fn of_two_instances_in_one_place_one_goes() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    let id = site.instance("shop/web.0").id.clone();
    site.world.double(&id);
    assert_snapshot!(site.plan(), @"
    remove shop/web.0 (i3)
    shop v1 is starting: web: a second instance is being removed
      db running 1/1 healthy
      web running 1/1 exit 0: a second instance is being removed
    ");
    assert_snapshot!(site.trace(), @"remove shop/web.0 (i3)");
}

#[test]
fn a_report_does_not_change_while_time_passes() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.converge();
    site.befall("shop/web.0", InstanceState::Exited { code: 1 });
    site.trace();
    site.befall("shop/web.0", InstanceState::Exited { code: 1 });
    let early = site.plan();
    assert!(early.steps.is_empty());
    site.now = early.wake_at.unwrap().0;
    site.look();
    let due = site.plan();
    assert_eq!(due.steps.len(), 1);
    assert_eq!(early.report, due.report);
}
