//! Files and what is wrong with them; timetables; verdicts over records made by hand.

use std::time::Duration;

use super::judge::{judge, length};
use super::read::{ReadError, Wrong, scenario};
use super::record::{Record, Switch};
use super::timetable::{Act, Cause, Timetable};
use super::*;

const HEAD: &str =
    "name = \"a\"\nabout = \"b\"\n[fleet.west]\nsites = 3\n[fleet.east]\nsites = 2\n";

fn read(steps: &[&str], expect: &[&str]) -> Result<Scenario, ReadError> {
    let list = |lines: &[&str]| {
        let lines = lines.iter().map(|line| format!("  \"{line}\",\n"));
        lines.collect::<Vec<_>>().concat()
    };
    let text = format!(
        "name = \"a\"\nabout = \"b\"\nsteps = [\n{}]\nexpect = [\n{}]\nfleet.east.sites = 2\nfleet.west.sites = 3\n",
        list(steps),
        list(expect)
    );
    scenario(&text)
}

/// Where a text is wrong, and how.
fn wrong(steps: &[&str], expect: &[&str]) -> (usize, usize, Wrong) {
    match read(steps, expect) {
        Err(ReadError::At { line, column, wrong }) => (line, column, wrong),
        other => panic!("{other:?}"),
    }
}

const FINE: &[&str] = &["nothing lost"];

