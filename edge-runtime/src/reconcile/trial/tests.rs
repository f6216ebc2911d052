//! Revisions that turn out to be good or bad, in the simulated orchestrator.

use super::super::model::Step;
use super::super::world::{Site, app};
use super::*;

const WEB: &str = r#"{"web": {"image": "web:1", "restart": "always"}}"#;

struct Court {
    site: Site,
    trials: Trials,
    is_linked: bool,
}

impl Court {
    fn new(services: &str) -> Self {
        let mut site = Site::new();
        site.want("shop", 1, services);
        Self { site, trials: Trials::default(), is_linked: true }
    }

    /// Looks, plans, judges, and then does what is planned.
    fn round(&mut self) -> Outcome {
        self.site.look();
        let plan = self.site.plan();
        let name = app("shop");
        let observed = self.site.world.observe();
        let outcome = self.trials.judge(Case {
            app: &name,
            wanted: &self.site.desired.apps[&name],
            status: &plan.report[&name],
            observed: &observed,
            attempts: &self.site.attempts,
            is_linked: self.is_linked,
            now: self.site.now,
        });
        plan.steps.iter().for_each(|step| self.site.execute(step));
        outcome
    }

    /// Rounds until everything runs.
    fn bring_up(&mut self) {
        for _ in 0..20 {
            self.round();
            self.site.world.settle();
        }
    }

    /// Lets a copy end and be started again, often.
    fn fall(&mut self, often: usize, state: InstanceState) -> Outcome {
        let mut outcome = Outcome::Open(None);
        for _ in 0..often {
            self.site.befall("shop/web.0", state);
            outcome = self.round();
            self.site.pass(20);
            self.round();
            self.site.world.settle();
            self.round();
            self.site.world.settle();
        }
        outcome
    }
}

fn bad(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Bad(why) => why,
        Outcome::Open(_) | Outcome::Good => panic!("{outcome:?} is not bad"),
    }
}

#[test]
fn a_revision_is_good_after_its_settle_time_and_says_when_to_look() {
    let mut court = Court::new(WEB);
    court.bring_up();
    court.site.pass(29);
    let Outcome::Open(Some((at, _))) = court.round() else { panic!("still open") };
    assert_eq!(at.saturating_since(court.site.now).as_secs(), 1);
    court.site.pass(1);
    assert_eq!(court.round(), Outcome::Good);
}

#[test]
fn an_end_within_the_settle_time_begins_it_anew() {
    let mut court = Court::new(WEB);
    court.bring_up();
    court.site.pass(29);
    court.fall(1, InstanceState::Exited { code: 1 });
    court.site.pass(29);
    assert!(matches!(court.round(), Outcome::Open(Some(_))));
    court.trials.unseen();
    court.site.pass(10);
    assert!(matches!(court.round(), Outcome::Open(Some(_))), "nobody looked: it begins anew");
    court.site.pass(30);
    assert_eq!(court.round(), Outcome::Good);
}

#[test]
fn a_revision_whose_copy_ends_four_times_is_bad_whatever_lies_between() {
    let mut court = Court::new(WEB);
    court.bring_up();
    assert!(matches!(court.fall(3, InstanceState::Exited { code: 7 }), Outcome::Open(_)));
    let outcome = court.fall(1, InstanceState::Exited { code: 7 });
    assert_eq!(bad(&outcome), "web ended 4 times, last with exit code 7");
}

#[test]
fn what_a_copy_went_through_before_is_not_held_against_a_new_revision() {
    let mut court = Court::new(WEB);
    court.bring_up();
    court.fall(3, InstanceState::Exited { code: 7 });
    let other = r#"{"web": {"image": "web:1", "restart": "always"}, "db": {"image": "db:1"}}"#;
    court.site.want("shop", 2, other);
    court.bring_up();
    assert!(matches!(court.fall(3, InstanceState::Exited { code: 7 }), Outcome::Open(_)));
}

#[test]
fn a_health_check_that_fails_again_after_a_restart_makes_it_bad() {
    let checked = r#"{"web": {"image": "w:1", "restart": "always",
        "healthcheck": {"test": {"shell": "true"}}}}"#;
    let mut court = Court::new(checked);
    court.bring_up();
    let unhealthy = InstanceState::Running(Health::Unhealthy);
    assert!(matches!(court.fall(1, unhealthy), Outcome::Open(_)));
    assert_eq!(bad(&court.fall(1, unhealthy)), "web: its health check failed twice");
}

#[test]
fn a_removal_by_hand_is_nobodys_fault() {
    let mut court = Court::new(WEB);
    court.bring_up();
    for _ in 0..10 {
        court.site.vanish("shop/web.0");
        assert!(matches!(court.round(), Outcome::Open(_)));
        court.site.pass(300);
        court.bring_up();
    }
    assert!(matches!(court.round(), Outcome::Open(_)));
}

#[test]
fn a_job_that_completes_is_good_and_one_that_fails_for_good_is_bad() {
    let mut court = Court::new(r#"{"web": {"image": "job:1"}}"#);
    court.bring_up();
    court.site.pass(30);
    assert_eq!(court.round(), Outcome::Good);

    let mut court = Court::new(r#"{"web": {"image": "job:1"}}"#);
    for _ in 0..4 {
        court.round();
    }
    court.site.befall("shop/web.0", InstanceState::Exited { code: 3 });
    assert_eq!(bad(&court.round()), "web ended with exit code 3; its restart policy is `no`");
}

#[test]
fn what_the_orchestrator_refuses_for_good_is_bad_at_once_and_else_after_some_tries() {
    for (transient, tries) in [(false, 1), (true, 8)] {
        let mut court = Court::new(WEB);
        court.round();
        for tried in 0..tries {
            assert!(matches!(court.round(), Outcome::Open(_)), "{tried}");
            court.site.attempts.failed(
                &Step::Create {
                    slot: Slot { app: app("shop"), service: "web".parse().unwrap(), replica: 0 },
                    spec: court.site.desired.apps[&app("shop")].spec.clone().unwrap(),
                },
                "no such device".to_owned(),
                transient,
                court.site.now,
            );
        }
        assert!(bad(&court.round()).ends_with(": no such device"));
    }
}

#[test]
fn an_image_that_is_refused_counts_only_while_there_is_a_link() {
    for (transient, minutes) in [(false, 10), (true, 24 * 60)] {
        let mut court = Court::new(WEB);
        court.is_linked = false;
        court.site.faults.extend(std::iter::repeat_n(("not found", transient), 2_000));
        for _ in 0..300 {
            assert!(matches!(court.round(), Outcome::Open(_)));
            court.site.pass(600);
        }
        court.is_linked = true;
        assert!(matches!(court.round(), Outcome::Open(Some(_))));
        court.site.pass(minutes * 60 - 1);
        assert!(matches!(court.round(), Outcome::Open(Some(_))));
        court.site.pass(1);
        let outcome = court.round();
        assert!(bad(&outcome).starts_with("web:1 could not be pulled"), "{outcome:?}");
    }
}
