//! A cloud that was put back to a backup, and a site that was off for longer than its certificate
//! lives: both come together again without anybody at the site.

use std::time::{Duration, Instant};

use gnomon_tests::process::run;
use gnomon_tests::{Site, eventually};

use crate::access::{Cloud, certificate, is_online, join, text};
use crate::app::PATIENCE;

const RENEWAL: Duration = Duration::from_mins(1);

#[test]
fn a_site_that_renewed_after_the_backup_and_one_that_was_off_too_long_come_back_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    // 10 seconds.
    let cloud = Cloud::start(folder.path(), &[("certificate_days", "0.00012")]);
    let data = folder.path().join("site-1");
    cloud.said(&["node", "create", "site-1"]);
    let token = cloud.said(&["node", "token", "site-1"]);
    assert!(join(&cloud, &data, &["--token", &token]).status.success());
    let first = certificate(&data);
    let backup = folder.path().join("backup").to_string_lossy().into_owned();
    let saved = run("gnomon-cloud", &["backup", &backup, "--data", &cloud.data()], &[]);
    assert!(saved.status.success(), "{}", text(&saved));
    let mut site = Site::joined(&data);
    is_online(&cloud, "site-1");
    eventually("a renewal", RENEWAL, || {
        if certificate(&data) == first { Err(site.tail()) } else { Ok(()) }
    });

    let cloud = cloud.restart(|data| {
        let output = run("gnomon-cloud", &["restore", &backup, "--data", data, "--replace"], &[]);
        assert!(output.status.success(), "{}", text(&output));
    });
    is_online(&cloud, "site-1");
    let audit = cloud.json(&["audit", "--action", "node.learn"]);
    assert_eq!(audit[0]["target"], "site-1", "{audit}");

    site.kill9();
    eventually("the node to be seen offline", PATIENCE, || {
        let nodes = cloud.json(&["get", "nodes"]);
        if nodes[0]["online"] == false { Ok(()) } else { Err(nodes) }
    });
    let last = certificate(&data);
    let killed = Instant::now();
    eventually("an end of its certificate", RENEWAL, || {
        let life = killed.elapsed();
        if life > Duration::from_secs(12) { Ok(()) } else { Err(life) }
    });
    site.start();
    is_online(&cloud, "site-1");
    assert_ne!(certificate(&data), last);
}