#[test]
fn every_step_and_expectation_is_read_as_it_is_said() {
    let steps = [
        "at 30 s cut group west for 10 min",
        "at 40 s restore west-1",
        "at 1 min link east 2g-edge",
        "at 1 min write 5 desired versions",
        "at 1 min write 1 desired version to east",
        "at 2 min report 7 changes of west-0",
        "at 3 min kill -9 cloud for 5 s",
        "at 3 min kill agent of east-1",
        "at 3 min kill app of all",
        "at 3 min remove app of west",
        "at 4 min power off east for 1 h",
        "at 5 min fill disk of west-2",
        "at 5 min fill disk of cloud for 10 s",
        "at 0.5 days stop orchestrator of east",
    ];
    let expect = [
        "all converged within 60 s of reconnect",
        "west converged within 1 min of start",
        "all converged within 2 min of the last step",
        "east converged within 2 min of every write",
        "no app restarted",
        "no app restarted of west-1",
        "bytes per site under 20 KB",
        "bytes per site under 1.5 MB of east",
        "apps of west run at 5 min",
        "apps of west run from 5 min to 6 min",
        "nothing lost",
    ];
    let read = read(&steps, &expect).unwrap();
    let deed = |at: usize| read.steps[at].deed.clone();
    let west = Whom { name: "west".to_owned(), sites: 2..5 };
    assert_eq!(deed(0), Deed::Cut(west));
    assert_eq!((read.steps[0].at, read.steps[0].lasts), (secs(30), Some(secs(600))));
    assert_eq!(deed(1), Deed::Restore(Whom { name: "west-1".to_owned(), sites: 3..4 }));
    let Deed::Write(5, all) = deed(3) else { panic!("{:?}", deed(3)) };
    assert_eq!(all.sites, 0..5);
    assert_eq!(deed(6), Deed::KillCloud);
    assert_eq!(read.steps[13].at, secs(43_200));
    let that = |at: usize| read.expect[at].that.clone();
    assert_eq!(
        that(7),
        Expectation::BytesUnder(Whom { name: "east".to_owned(), sites: 0..2 }, 1_500_000)
    );
    let Expectation::Run(_, from, Some(to)) = that(9) else { panic!("{:?}", that(9)) };
    assert_eq!((from, to), (secs(300), secs(360)));
    assert_eq!((read.site_name(4), read.site_name(1)), ("west-2".to_owned(), "east-1".to_owned()));
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_column() {
    // The list begins in line 4, and a sentence in column 4.
    let (line, column, what) = wrong(&["at 30 s cut west", "at 30 s cut north for 1 min"], FINE);
    assert_eq!((line, column), (5, 16));
    assert!(
        what.to_string().contains("east (east-0 to east-1), west (west-0 to west-2)"),
        "{what}"
    );
    let (line, column, what) = wrong(&["at 30 parsecs cut west"], FINE);
    assert_eq!((line, column), (4, 10));
    assert!(what.to_string().contains("ms, s, min, h or days"), "{what}");
    let (_, column, what) = wrong(&["at 30 s explode west"], FINE);
    assert!(column == 12 && what.to_string().contains("cut, restore"), "{column} {what}");
    let (_, column, what) = wrong(&["at 30 s cut"], FINE);
    assert!(column == 15 && what.to_string().contains("found the end"), "{column} {what}");
    let (_, _, what) = wrong(&["at 30 s kill app of west for 3 s"], FINE);
    assert!(matches!(what, Wrong::Lasts), "{what}");
    let (_, _, what) = wrong(&["at 30 s cut west now"], FINE);
    assert!(matches!(&what, Wrong::Leftover(word) if word == "now"), "{what}");
    let (_, _, what) = wrong(&["at 1 s write 0 desired versions"], FINE);
    assert!(matches!(what, Wrong::Range { .. }), "{what}");
    let (_, _, what) = wrong(&["at 500 days cut west"], FINE);
    assert!(matches!(what, Wrong::Range { .. }), "{what}");
    let (_, _, what) = wrong(&["at 1 s link west 7g"], FINE);
    assert!(matches!(what, Wrong::Link { .. }), "{what}");
    let (line, _, what) = wrong(&[], &["apps of west run from 5 min to 4 min"]);
    assert!(line == 6 && matches!(what, Wrong::Backwards), "{line} {what}");
    let (_, column, what) = wrong(&[], &["all converged within 60 s of tea"]);
    assert!(column == 33 && what.to_string().contains("reconnect"), "{column} {what}");
}

#[test]
fn a_file_that_makes_no_scenario_is_refused() {
    let refused = |text: &str| scenario(text).unwrap_err();
    assert!(matches!(
        refused("name = \"a\"\nabout = \"b\"\nexpect = [\"nothing lost\"]"),
        ReadError::NoFleet
    ));
    assert!(matches!(refused(HEAD), ReadError::NoExpectation));
    assert!(matches!(refused("name = 3"), ReadError::Toml(_)));
    assert!(matches!(refused("nam = \"a\""), ReadError::Toml(_)));
    let many = HEAD.replace("sites = 3", "sites = 1001");
    assert!(matches!(refused(&many), ReadError::At { line: 4, column: 9, .. }));
    let link = HEAD.replace("sites = 3", "sites = 3\nlink = \"7g\"");
    assert!(matches!(refused(&link), ReadError::Link { line: 5, column: 8, .. }));
    let name = HEAD.replace("fleet.west", "fleet.all");
    assert!(matches!(refused(&name), ReadError::Name(_)));
}

#[test]
fn what_is_shipped_can_be_read_and_is_named_as_it_is_found() {
    assert_eq!(SHIPPED.len(), 10);
    for (name, text) in SHIPPED {
        let read = scenario(text).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(!read.about.is_empty() && !read.steps.is_empty(), "{name}");
        assert_eq!(Scenario::shipped(name), Some(text));
    }
}

#[test]
fn a_timetable_has_the_ends_of_what_lasts_in_the_order_of_time() {
    let steps =
        ["at 10 s cut west-0 for 10 s", "at 15 s kill cloud", "at 30 s power off east-0 for 1 s"];
    let table = Timetable::of(&read(&steps, FINE).unwrap());
    let acts: Vec<_> = table.acts.iter().map(|(at, act)| (at.as_secs(), act.clone())).collect();
    assert_eq!(
        acts,
        [
            (10, Act::Carrier(2, false)),
            (15, Act::Cloud(false)),
            (17, Act::Cloud(true)),
            (20, Act::Carrier(2, true)),
            (30, Act::Off(0, Cause::Power)),
            (31, Act::On(0)),
        ]
    );
    assert_eq!(table.since(Since::Reconnect, 2), [secs(20)]);
    assert_eq!(table.disturbed_after(2, secs(12)), Some(secs(15)));
    assert_eq!(table.disturbed_after(2, secs(20)), None);
}

/// A record in which every site is as it should be from one second on.
fn well(scenario: &Scenario) -> Record {
    let mut record = Record::new(scenario.sites());
    for site in &mut record.sites {
        site.converged.set(secs(1), true);
        site.runs.set(secs(1), true);
        site.bytes = 10_000;
    }
    record
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn held(scenario: &Scenario, record: &Record) -> Vec<bool> {
    let verdicts = judge(scenario, &Timetable::of(scenario), record);
    verdicts.iter().map(|verdict| verdict.held).collect()
}

#[test]
fn what_held_is_told_from_what_did_not() {
    let expect = [
        "west converged within 60 s of reconnect",
        "apps of all run from 20 s to 50 s",
        "no app restarted",
        "bytes per site under 20 KB",
        "nothing lost",
    ];
    let scenario = read(&["at 10 s cut west for 100 s"], &expect).unwrap();
    let mut record = well(&scenario);
    assert_eq!(held(&scenario, &record), [true; 5]);

    let site = record.site(3).unwrap();
    site.converged.set(secs(11), false);
    site.converged.set(secs(169), true);
    assert!(held(&scenario, &record)[0], "it came 59 s after the link");
    let mut late = well(&scenario);
    let site = late.site(3).unwrap();
    site.converged.set(secs(11), false);
    site.converged.set(secs(171), true);
    site.ill = Some("it has not reported everything".to_owned());
    let verdicts = judge(&scenario, &Timetable::of(&scenario), &late);
    assert!(
        !verdicts[0].held && verdicts[0].why.contains("west-1 from 110 s on (it has not"),
        "{verdicts:?}"
    );

    let mut bad = well(&scenario);
    let site = bad.site(0).unwrap();
    site.runs.set(secs(30), false);
    site.runs.set(secs(31), true);
    site.restarts = vec!["app/web".to_owned()];
    site.bytes = 20_000;
    bad.broken = vec!["it was lost".to_owned()];
    assert_eq!(held(&scenario, &bad), [true, false, false, false, false]);
}

#[test]
fn what_the_scenario_itself_disturbs_is_not_held_against_it_and_an_empty_claim_does_not_hold() {
    let steps = ["at 10 s cut west for 10 s", "at 25 s cut west for 100 s"];
    let scenario = read(&steps, &["west converged within 30 s of reconnect"]).unwrap();
    let mut record = well(&scenario);
    for site in &mut record.sites {
        site.converged.set(secs(10), false);
        site.converged.set(secs(126), true);
    }
    assert_eq!(held(&scenario, &record), [true], "only the second return counts");
    let scenario = read(&[], &["west converged within 30 s of reconnect"]).unwrap();
    assert_eq!(held(&scenario, &well(&scenario)), [false], "nothing ever reconnected");
}

#[test]
fn what_was_so_can_be_taken_back_to_a_time_a_little_before() {
    let mut switch = Switch::default();
    switch.set(secs(1), true);
    switch.set(secs(9), true);
    switch.off_from(secs(7));
    switch.set(secs(10), true);
    let seen = [6, 7, 9, 10].map(|at| switch.was_on(secs(at)));
    assert_eq!(seen, [true, false, false, true]);
    assert_eq!(switch.first_on(secs(7)), Some(secs(10)));
    assert_eq!(switch.first_off(secs(2)), Some(secs(7)));
}

#[test]
fn a_scenario_lasts_until_everything_can_be_judged() {
    let expect = ["all converged within 60 s of the last step", "apps of west run at 5 min"];
    let scenario = read(&["at 10 s write 1 desired version"], &expect).unwrap();
    let (least, most) = length(&scenario, &Timetable::of(&scenario));
    assert_eq!((least, most), (secs(300), secs(301)));
}
