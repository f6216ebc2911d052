//! `gnomon-sim fleet` against the real cloud: every site is there, a write reaches all, all are
//! cut and come back, and the report holds what happened.

use std::path::Path;

use gnomon_tests::process::{binary, run};
use serde_json::Value;

const SITES: u64 = 30;

fn fleet(folder: &Path, report: &Path, more: &[&str]) -> (Option<i32>, Value, String) {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (cloud, data) = (text(&binary("gnomon-cloud")), text(&folder.join("cloud")));
    let (report, identities) = (text(report), text(&folder.join("identities")));
    let sites = SITES.to_string();
    let mut args = vec!["fleet", "--start-cloud", "--cloud-program", &cloud, "--cloud-data", &data];
    args.extend(["--identities", &identities, "--sites", &sites, "--out", &report]);
    args.extend(more);
    let output = run("gnomon-sim", &args, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), line, said)
}

fn read(report: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap()
}

fn phase<'a>(report: &'a Value, name: &str) -> &'a Value {
    let phases = report["phases"].as_array().unwrap();
    let found = phases.iter().find(|phase| phase["name"] == name);
    found.unwrap_or_else(|| panic!("no phase {name}: {phases:#?}"))
}

#[test]
fn thirty_sites_come_are_written_to_are_cut_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first.json");
    let course = ["--ramp-per-s", "0", "--steady", "1", "--storm", "2", "--time", "120"];
    let (code, line, said) = fleet(folder.path(), &first, &course);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(line["complete"], true, "{line}");

    let report = read(&first);
    for name in ["ramp", "write 1", "all back"] {
        let phase = phase(&report, name);
        assert_eq!((&phase["awaited"], &phase["came"]), (&SITES.into(), &SITES.into()), "{phase}");
        assert_eq!(phase["took"]["count"], SITES, "{phase}");
        assert!(phase["bytes"]["received"].as_u64().unwrap() > SITES, "{phase}");
        assert!(phase["cloud_cpu_s"].is_f64(), "{phase}");
    }
    assert_eq!(phase(&report, "all cut")["drops"], SITES);
    let back = phase(&report, "all back");
    assert_eq!((&back["connections"], &back["resumed"]), (&SITES.into(), &SITES.into()), "{back}");
    assert!(phase(&report, "steady")["broker"]["count"].as_u64().unwrap() > 0);
    assert!(report["cloud_says"]["online"].as_u64().unwrap() >= SITES, "{}", report["cloud_says"]);
    assert!(!report["samples"].as_array().unwrap().is_empty());
    assert_eq!(report["enrolment"]["made"], SITES + 1);
    assert_eq!(report["troubles"].as_array().unwrap().len(), 0, "{}", report["troubles"]);
    let page = std::fs::read_to_string(first.with_extension("html")).unwrap();
    assert!(page.contains("all back") && page.contains("every phase complete"));

    // Again with the same identities, through emulated links that are cut group by group, and with
    // everything changing.
    let second = folder.path().join("second.json");
    let course = [
        "--ramp-per-s",
        "0",
        "--steady",
        "0",
        "--storm",
        "0",
        "--time",
        "120",
        "--link",
        "4g-good",
        "--groups",
        "2",
        "--group-outage",
        "1",
        "--churn",
        "1",
        "--flaps-per-s",
        "5",
    ];
    let (code, _, said) = fleet(folder.path(), &second, &course);
    assert_eq!(code, Some(0), "{said}");
    let report = read(&second);
    assert_eq!(
        (&report["enrolment"]["made"], &report["enrolment"]["reused"]),
        (&0.into(), &(SITES + 1).into())
    );
    assert_eq!(phase(&report, "group 1 back")["came"], SITES / 2);
    assert!(phase(&report, "churn")["bytes"]["reported"].as_u64().unwrap() > 0);

    let (first, second) =
        (first.to_string_lossy().into_owned(), second.to_string_lossy().into_owned());
    let compared = run("gnomon-sim", &["report", "compare", &first, &second], &[]);
    let text = String::from_utf8_lossy(&compared.stdout).into_owned();
    assert!(compared.status.success() && text.contains("ramp: last site"), "{text}");
}

