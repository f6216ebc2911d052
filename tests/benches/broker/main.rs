//! What the broker costs, beside mosquitto in the same run with the same load generator: each
//! broker is a process of its own on one core, the generator has the other. Writes
//! target/bench/broker.json and, unless short, docs/performance.md.
//! Run: make bench BENCH=broker; with `GNOMON_BENCH=short`, in less than a minute. The name of a
//! group (`cargo bench --bench broker -- fanout`) measures that alone.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod certificates;
mod client;
#[path = "../common/machine.rs"]
mod machine;
#[path = "../common/mqtt.rs"]
mod mqtt;
mod process;
#[path = "../common/report.rs"]
mod report;
mod rows;
mod serving;

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use certificates::Certificates;
use process::Server;
use report::{Report, Row, Target};
use rows::{Size, drops, fanout, handshakes, idle, inprocess, latency, qos1};

/// The allocator of `gnomon-cloud`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    // Cargo adds the flag.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["serve", folder] => serving::broker(Path::new(folder)),
        ["hold", addr, count] => serving::hold(addr, count),
        [] => measure(None),
        [only, ..] => measure(Some((*only).to_owned())),
    }
}

fn measure(only: Option<String>) -> anyhow::Result<()> {
    let is_short = report::is_short();
    let size = if is_short { Size::SHORT } else { Size::FULL };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let setup = root.join("tests/benches/broker/setup.sh");
    let has_peer = Command::new("sh").arg(setup).status().is_ok_and(|status| status.success());
    let load = machine::load();
    let folder = tempfile::tempdir()?;
    let certificates = Certificates::create(folder.path())?;
    let is_whole = only.is_none() && !is_short;
    let bench = Bench { certificates, size, has_peer, only };
    let mut rows = vec![Row {
        what: "in-process publish to in-process subscriber".to_owned(),
        unit: "msg/s",
        ours: inprocess::run(size.inprocess)?,
        peer: None,
        target: Target::Over(500_000.0),
    }];
    let _priority = process::Priority::raise();
    process::pin_self()?;
    rows.splice(0..0, bench.run()?);
    let mut facts = machine::facts(&load);
    let peer = if has_peer { process::mosquitto_version() } else { None };
    facts.insert("peer".to_owned(), peer.unwrap_or_else(|| "none".to_owned()).into());
    facts.insert("broker".to_owned(), "one core; the load generator has another".into());
    let report = Report { bench: "broker", peer: "mosquitto", rows, facts, is_short };
    report.publish(&root, is_whole && has_peer)
}

/// Measures some rows.
type Group = fn(&Bench) -> anyhow::Result<Vec<Row>>;

/// What is measured with.
struct Bench {
    certificates: Certificates,
    size: Size,
    has_peer: bool,
    /// One group of rows, if not all.
    only: Option<String>,
}

