//! What the agent uses while nothing happens.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

use crate::report::Row;
use crate::row;
use crate::stage::Stage;

const DAY: f64 = 86_400.0;
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used so far.
struct Used {
    cpu_s: f64,
    written: f64,
    sent: f64,
    received: f64,
}

pub(crate) fn measure(stage: &Stage, calm: Duration, time: Duration) -> anyhow::Result<Vec<Row>> {
    eprintln!("measuring: {} s at rest", time.as_secs());
    std::thread::sleep(calm);
    let pid = stage.site.pid();
    let before = used(stage, pid)?;
    std::thread::sleep(time);
    let resident = resident(pid)?;
    let after = used(stage, pid)?;
    let a_day = DAY / time.as_secs_f64();
    Ok(vec![
        row("resident memory with 10 apps", "MB", resident / 1e6, 15.0),
        row(
            "CPU at rest",
            "% of a core",
            (after.cpu_s - before.cpu_s) / time.as_secs_f64() * 100.0,
            0.2,
        ),
        row(
            "uplink at rest, above TCP",
            "KB a day",
            (after.sent - before.sent) * a_day / 1e3,
            33.0,
        ),
        Row {
            target: crate::report::Target::None,
            ..row(
                "downlink at rest, above TCP",
                "KB a day",
                (after.received - before.received) * a_day / 1e3,
                0.0,
            )
        },
        row(
            "written to disk at rest",
            "MB a day",
            (after.written - before.written) * a_day / 1e6,
            1.0,
        ),
    ])
}

fn used(stage: &Stage, pid: i32) -> anyhow::Result<Used> {
    let status = stage.site.status().context("the agent's status")?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).flat_map(str::parse).collect();
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(Used {
        cpu_s: ticks.iter().sum::<f64>() / TICKS_PER_SECOND,
        written: written.context("write_bytes")?.trim().parse()?,
        sent: status["link"]["bytes_out"].as_f64().context("bytes_out")?,
        received: status["link"]["bytes_in"].as_f64().context("bytes_in")?,
    })
}

fn resident(pid: i32) -> anyhow::Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    Ok(kib.parse::<f64>().context("reading the resident memory")? * 1024.0)
}
