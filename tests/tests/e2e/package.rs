//! The Debian package of the site agent: what it brings, and that a purge leaves nothing of it, nor
//! of what ran.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gnomon_tests::process::{binary, run};
use gnomon_tests::{Cloud, Site};

use crate::app::{apply, converged};

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {errors}");
    output
}

/// Packs the program that the tests run.
fn package(folder: &Path) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/edge/deb.sh");
    let mut pack = Command::new("sh");
    pack.arg(script).arg(binary("gnomon-edge"));
    let output = succeeds(pack.env("DEB_COMPRESSION", "none").env("DEB_FOLDER", folder));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// A root of its own, in which dpkg keeps its books; its scripts run outside of it.
fn dpkg(root: &Path, args: &[&str]) {
    let mut dpkg = Command::new("dpkg");
    dpkg.arg("--root").arg(root).arg("--force-script-chrootless").args(args);
    succeeds(&mut dpkg);
}

fn root(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    let books = root.join("var/lib/dpkg");
    for name in ["info", "updates", "triggers"] {
        fs::create_dir_all(books.join(name)).unwrap();
    }
    for name in ["status", "available"] {
        fs::write(books.join(name), "").unwrap();
    }
    root
}

/// Every file and folder of the agent below a root.
fn ours(root: &Path) -> Vec<String> {
    let output = succeeds(Command::new("find").arg(root).args(["-name", "*gnomon*"]));
    let found = String::from_utf8(output.stdout).unwrap();
    let found =
        found.lines().map(|line| line.trim_start_matches(root.to_str().unwrap()).to_owned());
    found.filter(|path| !path.starts_with("/var/lib/dpkg/")).collect()
}

#[test]
fn the_package_brings_what_a_site_needs_and_a_purge_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let root = root(folder.path());
    let package = package(folder.path()).to_string_lossy().into_owned();
    dpkg(&root, &["--install", &package]);
    for path in ["usr/bin/gnomon-edge", "lib/systemd/system/gnomon-edge.service"] {
        assert!(root.join(path).is_file(), "{path}");
    }
    let config = root.join("etc/gnomon-edge/gnomon-edge.toml");
    let library = root.join("var/lib");
    let mut site = Site::join(&cloud, &library, "gnomon-edge");
    site.stop();
    site.add_args(&["--config", &config.to_string_lossy()]);
    site.start();
    assert!(apply(&cloud, folder.path(), "gnomon-edge", 1));
    converged(&cloud, "gnomon-edge");
    let apps = site.instances();
    assert!(!apps.is_empty());
    // The log of a test's site lies beside its folder.
    fs::remove_file(site.data().with_extension("log")).unwrap();

    let data = site.data().to_string_lossy().into_owned();
    let refused = run("gnomon-edge", &["uninstall", "--data", &data, "--yes"], &[]);
    assert!(!refused.status.success(), "the agent runs");
    assert_eq!(site.stop(), Some(0));
    dpkg(&root, &["--remove", "gnomon-edge"]);
    assert_eq!(site.instances(), apps, "a removal touches no app");
    assert!(!root.join("usr/bin/gnomon-edge").exists() && config.exists());
    dpkg(&root, &["--install", &package]);
    site.start();
    converged(&cloud, "gnomon-edge");
    assert_eq!(site.instances(), apps, "nor does another installation");
    assert_eq!(site.stop(), Some(0));
    fs::remove_file(site.data().with_extension("log")).unwrap();

    dpkg(&root, &["--purge", "gnomon-edge"]);
    assert_eq!(site.instances(), [0; 0], "what ran is gone");
    assert_eq!(ours(&root), [""; 0]);
}
