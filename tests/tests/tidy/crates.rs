//! Which crate may depend on what (ARCHITECTURE.md, the table of rooms).

use std::collections::BTreeSet;

use crate::{report, root};

/// Folder, and the rooms that it may depend on.
const ROOMS: [(&str, &[&str]); 8] = [
    ("schemas", &[]),
    ("sync", &["gnomon-schemas"]),
    ("broker", &["gnomon-schemas"]),
    ("cloud-shadow", &["gnomon-schemas", "gnomon-sync", "gnomon-broker"]),
    ("edge-runtime", &["gnomon-schemas", "gnomon-sync", "gnomon-broker"]),
    ("simulators", &["gnomon-schemas", "gnomon-sync", "gnomon-cloud", "gnomon-edge"]),
    ("cli", &["gnomon-schemas"]),
    ("tests", &["gnomon-schemas"]),
];

/// What a pure crate may use of the world.
const PURE: [(&str, &[&str]); 2] = [
    (
        "schemas",
        &[
            "base64",
            "chrono",
            "ciborium",
            "croner",
            "half",
            "saphyr-parser",
            "serde",
            "serde_json",
            "serde_path_to_error",
            "sha2",
            "shlex",
            "thiserror",
        ],
    ),
    ("sync", &["ciborium", "gnomon-schemas", "rand", "serde", "thiserror"]),
];

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = manifest(folder);
    let table = manifest.get("dependencies").and_then(toml::Value::as_table);
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn every_room_depends_only_on_the_rooms_below_it() {
    let mut findings = Vec::new();
    for (folder, allowed) in ROOMS {
        let rooms = dependencies(folder).into_iter().filter(|name| name.starts_with("gnomon"));
        for room in rooms.filter(|room| !allowed.contains(&room.as_str())) {
            findings.push(format!("{folder} depends on {room}"));
        }
    }
    report("ARCHITECTURE.md, the table of rooms, says otherwise:", &findings);
}

#[test]
fn the_workspace_is_exactly_the_rooms_of_the_table() {
    let manifest = manifest(".");
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<_> = members.iter().map(|member| member.as_str().unwrap()).collect();
    assert_eq!(members, ROOMS.iter().map(|(folder, _)| *folder).collect());
}

#[test]
fn the_pure_crates_use_only_what_cannot_reach_the_world() {
    let mut findings = Vec::new();
    for (folder, allowed) in PURE {
        for name in dependencies(folder) {
            if !allowed.contains(&name.as_str()) {
                findings.push(format!("{folder} depends on {name}"));
            }
        }
    }
    report("a pure crate takes no dependency without an entry in this test:", &findings);
}

#[test]
fn every_crate_is_under_the_lints_of_the_workspace() {
    let mut findings = Vec::new();
    for (folder, _) in ROOMS {
        let manifest = manifest(folder);
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if lints.and_then(toml::Value::as_bool) != Some(true) {
            findings.push(format!("{folder}/Cargo.toml lacks [lints] workspace = true"));
        }
    }
    report("lints:", &findings);
}

#[test]
fn every_dependency_is_explained() {
    let page = std::fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let manifest = manifest(".");
    let table = manifest["workspace"]["dependencies"].as_table().unwrap();
    let unexplained = table
        .keys()
        .filter(|name| !name.starts_with("gnomon-") && !page.contains(&format!("`{name}`")))
        .cloned()
        .collect::<Vec<_>>();
    report("docs/dependencies.md does not say why these were chosen:", &unexplained);
}

#[test]
fn every_licence_is_one_that_deny_toml_allows() {
    let deny: toml::Table =
        std::fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    let allowed: Vec<_> = deny["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .map(|licence| licence.as_str().unwrap().to_owned())
        .collect();
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "cargo metadata names too few packages to be true");
    let mut findings = Vec::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        let open = |choice: &str| {
            choice
                .split(" AND ")
                .all(|part| allowed.iter().any(|known| known == part.trim_matches(['(', ')', ' '])))
        };
        if !licence.replace('/', " OR ").split(" OR ").any(open) {
            findings.push(format!("{} is under {licence}", package["name"]));
        }
    }
    report("deny.toml does not allow these licences:", &findings);
}
