//! What a person does to containers is repaired without a link; what is not ours is left alone.

use gnomon_tests::eventually;

use super::Stage;
use crate::app::{PATIENCE, gnomon};

#[test]
fn removed_and_killed_containers_are_repaired_offline_and_healthy_ones_left_alone() {
    let mut stage = Stage::set("drift");
    let before = stage.deploy(1);
    stage.cloud.kill9();
    stage.docker.run(&["rm", "-f", &before["first"].id]);
    stage.docker.run(&["kill", &before["second"].id]);
    let after = eventually(&format!("a repair: {}", stage.site.tail()), PATIENCE, || {
        let all = stage.containers();
        let all_run = all.len() == 3 && all.iter().all(|(_, it)| it.runs && it.value == "1");
        if all_run { Ok(all) } else { Err(all) }
    });
    let after: std::collections::BTreeMap<_, _> = after.into_iter().collect();
    assert_ne!(after["first"].id, before["first"].id);
    assert_eq!(after["second"].id, before["second"].id, "what was killed is started again");
    assert_ne!(after["second"].started_at, before["second"].started_at);
    assert_eq!(after["third"], before["third"], "the healthy one was not touched");
    stage.cloud.restart();
    assert_eq!(stage.runs(1), after);
}

#[test]
fn what_is_foreign_or_of_another_node_stays_untouched() {
    let stage = Stage::set("foreign");
    let node = stage.node().to_owned();
    let other = format!("{node}x");
    let _cleaner = super::Cleaner::new(stage.docker.clone(), other.clone());
    let neighbour = format!("io.gnomon.node={other}");
    let name = |of: &str| format!("gnomon-{of}.probe.first.0.000000000000");
    let digest = format!("io.gnomon.digest={}", "0".repeat(32));
    // Dressed as a container of ours in all but the node, and one without any label.
    let dressed = ["--label", "io.gnomon.app=probe", "--label", "io.gnomon.service=first"];
    let dressed = [&dressed[..], &["--label", "io.gnomon.replica=0", "--label", &digest]].concat();
    let run = |name: &str, labels: &[&str]| {
        let run = ["run", "-d", "--net", "none", "--name", name];
        let args = [&run[..], labels, &["gnomon-demo:1", "sleep", "1000"]].concat();
        stage.docker.run(&args).trim().to_owned()
    };
    let foreign = run(&name(&node), &[]);
    let _foreign = Removed(&stage, &foreign);
    let of_other = run(&name(&other), &[&["--label", &neighbour], &dressed[..]].concat());
    stage.docker.run(&["volume", "create", "--label", &neighbour, &format!("{other}.data")]);
    let look = || {
        let seen = |id: &String| stage.docker.inspect(id).map(|it| super::container(&it));
        [&foreign, &of_other].map(seen)
    };
    let before = look();
    assert!(before.iter().flatten().all(|it| it.runs));
    stage.deploy(1);
    stage.deploy(2);
    let deleted = gnomon(&stage.cloud, &["delete", "app", "probe", "--node", &node]);
    assert!(deleted.status.success());
    eventually("an end of all containers of the node", PATIENCE, || {
        let left = (stage.containers(), stage.networks_and_volumes().0);
        if left == (Vec::new(), 0) { Ok(()) } else { Err(left) }
    });
    assert_eq!(look(), before, "the same containers, started once, running");
    assert_eq!(stage.docker.of_node("volume", &other).len(), 1);
}

/// A container without labels, removed in the end.
struct Removed<'a>(&'a Stage, &'a str);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _gone = self.0.docker.try_run(&["rm", "-f", self.1]);
    }
}
