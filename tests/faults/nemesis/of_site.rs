//! What is done to a site.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gnomon_tests::eventually;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::Strike;
use crate::fault::Fault;
use crate::history::Event;
use crate::stage::cloud::Door;
use crate::stage::pick;
use crate::stage::site::{Site, send};

/// The cloud may be down, and a machine slow.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) fn strike(site: &mut Site, cloud: &Door, strike: &Strike<'_>) {
    match strike.fault() {
        Fault::InstanceKilled | Fault::ContainerRemoved | Fault::ContainerStopped => {
            return at_an_instance(site, strike);
        }
        _ => strike.breaks(),
    }
    match strike.fault() {
        Fault::AgentKilled => {
            hold(site, strike);
            strike.lasts();
            site.release();
        }
        Fault::AgentFrozen => freeze(site.agent(), strike),
        Fault::SitePowerCut => {
            agent_ends(site, strike);
            site.cut_power();
            strike.lasts();
            site.power_on();
        }
        Fault::DaemonKilled => {
            if let Some(pid) = site.daemon() {
                send(pid, Signal::SIGKILL);
            }
            site.answers();
        }
        Fault::DaemonFrozen => freeze(site.daemon(), strike),
        Fault::SiteDiskFull => {
            site.disk().fill();
            strike.lasts();
            site.disk().free();
        }
        Fault::StoreFlipped | Fault::StoreTorn | Fault::StoreDeleted => damage(site, strike),
        Fault::Clock1970 => clock(site, strike, "@1970-01-01 00:01:00"),
        Fault::Clock2038 => clock(site, strike, "@2038-01-19 03:14:00"),
        Fault::Revoked => revoke(site, cloud, strike),
        Fault::Cloned => {
            hold(site, strike);
            forgets(site, strike);
            let twin = site.clone_itself();
            site.release();
            strike.lasts();
            drop(twin);
        }
        other => panic!("{other} is none of a site's"),
    }
}

/// Kills the agent, and keeps it down.
fn hold(site: &Site, strike: &Strike<'_>) {
    agent_ends(site, strike);
    site.hold();
}

fn agent_ends(site: &Site, strike: &Strike<'_>) {
    strike.recorder.record(Event::AgentEnded { node: site.node.clone() });
}

fn forgets(site: &Site, strike: &Strike<'_>) {
    strike.recorder.record(Event::Forgot { node: site.node.clone() });
}

fn freeze(pid: Option<i32>, strike: &Strike<'_>) {
    let tell = |signal| {
        if let Some(pid) = pid {
            send(pid, signal);
        }
    };
    tell(Signal::SIGSTOP);
    strike.lasts();
    tell(Signal::SIGCONT);
}

/// Ends one instance as a person would who knows nothing of the agent.
fn at_an_instance(site: &Site, strike: &Strike<'_>) {
    let all = site.instances().unwrap_or_default();
    let Some(found) = pick(&all, strike.planned.chance) else { return strike.breaks() };
    strike.breaks_service(Some(found.instance.service.clone()));
    let (id, chance) = (found.id.as_str(), strike.chance(3));
    let done = match (strike.fault(), chance) {
        (Fault::InstanceKilled, _) => {
            send(id.parse().unwrap(), Signal::SIGKILL);
            return;
        }
        (Fault::ContainerRemoved, _) => site.docker(&["rm", "-f", id]),
        (_, 0) => site.docker(&["kill", id]),
        _ => site.docker(&["stop", "-t", "1", id]),
    };
    // The agent may have replaced it meanwhile, and then it is as gone as it should be.
    drop(done);
}

/// Damages what the store wrote, between a kill and a start.
fn damage(site: &Site, strike: &Strike<'_>) {
    hold(site, strike);
    forgets(site, strike);
    let store = site.store();
    if strike.fault() == Fault::StoreDeleted {
        let _gone = fs::remove_dir_all(&store);
    } else if let Some(path) = largest(&store) {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        let at = strike.planned.chance % length.max(1);
        if strike.fault() == Fault::StoreTorn {
            file.set_len(at).unwrap();
        } else {
            let mut byte = [0];
            if file.read_at(&mut byte, at).unwrap() == 1 {
                file.write_at(&[byte[0] ^ 0x10], at).unwrap();
            }
        }
    }
    strike.lasts();
    site.release();
}

/// The largest file that an engine wrote; not a quarantined one, and not the ballast.
fn largest(folder: &Path) -> Option<PathBuf> {
    let mut open = vec![folder.to_path_buf()];
    let mut found: Option<(u64, PathBuf)> = None;
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "ballast" || name.starts_with("bad-") {
                continue;
            }
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                open.push(entry.path());
            } else if found.as_ref().is_none_or(|(size, _)| about.len() > *size) {
                found = Some((about.len(), entry.path()));
            }
        }
    }
    found.map(|(_, path)| path)
}

/// The agent is started at another time, and later at the right one again.
fn clock(site: &Site, strike: &Strike<'_>, time: &str) {
    hold(site, strike);
    site.set_clock(Some(time));
    site.release();
    strike.lasts();
    hold(site, strike);
    site.set_clock(None);
    site.release();
}

/// Shut out, and in again with a new certificate.
fn revoke(site: &Site, cloud: &Door, strike: &Strike<'_>) {
    let api = cloud.api();
    let path = format!("/v1/nodes/{}/revoke", site.node);
    eventually("a revocation", PATIENCE, || match api.call("POST", &path, None) {
        Some((204, _)) => Ok(()),
        Some((status, body)) => Err((status, body)),
        None => Err((0, Value::Null)),
    });
    strike.lasts();
    hold(site, strike);
    eventually("a new certificate", PATIENCE, || site.enrol(cloud, &["--force"]));
    site.release();
}
