//! Steps that fail.

use insta::assert_snapshot;

use super::SHOP;
use crate::reconcile::model::InstanceState;
use crate::reconcile::world::Site;

#[test]
fn a_failed_step_waits_for_its_back_off() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"web": {"image": "web", "restart": "always"}}"#);
    site.round();
    site.faults.push_back(("port 80 is taken", true));
    site.round();
    assert_snapshot!(site.plan(), @"
    pull web for shop
    shop v1 is degraded: web: creating failed once: port 80 is taken; retrying
      web waiting 0/1: creating failed once: port 80 is taken; retrying
    wake at 1.000s: a failed step may be tried again
    ");
    site.round();
    site.pass(1);
    assert_snapshot!(site.plan(), @"
    create shop/web.0
    shop v1 is degraded: web: creating failed once: port 80 is taken; retrying
      web waiting 0/1: creating failed once: port 80 is taken; retrying
    ");
}

#[test]
fn a_job_that_could_not_be_started_is_tried_again() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"job": {"image": "job"}}"#);
    site.round();
    site.round();
    site.faults.push_back(("no space left on device", true));
    site.round();
    site.befall("shop/job.0", InstanceState::Exited { code: 127 });
    site.pass(1);
    assert_snapshot!(site.plan(), @"
    start shop/job.0 (i1)
    shop v1 is degraded: job: starting failed once: no space left on device; retrying
      job waiting 0/1 exit 127: starting failed once: no space left on device; retrying
    ");
}

#[test]
fn an_image_that_is_not_there_fails_the_service_and_is_asked_for_again() {
    let mut site = Site::new();
    site.want("shop", 1, SHOP);
    site.faults.push_back(("manifest unknown", false));
    site.round();
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is failed: db: pulling db:1 failed once: manifest unknown; retrying
      db failed 0/1: pulling db:1 failed once: manifest unknown; retrying
      web pending 0/1: waits for db to be healthy
    wake at 30.000s: a failed step may be tried again
    ");
    site.converge();
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is running
      db running 1/1 healthy
      web running 1/1
    ");
}

#[test]
fn an_image_that_was_removed_is_pulled_again_after_the_failure_that_shows_it() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"web": {"image": "web", "restart": "always"}}"#);
    site.round();
    site.faults.push_back(("no such image", true));
    site.round();
    site.pass(1);
    assert_snapshot!(site.trace(), @"
    pull web for shop
    create shop/web.0
    start shop/web.0 (i1)
    ");
}

#[test]
fn a_failed_app_does_not_disturb_a_healthy_one() {
    let mut site = Site::new();
    site.want("bad", 1, r#"{"web": {"image": "bad", "restart": "always"}}"#);
    site.faults.push_back(("manifest unknown", false));
    site.round();
    site.want("good", 1, r#"{"web": {"image": "good", "restart": "always"}}"#);
    assert_snapshot!(site.trace(), @"
    pull good for good
    create good/web.0
    start good/web.0 (i1)
    ");
    assert_snapshot!(site.plan(), @"
    nothing to do
    bad v1 is failed: web: pulling bad failed once: manifest unknown; retrying
      web failed 0/1: pulling bad failed once: manifest unknown; retrying
    good v1 is running
      web running 1/1
    wake at 30.000s: a failed step may be tried again
    ");
}

#[test]
fn an_old_instance_that_cannot_be_stopped_is_told() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"web": {"image": "web:1", "restart": "always"}}"#);
    site.converge();
    site.want("shop", 2, r#"{"web": {"image": "web:2", "restart": "always"}}"#);
    site.round();
    site.faults.push_back(("the daemon does not answer", true));
    site.round();
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v2 is degraded: web: stopping an old instance failed once: the daemon does not answer; retrying
      web waiting 1/1: stopping an old instance failed once: the daemon does not answer; retrying
    wake at 1.000s: a failed step may be tried again
    ");
}
