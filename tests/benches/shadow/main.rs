//! What the shadow service costs: durable writes over HTTP and durable reports over MQTT, beside
//! the machine's own disk and a home-made stack in the same run; how long a write takes to a site;
//! a million shadows. Writes target/bench/shadow.json and, unless short, docs/performance.md.
//! Run: make bench BENCH=shadow; with `GNOMON_BENCH=short`, in about a minute. The name of a group
//! (`cargo bench --bench shadow -- million`) measures that alone; `-- fill DIR NODES` makes a data
//! folder with 100 shadows per node, for whoever wants to look closer.

#![expect(clippy::indexing_slicing, reason = "JSON of our own programs")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod disk;
mod fill;
mod homemade;
mod http;
mod latency;
mod load;
#[path = "../common/machine.rs"]
mod machine;
mod million;
#[path = "../common/mqtt.rs"]
#[expect(dead_code, reason = "the benchmark of the broker needs the rest")]
mod mqtt;
#[path = "../common/report.rs"]
#[expect(dead_code, reason = "the benchmark of the broker needs the rest")]
mod report;
mod service;
mod site;
mod stages;
mod traffic;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use fill::Shape;
use report::{Report, Row};

/// How much work a run does.
#[derive(Debug, Clone, Copy)]
struct Size {
    million: [Shape; 3],
    lasts: Duration,
    /// Of writers, and of sites that report.
    connections: usize,
    /// Of those that write many shadows at once.
    batchers: usize,
    /// How many shadows each of their requests writes.
    batch: usize,
    /// Connected sites while writes go to them.
    sites: usize,
    /// How many such writes.
    writes: usize,
}

/// The figures that count.
const FULL: Size = Size {
    million: [
        Shape { nodes: 100, shadows: 100 },
        Shape { nodes: 1_000, shadows: 100 },
        Shape { nodes: 10_000, shadows: 100 },
    ],
    lasts: Duration::from_secs(10),
    connections: 1_000,
    batchers: 50,
    batch: 100,
    sites: 10_000,
    writes: 2_000,
};

/// Enough to see that everything works.
const SHORT: Size = Size {
    million: [
        Shape { nodes: 10, shadows: 100 },
        Shape { nodes: 50, shadows: 100 },
        Shape { nodes: 100, shadows: 100 },
    ],
    lasts: Duration::from_secs(1),
    connections: 50,
    batchers: 4,
    batch: 10,
    sites: 100,
    writes: 100,
};

/// The allocator of `gnomon-cloud`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PEER: &str = "mosquitto, PostgreSQL (fsync on) and an asyncio worker (uvloop, aiohttp, \
                    asyncpg, aiomqtt) that commits in batches";

/// What is measured with.
struct Bench<'a> {
    root: &'a Path,
    folder: &'a Path,
    size: Size,
    /// The libraries of the home-made stack, if it can run.
    venv: Option<PathBuf>,
}

/// Measures some rows.
type Group = fn(&Bench<'_>) -> anyhow::Result<Vec<Row>>;

impl Bench<'_> {
    /// The shadows that are written to: ten of each node.
    const fn shape(&self) -> Shape {
        Shape { nodes: self.size.connections, shadows: 10 }
    }
}

fn main() -> anyhow::Result<()> {
    // Cargo adds the flag.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["serve", folder] => service::serve(folder),
        ["fill", folder, nodes] => {
            let shape = Shape { nodes: nodes.parse()?, shadows: 100 };
            fill::fill(Path::new(folder), shape, 0).map(drop)
        }
        [] => measure(None),
        [only, ..] => measure(Some(only)),
    }
}

fn measure(only: Option<&str>) -> anyhow::Result<()> {
    let is_short = report::is_short();
    let size = if is_short { SHORT } else { FULL };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let load = machine::load();
    let out = root.join("target/bench");
    std::fs::create_dir_all(&out)?;
    // Not in /tmp, which may be memory: what is measured is a disk.
    let folder = tempfile::tempdir_in(&out)?;
    let bench = Bench { root: &root, folder: folder.path(), size, venv: homemade::setup(&root) };
    let mut rows = Vec::new();
    let groups: [(&str, Group); 5] = [
        ("writes", traffic::writes),
        ("batches", traffic::batches),
        ("reports", traffic::reports),
        ("latency", latency::rows),
        ("million", million::rows),
    ];
    for (name, group) in groups {
        if only.is_none_or(|only| only == name) {
            rows.extend(group(&bench).with_context(|| format!("measuring {name}"))?);
        }
    }
    let mut facts = machine::facts(&load);
    let peer = if bench.venv.is_some() { PEER } else { "none" };
    facts.insert("home-made".to_owned(), peer.into());
    let report = Report { bench: "shadow", peer: "home-made", rows, facts, is_short };
    report.publish(&root, only.is_none() && !is_short)
}
