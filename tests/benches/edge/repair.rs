//! How soon a container that died runs again, and all of them after a boot without a link.

use std::time::Instant;

use crate::report::{Row, Target};
use crate::row;
use crate::stage::{APPS, Stage};

/// Kills each app's container once, revision after revision: a service that dies again is let wait.
pub(crate) fn drift(stage: &mut Stage, rounds: u32) -> anyhow::Result<Vec<Row>> {
    eprintln!("measuring: repair of drift");
    let mut times = Vec::new();
    for round in 0..rounds {
        stage.deploy(round + 2)?;
        for id in stage.running() {
            let began = Instant::now();
            stage.docker(&["kill", &id]);
            stage.until("a repair", || stage.running().len() == APPS as usize)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get((times.len() - 1) * part / 100).copied().unwrap_or(f64::NAN);
    let median = row("drift repair, from docker kill to running, p50", "ms", at(50), 0.0);
    Ok(vec![
        Row { target: Target::None, ..median },
        row(
            &format!("drift repair, p99 of {}", times.len()),
            "ms",
            times.last().copied().unwrap_or(f64::NAN).max(at(99)),
            2_000.0,
        ),
    ])
}

/// The cloud is gone, the power was cut: the time from the agent's start to all apps running.
pub(crate) fn boot(stage: &mut Stage) -> anyhow::Result<Vec<Row>> {
    eprintln!("measuring: a boot without a link");
    stage.cloud.kill9();
    stage.site.kill9();
    let running = stage.running();
    let ids: Vec<_> = running.iter().map(String::as_str).collect();
    stage.docker(&[&["kill"][..], &ids].concat());
    stage.until("an end of all", || stage.running().is_empty())?;
    let began = Instant::now();
    stage.site.start();
    stage.until("all apps", || stage.running().len() == APPS as usize)?;
    Ok(vec![row("10 apps back after an offline boot", "s", began.elapsed().as_secs_f64(), 10.0)])
}
