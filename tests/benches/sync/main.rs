//! What the sync protocol costs: bytes on a real socket, with MQTT framing and with TLS, beside
//! the same work done by sending whole JSON documents and by relisting; CPU per message; memory.
//! Writes target/bench/sync.json and, unless short, docs/performance.md.
//! Run: make bench BENCH=sync; with `GNOMON_BENCH=short`, in some seconds.

#![expect(clippy::print_stdout, reason = "a benchmark talks")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod certificates;
mod cpu;
mod ends;
#[path = "../common/machine.rs"]
mod machine;
mod memory;
#[path = "../common/report.rs"]
#[expect(dead_code, reason = "the other benchmarks need the rest")]
mod report;
mod scenarios;
mod wire;

use std::path::Path;

use report::Report;

/// How much work a run does.
struct Size {
    /// Of a site that reconnects.
    shadows: &'static [usize],
    /// Batches of which the CPU is measured.
    batches: u32,
    /// Shadows of which the memory is measured.
    idle: usize,
}

/// The figures that count.
const FULL: Size = Size { shadows: &[1, 100, 10_000], batches: 20_000, idle: 10_000 };

/// Enough to see that everything works.
const SHORT: Size = Size { shadows: &[1, 100], batches: 500, idle: 500 };

fn main() -> anyhow::Result<()> {
    let is_short = report::is_short();
    let size = if is_short { SHORT } else { FULL };
    let facts = machine::facts(&machine::load());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = runtime.block_on(scenarios::run(size.shadows))?;
    rows.extend(cpu::run(size.batches));
    rows.extend(memory::run(size.idle));
    let report = Report { bench: "sync", peer: "peer", rows, facts, is_short };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    report.publish(&root, !is_short)
}
