//! What many shadows cost: memory, the time until the cloud serves them, and the cost of a write.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::Bench;
use crate::fill::{self, Shape};
use crate::http::HttpWriter;
use crate::load;
use crate::report::{Row, Target};
use crate::service::Service;

/// What was measured with so many shadows.
struct Cost {
    shadows: usize,
    resident: f64,
    started_in: f64,
    killed_started_in: f64,
    write_us: f64,
    cpu_us: f64,
    p99_ms: f64,
}

/// The connections that write.
const WRITERS: usize = 64;

/// Measures each shape, the last one against the targets.
pub(crate) fn rows(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let mut costs = Vec::new();
    for shape in bench.size.million {
        costs.push(measure(bench.folder, shape, bench.size.lasts)?);
    }
    let mut rows = Vec::new();
    for (at, cost) in costs.iter().enumerate() {
        let is_last = at + 1 == costs.len();
        let under = |limit| if is_last { Target::Under(limit) } else { Target::None };
        let row = |what: &str, unit, ours, target| Row {
            what: format!("{} shadows: {what}", cost.shadows),
            unit,
            ours,
            peer: None,
            target,
        };
        rows.push(row("memory", "MiB", cost.resident / 1_048_576.0, under(2_048.0)));
        let each = cost.resident / cost.shadows as f64;
        rows.push(row("memory of each", "B", each, Target::None));
        rows.push(row("start until it serves", "s", cost.started_in, under(10.0)));
        rows.push(row("start after a kill -9", "s", cost.killed_started_in, under(10.0)));
        rows.push(row("a durable write, 64 at a time", "us", cost.write_us, Target::None));
        rows.push(row("a durable write, 64 at a time", "CPU us", cost.cpu_us, Target::None));
        rows.push(row("a durable write, p99", "ms", cost.p99_ms, Target::None));
    }
    if let [first, .., last] = costs.as_slice() {
        rows.push(Row {
            what: format!("a write at {} against {} shadows", last.shadows, first.shadows),
            unit: "us",
            ours: last.write_us,
            peer: Some(first.write_us),
            target: Target::AtMostPeerTimes(1.5),
        });
    }
    Ok(rows)
}

#[tokio::main]
async fn measure(folder: &Path, shape: Shape, lasts: Duration) -> anyhow::Result<Cost> {
    let shadows = shape.nodes * shape.shadows;
    eprintln!("measuring: {shadows} shadows");
    let data = folder.join(format!("million-{shadows}"));
    fill::fill(&data, shape, 0).context("filling the store")?;
    let service = Service::start(&data)?;
    let started_in = service.started_in.as_secs_f64();
    let resident = service.process().resident()?;
    let writers = HttpWriter::many(service.http, &service.token, shape, WRITERS).await?;
    let (_, writers) = load::run(writers, lasts / 2, None).await?;
    let cpu = service.process().cpu()?;
    let (outcome, _writers) = load::run(writers, lasts, None).await?;
    // The warm-up is in the processor's time and not in the count.
    let counted = outcome.per_second * (lasts + load::WARM_UP).as_secs_f64();
    let cpu_us = (service.process().cpu()? - cpu) * 1e6 / counted;
    drop(service);
    let again = Service::start(&data)?;
    let killed_started_in = again.started_in.as_secs_f64();
    drop(again);
    std::fs::remove_dir_all(&data)?;
    Ok(Cost {
        shadows,
        resident,
        started_in,
        killed_started_in,
        write_us: 1e6 / outcome.per_second,
        cpu_us,
        p99_ms: outcome.percentile(99),
    })
}
