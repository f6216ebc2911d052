//! The plan in virtual time.

use super::*;

const TICK: Duration = Duration::from_millis(100);

fn course() -> Course {
    Course {
        sites: 4,
        groups: 2,
        ramp_per_s: 2,
        rest: Duration::ZERO,
        steady: Duration::from_secs(1),
        churn: Churn::default(),
        writes: 1,
        group_outage: None,
        storm: Some(Duration::from_secs(2)),
        patience: Duration::from_secs(10),
        time: Duration::from_mins(10),
        seed: 1,
    }
}

/// Runs a plan; `react` is the fleet.
fn play(
    course: Course,
    mut react: impl FnMut(Duration, &Action, &mut Seen),
) -> Vec<(Duration, Action)> {
    let (mut plan, mut now, mut seen) = (Plan::new(course), Duration::ZERO, Seen::default());
    let mut log = Vec::new();
    loop {
        let actions = plan.poll(now, seen);
        for action in actions {
            react(now, &action, &mut seen);
            log.push((now, action.clone()));
            if matches!(action, Action::End(_)) {
                assert_eq!(plan.poll(now, seen), [], "nothing comes after the end");
                return log;
            }
        }
        now += TICK;
    }
}

/// A fleet that does at once what it should.
fn obedient(_: Duration, action: &Action, seen: &mut Seen) {
    match action {
        Action::Start(_) => seen.in_sync += 1,
        Action::WriteAll(_) => seen.reached = 4,
        Action::Cut(Whom::All) => seen.in_sync = 0,
        Action::Cut(Whom::Group(_)) => seen.in_sync -= 2,
        Action::Restore(..) => seen.in_sync = 4,
        Action::Enter(_) => seen.reached = 0,
        Action::Leave { .. }
        | Action::Write(_)
        | Action::Report(_)
        | Action::Flap(_)
        | Action::End(_) => {}
    }
}

fn phases(log: &[(Duration, Action)]) -> Vec<String> {
    let entered = log.iter().filter_map(|(_, action)| {
        if let Action::Enter(phase) = action { Some(phase.to_string()) } else { None }
    });
    entered.collect()
}

#[test]
fn a_fleet_has_its_rest_before_it_is_measured() {
    let course = Course { rest: Duration::from_secs(3), ..course() };
    let log = play(course, obedient);
    assert_eq!(phases(&log), ["ramp", "rest", "steady", "write 1", "rest", "all cut", "all back"]);
    let entered = |nth: usize, name: &str| {
        let all = log.iter().filter(|(_, action)| matches!(action, Action::Enter(_)));
        let (at, action) = all.clone().nth(nth).unwrap();
        assert!(matches!(action, Action::Enter(phase) if phase.to_string() == name));
        *at
    };
    assert_eq!(entered(5, "all cut"), entered(4, "rest") + Duration::from_secs(3));
}

#[test]
fn an_obedient_fleet_goes_through_every_phase_in_order() {
    let course = Course { group_outage: Some(Duration::from_secs(1)), ..course() };
    let log = play(course, obedient);
    let expected = [
        "ramp",
        "steady",
        "write 1",
        "group 0 cut",
        "group 0 back",
        "group 1 cut",
        "group 1 back",
        "all cut",
        "all back",
    ];
    assert_eq!(phases(&log), expected);
    assert!(log.iter().all(|(_, action)| *action != Action::Leave { complete: false }));
    assert_eq!(log.last().map(|(_, action)| action), Some(&Action::End(Ending::Done)));
}

#[test]
fn the_ramp_starts_each_site_once_and_at_its_rate() {
    let log = play(course(), obedient);
    let starts: Vec<_> = log
        .iter()
        .filter_map(|(at, action)| {
            if let Action::Start(site) = action { Some((*site, at.as_millis())) } else { None }
        })
        .collect();
    assert_eq!(starts, [(0, 500), (1, 1000), (2, 1500), (3, 2000)]);
}

#[test]
fn a_phase_whose_fleet_does_nothing_ends_as_incomplete_when_patience_is_over() {
    let log = play(course(), |now, action, seen| {
        if !matches!(action, Action::WriteAll(_)) {
            obedient(now, action, seen);
        }
    });
    let left = log.iter().filter(|(_, action)| *action == Action::Leave { complete: false });
    assert_eq!(left.count(), 1, "only the write");
    assert_eq!(phases(&log).len(), 5, "the run goes on");
}

#[test]
fn the_time_of_the_run_bounds_it_whatever_happens() {
    let course = Course { time: Duration::from_secs(3), ..course() };
    let log = play(course, |_, _, _| {});
    assert_eq!(log.last(), Some(&(Duration::from_secs(3), Action::End(Ending::OutOfTime))));
}

#[test]
fn a_stop_leaves_the_phase_and_ends() {
    let mut plan = Plan::new(course());
    drop(plan.poll(Duration::ZERO, Seen::default()));
    assert_eq!(
        plan.stop(Ending::Stopped),
        [Action::Leave { complete: false }, Action::End(Ending::Stopped)]
    );
    assert_eq!(plan.stop(Ending::Stopped), []);
}

#[test]
fn churn_comes_at_its_rates_and_is_the_same_for_the_same_seed() {
    let churn = Churn {
        length: Duration::from_secs(10),
        desired_per_s: 3.0,
        reported_per_s: 20.0,
        flaps_per_s: 0.5,
    };
    let course = Course { churn, sites: 4, ..course() };
    let log = play(course.clone(), obedient);
    let count = |is: fn(&Action) -> bool| log.iter().filter(|(_, action)| is(action)).count();
    assert_eq!(count(|action| matches!(action, Action::Write(_))), 30);
    assert_eq!(count(|action| matches!(action, Action::Report(_))), 200);
    assert_eq!(count(|action| matches!(action, Action::Flap(_))), 5);
    assert_eq!(play(course, obedient), log);
}

#[test]
fn agents_come_back_spread_by_their_own_waits() {
    let rng = StdRng::seed_from_u64;
    assert_eq!(comes_back_after(Duration::ZERO, rng(1)), Duration::ZERO);
    let after: Vec<_> =
        (0..500).map(|seed| comes_back_after(Duration::from_secs(10), rng(seed))).collect();
    let latest = after.iter().max().copied().unwrap_or_default();
    assert!(latest > Duration::from_secs(4), "{latest:?}");
    assert!(latest <= Duration::from_secs(5), "no wait is longer than the longest: {latest:?}");
    let soon = after.iter().filter(|after| **after < Duration::from_secs(2)).count();
    assert!((150..450).contains(&soon), "{soon} of 500 within 2 s");
}
