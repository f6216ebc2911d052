//! Ends, sickness, and what the restart policy makes of them.

use insta::assert_snapshot;

use crate::reconcile::Plan;
use crate::reconcile::model::{Health, InstanceState};
use crate::reconcile::world::Site;

fn after_end(policy: &str, code: i64) -> Plan {
    let mut site = Site::new();
    let restart = policy;
    site.want("shop", 1, &format!(r#"{{"job": {{"image": "job", "restart": {restart}}}}}"#));
    for _ in 0..3 {
        site.round();
    }
    site.befall("shop/job.0", InstanceState::Exited { code });
    site.pass(1);
    site.plan()
}

#[test]
fn the_restart_policy_decides_what_is_started_again() {
    let restarts = |policy: &str, code| after_end(policy, code).steps.len();
    let table = [r#""no""#, r#"{"on-failure": {}}"#, r#""always""#, r#""unless-stopped""#]
        .map(|policy| (restarts(policy, 0), restarts(policy, 1)));
    assert_eq!(table, [(0, 0), (0, 1), (1, 1), (1, 1)]);
}

#[test]
fn a_job_that_succeeded_is_done() {
    assert_snapshot!(after_end(r#""no""#, 0), @"
    nothing to do
    shop v1 is running
      job completed 0/1 exit 0
    ");
}

#[test]
fn a_job_that_failed_stays_failed() {
    assert_snapshot!(after_end(r#""no""#, 2), @"
    nothing to do
    shop v1 is failed: job: ended with exit code 2; its restart policy is `no`
      job failed 0/1 exit 2: ended with exit code 2; its restart policy is `no`
    ");
}

#[test]
fn a_crash_loop_backs_off_and_is_reported() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"web": {"image": "web", "restart": "always"}}"#);
    site.converge();
    let mut waits = Vec::new();
    for _ in 0..11 {
        site.befall("shop/web.0", InstanceState::Exited { code: 139 });
        let wake = site.plan().wake_at.map_or(site.now, |(at, _)| at);
        waits.push(wake.saturating_since(site.now).as_secs());
        site.now = wake;
        site.trace();
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    site.befall("shop/web.0", InstanceState::Exited { code: 139 });
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is failed: web: ended with exit code 139, more than 10 times in a row; starting it again
      web waiting 0/1 restarts 11 exit 139: ended with exit code 139, more than 10 times in a row; starting it again
    wake at 1111.000s: the back-off of a restart is over
    ");
}

#[test]
fn the_back_off_begins_anew_after_ten_seconds_of_running() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"web": {"image": "web", "restart": "always"}}"#);
    site.converge();
    for _ in 0..4 {
        site.befall("shop/web.0", InstanceState::Exited { code: 1 });
        site.converge();
    }
    site.pass(10);
    site.befall("shop/web.0", InstanceState::Exited { code: 1 });
    assert_snapshot!(site.plan(), @"
    start shop/web.0 (i1)
    shop v1 is degraded: web: ended with exit code 1; starting it again
      web waiting 0/1 restarts 4 exit 1: ended with exit code 1; starting it again
    ");
}

#[test]
fn the_restarts_of_a_job_are_counted_until_it_recovers() {
    let mut site = Site::new();
    let policy = r#"{"on-failure": {"max_retries": 2}}"#;
    site.want("shop", 1, &format!(r#"{{"job": {{"image": "job", "restart": {policy}}}}}"#));
    for _ in 0..3 {
        site.round();
    }
    for _ in 0..3 {
        site.befall("shop/job.0", InstanceState::Exited { code: 1 });
        site.pass(10);
        site.round();
    }
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is failed: job: ended with exit code 1; it was started again 2 times, as often as its policy allows
      job failed 0/1 restarts 2 exit 1: ended with exit code 1; it was started again 2 times, as often as its policy allows
    ");
}

#[test]
fn an_unhealthy_instance_is_restarted_at_once_and_then_after_its_back_off() {
    let mut site = Site::new();
    let check = r#"{"test": {"shell": "true"}}"#;
    let web = format!(r#"{{"image": "web", "restart": "always", "healthcheck": {check}}}"#);
    site.want("shop", 1, &format!(r#"{{"web": {web}}}"#));
    site.converge();
    site.befall("shop/web.0", InstanceState::Running(Health::Unhealthy));
    assert_snapshot!(site.trace(), @"
    stop shop/web.0 (i1) within 10000 ms
    start shop/web.0 (i1)
    ");
    site.befall("shop/web.0", InstanceState::Running(Health::Unhealthy));
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is degraded: web: its health check fails, twice in a row; starting it again
      web unhealthy 1/1 unhealthy restarts 1 exit 143: its health check fails, twice in a row; starting it again
    wake at 1.000s: the back-off of a restart is over
    ");
    site.pass(1);
    assert_snapshot!(site.trace(), @"
    stop shop/web.0 (i1) within 10000 ms
    start shop/web.0 (i1)
    ");
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is running
      web running 1/1 healthy restarts 2 exit 143
    ");
}

#[test]
fn an_unhealthy_job_is_left_to_end() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"job": {"image": "j", "healthcheck": {"test": {"shell": "x"}}}}"#);
    for _ in 0..3 {
        site.round();
    }
    site.befall("shop/job.0", InstanceState::Running(Health::Unhealthy));
    site.pass(60);
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is failed: job: its health check fails; its restart policy is `no`
      job unhealthy 1/1 unhealthy: its health check fails; its restart policy is `no`
    ");
}

#[test]
fn a_stuck_instance_is_made_anew() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"web": {"image": "web", "restart": "always"}}"#);
    site.converge();
    site.befall("shop/web.0", InstanceState::Stuck);
    assert_snapshot!(site.plan(), @"
    remove shop/web.0 (i1)
    shop v1 is degraded: web: its instance is stuck and is made anew
      web waiting 0/1: its instance is stuck and is made anew
    ");
    assert_snapshot!(site.trace(), @"
    remove shop/web.0 (i1)
    create shop/web.0
    start shop/web.0 (i2)
    ");
}

#[test]
fn what_somebody_altered_is_set_right() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"web": {"image": "web", "restart": "always"}}"#);
    site.converge();
    site.instance("shop/web.0").altered = Some("spec.replicas was changed by kubectl".into());
    site.look();
    assert_snapshot!(site.plan(), @"
    create shop/web.0
    shop v1 is starting: web: spec.replicas was changed by kubectl; setting it right
      web starting 1/1: spec.replicas was changed by kubectl; setting it right
    ");
    site.faults.push_back(("somebody changes it again and again", true));
    site.round();
    assert_snapshot!(site.plan(), @"
    nothing to do
    shop v1 is degraded: web: setting it right failed once: somebody changes it again and again; retrying
      web waiting 1/1: setting it right failed once: somebody changes it again and again; retrying
    wake at 1.000s: a failed step may be tried again
    ");
    site.pass(1);
    assert_snapshot!(site.trace(), @"create shop/web.0");
    assert_eq!(site.instance("shop/web.0").state, InstanceState::Running(Health::Unchecked));
}

#[test]
fn what_is_known_of_an_end_is_told_with_its_code() {
    let mut site = Site::new();
    site.want("shop", 1, r#"{"job": {"image": "job"}}"#);
    site.converge();
    site.instance("shop/job.0").note = Some("OOMKilled".into());
    site.befall("shop/job.0", InstanceState::Exited { code: 137 });
    assert!(site.plan().to_string().contains("ended with exit code 137 (OOMKilled)"));
}
