//! What the agent uses while nothing happens.

use std::time::Duration;

use anyhow::Context as _;

use crate::report::{Row, Target};
use crate::rest::{DAY, Rest};
use crate::row;
use crate::stage::Stage;

/// What the agent uses at rest.
pub(crate) struct Idle {
    rest: Rest,
    sent_kb_a_day: f64,
    received_kb_a_day: f64,
}

pub(crate) fn measure(stage: &Stage, calm: Duration, time: Duration) -> anyhow::Result<Idle> {
    eprintln!("measuring: {} s at rest", time.as_secs());
    std::thread::sleep(calm);
    let before = traffic(stage)?;
    let rest = Rest::of(stage.site.pid(), time)?;
    let after = traffic(stage)?;
    let kb_a_day = |bytes: f64| bytes * DAY / time.as_secs_f64() / 1e3;
    Ok(Idle {
        rest,
        sent_kb_a_day: kb_a_day(after.0 - before.0),
        received_kb_a_day: kb_a_day(after.1 - before.1),
    })
}

impl Idle {
    /// The figures, beside the memory of a peer if that was measured.
    pub(crate) fn rows(&self, peer_mb: Option<f64>) -> Vec<Row> {
        let rest = &self.rest;
        let memory = row("resident memory with 10 apps", "MB", rest.resident_mb, 15.0);
        vec![
            Row { peer: peer_mb, ..memory },
            row("CPU at rest", "% of a core", rest.cpu_percent, 0.2),
            row("uplink at rest, above TCP", "KB a day", self.sent_kb_a_day, 33.0),
            Row {
                target: Target::None,
                ..row("downlink at rest, above TCP", "KB a day", self.received_kb_a_day, 0.0)
            },
            row("written to disk at rest", "MB a day", rest.written_mb_a_day, 1.0),
        ]
    }
}

/// The bytes out and in since the agent began.
fn traffic(stage: &Stage) -> anyhow::Result<(f64, f64)> {
    let status = stage.site.status().context("the agent's status")?;
    let sent = status["link"]["bytes_out"].as_f64().context("bytes_out")?;
    let received = status["link"]["bytes_in"].as_f64().context("bytes_in")?;
    Ok((sent, received))
}