impl Bench {
    fn run(&self) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        let groups: [(&str, Group); 6] = [
            ("memory", Self::memory),
            ("throughput", Self::throughput),
            ("latency", Self::latency),
            ("fanout", Self::fanout),
            ("drops", Self::drops),
            ("storms", Self::storms),
        ];
        for (name, group) in groups {
            if self.only.as_deref().is_none_or(|only| only == name) {
                rows.extend(group(self)?);
            }
        }
        Ok(rows)
    }

    /// Measures each broker, each started for this alone.
    fn both<T>(
        &self,
        what: &str,
        measure: impl Fn(&Server) -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Option<T>)> {
        eprintln!("measuring: {what}");
        let server = Server::ours(&self.certificates)?;
        let ours = measure(&server).with_context(|| format!("{what}: our broker"))?;
        drop(server);
        if !self.has_peer {
            return Ok((ours, None));
        }
        let server = Server::peer(&self.certificates)?;
        let peer = measure(&server).with_context(|| format!("{what}: mosquitto"))?;
        Ok((ours, Some(peer)))
    }

    fn memory(&self) -> anyhow::Result<Vec<Row>> {
        let clients = self.size.clients;
        let what = format!("memory per idle connection of {clients}");
        let (ours, peer) = self.both(&what, |server| idle::plain(server, clients))?;
        let target = Target::AtMostPeerTimes(1.0);
        let plain = Row { what: what.clone(), unit: "B", ours, peer, target };
        let what = format!("{what}, mutual TLS");
        let measure = |server: &Server| idle::tls(server, &self.certificates, clients);
        let (ours, peer) = self.both(&what, measure)?;
        let target = Target::AtMostPeerTimes(0.5);
        Ok(vec![plain, Row { what, unit: "B", ours, peer, target }])
    }

    fn throughput(&self) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (publishers, window) in [(1, 100), (100, 20)] {
            let what = format!("QoS 1, {publishers} to 1");
            let measure =
                |server: &Server| qos1::run(server, publishers, window, self.size.messages);
            let (ours, peer) = self.both(&what, measure)?;
            rows.push(Row {
                what: what.clone(),
                unit: "msg/s",
                ours: ours.per_second,
                peer: peer.as_ref().map(|peer| peer.per_second),
                target: Target::None,
            });
            rows.push(Row {
                what,
                unit: "msg/CPU s",
                ours: ours.per_cpu_second,
                peer: peer.map(|peer| peer.per_cpu_second),
                target: Target::AtLeastPeerTimes(2.0),
            });
        }
        Ok(rows)
    }

    fn latency(&self) -> anyhow::Result<Vec<Row>> {
        let seconds = self.size.latency_seconds;
        let what = "QoS 1 latency at 10,000 msg/s";
        let (ours, peer) = self.both(what, |server| latency::run(server, seconds))?;
        Ok(vec![
            Row {
                what: format!("{what}, p50"),
                unit: "us",
                ours: ours.p50,
                peer: peer.as_ref().map(|peer| peer.p50),
                target: Target::None,
            },
            Row {
                what: format!("{what}, p99"),
                unit: "us",
                ours: ours.p99,
                peer: peer.map(|peer| peer.p99),
                target: Target::AtMostPeerTimes(1.0),
            },
        ])
    }

    fn fanout(&self) -> anyhow::Result<Vec<Row>> {
        let Size { clients, rounds, .. } = self.size;
        let what = format!("a message to each of {clients}, on topics of their own");
        let (ours, peer) = self.both(&what, |server| fanout::run(server, clients, rounds))?;
        let spread = Row {
            what: what.clone(),
            unit: "ms",
            ours: ours.seconds * 1_000.0,
            peer: peer.as_ref().map(|peer| peer.seconds * 1_000.0),
            target: Target::AtMostPeerTimes(0.5),
        };
        let cpu = Row {
            what,
            unit: "CPU ms",
            ours: ours.cpu_seconds * 1_000.0,
            peer: peer.map(|peer| peer.cpu_seconds * 1_000.0),
            target: Target::None,
        };
        Ok(vec![spread, cpu])
    }

    fn drops(&self) -> anyhow::Result<Vec<Row>> {
        let Size { clients, dropped, .. } = self.size;
        let what = format!("{dropped} of {clients} dropped: slowest message of another");
        let (ours, peer) = self.both(&what, |server| drops::run(server, clients, dropped))?;
        let target = Target::Under(10.0);
        Ok(vec![Row { what, unit: "ms", ours, peer, target }])
    }

    fn storms(&self) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        let count = self.size.reconnects;
        for (resumes, kind) in [(false, "full"), (true, "resumed")] {
            let what = format!("mutual TLS reconnects, {kind}");
            let measure =
                |server: &Server| handshakes::run(server, &self.certificates, resumes, count);
            let (ours, peer) = self.both(&what, measure)?;
            rows.push(Row {
                what: what.clone(),
                unit: "1/s",
                ours: ours.per_second,
                peer: peer.as_ref().map(|peer| peer.per_second),
                target: Target::None,
            });
            rows.push(Row {
                what,
                unit: "1/CPU s",
                ours: ours.per_cpu_second,
                peer: peer.map(|peer| peer.per_cpu_second),
                target: Target::AtLeastPeerTimes(1.3),
            });
            rows.push(Row {
                what: format!("the floor: handshakes of rustls alone, {kind}"),
                unit: "1/CPU s",
                ours: handshakes::bare(&self.certificates, resumes, count / 4)?,
                peer: None,
                target: Target::None,
            });
        }
        Ok(rows)
    }
}