#[test]
fn more_sites_than_there_may_be_open_files_are_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report.json").to_string_lossy().into_owned();
    let name = binary("gnomon-sim");
    let command = format!(
        "ulimit -n 500; exec {} fleet --server http://127.0.0.1:9 --sites 1000 --workers 1 --out {out}",
        name.display()
    );
    let output = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ulimit -n") && said.contains("at most 100 sites"), "{said}");
}

#[test]
fn a_fleet_over_several_processes_is_one_run_with_one_report() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("spread.json");
    let course = ["--ramp-per-s", "0", "--steady", "1", "--storm", "2", "--time", "120"];
    let more = ["--workers", "3", "--groups", "2", "--churn", "1", "--flaps-per-s", "5"];
    let (code, line, said) = fleet(folder.path(), &out, &[&course[..], &more[..]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(line["complete"], true, "{line}");
    let report = read(&out);
    for name in ["ramp", "write 1", "all back"] {
        let phase = phase(&report, name);
        assert_eq!((&phase["awaited"], &phase["came"]), (&SITES.into(), &SITES.into()), "{phase}");
        assert!(phase["bytes"]["received"].as_u64().unwrap() > SITES, "{phase}");
    }
    assert_eq!(phase(&report, "all cut")["drops"], SITES);
    let back = phase(&report, "all back");
    assert_eq!((&back["connections"], &back["resumed"]), (&SITES.into(), &SITES.into()), "{back}");
    assert!(phase(&report, "churn")["bytes"]["reported"].as_u64().unwrap() > 0);
    assert_eq!(report["troubles"].as_array().unwrap().len(), 0, "{}", report["troubles"]);
    assert!(report["machine"]["handshakes"]["resumed_us"].as_f64().unwrap() > 0.0);
}

#[test]
fn small_scenarios_hold_with_real_programs_too() {
    let cloud = binary("gnomon-cloud").to_string_lossy().into_owned();
    for name in ["real-outage", "real-cloud-kill"] {
        let output =
            run("gnomon-sim", &["scenario", name, "--cloud-program", &cloud, "-o", "json"], &[]);
        let line: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{name}: {line:#} {said}");
        assert_eq!((&line["held"], &line["world"]), (&true.into(), &"real".into()), "{line}");
    }
}

#[test]
fn a_cloud_whose_disk_is_full_says_yes_to_no_write_with_real_programs() {
    let folder = tempfile::tempdir().unwrap();
    let (file, cloud) = (folder.path().join("full.toml"), binary("gnomon-cloud"));
    let text = "name = \"a\"\nabout = \"b\"\nfleet.site = { sites = 1 }\n\
        steps = [\"at 6 s fill disk of cloud\", \"at 6.5 s write 1 desired version\"]\n\
        expect = [\"all converged within 5.9 s of start\",\n\
        \"all converged within 2 s of every write\", \"nothing lost\"]\n";
    std::fs::write(&file, text).unwrap();
    let (file, cloud) = (file.to_string_lossy(), cloud.to_string_lossy());
    let output =
        run("gnomon-sim", &["scenario", &file, "--cloud-program", &cloud, "-o", "json"], &[]);
    let line: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{line:#} {said}");
    let held: Vec<_> = (0..3).map(|n| &line["verdicts"][n]["held"]).collect();
    assert_eq!(held, [true, false, true], "{line:#}");
    let why = line["verdicts"][1]["why"].as_str().unwrap();
    assert!(why.contains("a write to it is not answered"), "{why}");
}

#[test]
fn a_scenario_that_does_not_hold_or_cannot_be_read_fails_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let play = |text: &str| {
        std::fs::write(&file, text).unwrap();
        run("gnomon-sim", &["scenario", &file.to_string_lossy(), "--virtual"], &[])
    };
    let head = "name = \"a\"\nabout = \"b\"\nfleet.site = { sites = 1 }\n";
    let output = play(&format!("{head}expect = [\"bytes per site under 1 B\"]\n"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAILS  bytes per site under 1 B: site-0 had"), "{text}");
    let output =
        play(&format!("{head}expect = [\"nothing lost\"]\nsteps = [\"at 1 s cut north\"]\n"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("line 5, column 22") && said.contains("north"), "{said}");
}
