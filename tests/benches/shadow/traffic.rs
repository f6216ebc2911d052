//! Durable writes over HTTP and durable reports over MQTT: how many in a second, and how long they
//! take at half of that; the same of the home-made stack, and what the disk alone could do.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::task::JoinSet;

use crate::fill::{self, Nodes, Shape};
use crate::homemade::{self, HomeMade, HomeSite};
use crate::http::{HttpBatcher, HttpWriter};
use crate::load::{self, Client};
use crate::report::{Row, Target};
use crate::service::Service;
use crate::site::Site;
use crate::{Bench, Size, disk, stages};

/// What one kind of traffic does at most, and at half of that.
struct Traffic {
    per_second: f64,
    /// What one takes of the service's processor, in microseconds, the load generator's not counted.
    cpu_us: Option<f64>,
    p50: f64,
    p99: f64,
}

impl Traffic {
    /// The same, where each request is so many.
    fn times(self, each: usize) -> Self {
        let each = each as f64;
        let cpu_us = self.cpu_us.map(|cpu_us| cpu_us / each);
        Self { per_second: self.per_second * each, cpu_us, ..self }
    }
}

/// How many sites connect at once.
const AT_ONCE: usize = 200;

/// Writes over HTTP.
pub(crate) fn writes(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let (shape, connections) = (bench.shape(), bench.size.connections);
    let data = bench.folder.join("writes");
    fill::fill(&data, shape, 0)?;
    let ours = ours_over_http(&data, shape, connections, bench.size.lasts)?;
    let peer = as_peer(home_over_http(bench));
    let what = format!("durable writes over HTTP, {connections} connections");
    rows(bench, &what, fill::bytes_of_write()?, &ours, peer.as_ref())
}

/// Writes over HTTP, many of them in a request.
pub(crate) fn batches(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let (shape, connections) = (bench.shape(), bench.size.batchers);
    let data = bench.folder.join("batches");
    fill::fill(&data, shape, 0)?;
    let ours = ours_in_batches(&data, shape, bench.size)?;
    let peer = as_peer(home_in_batches(bench));
    let batch = bench.size.batch;
    let what = format!("durable writes over HTTP, {batch} in a request, {connections} connections");
    rows(bench, &what, fill::bytes_of_write()?, &ours, peer.as_ref())
}

/// Reports over MQTT.
pub(crate) fn reports(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let connections = bench.size.connections;
    let data = bench.folder.join("reports");
    let nodes = fill::fill(&data, bench.shape(), connections)?;
    let ours = ours_over_mqtt(&data, &nodes, connections, bench.size.lasts)?;
    let peer = as_peer(home_over_mqtt(bench));
    let what = format!("durable reports over MQTT, {connections} sites");
    rows(bench, &what, fill::bytes_of_report()?, &ours, peer.as_ref())
}

/// A peer that fails leaves its column empty, and our figures as they are.
fn as_peer(measured: anyhow::Result<Option<Traffic>>) -> Option<Traffic> {
    measured.unwrap_or_else(|error| {
        eprintln!("the home-made stack failed: {error:#}");
        None
    })
}

fn rows(
    bench: &Bench<'_>,
    what: &str,
    bytes: usize,
    ours: &Traffic,
    peer: Option<&Traffic>,
) -> anyhow::Result<Vec<Row>> {
    let batch = bench.size.connections;
    let limit = disk::limit(bench.folder, bytes, batch, bench.size.lasts / 2)?;
    let row = |what: String, unit, ours, peer, target| Row { what, unit, ours, peer, target };
    let of_disk = format!("{what}; peer: the disk, {bytes} B each, {batch} a sync");
    let at_half = format!("{what}, at half of that");
    let (p50, p99) = (peer.map(|peer| peer.p50), peer.map(|peer| peer.p99));
    let per_second = peer.map(|peer| peer.per_second);
    let cpu_us = ours.cpu_us.unwrap_or(f64::NAN);
    Ok(vec![
        row(what.to_owned(), "1/s", ours.per_second, per_second, Target::AtLeastPeerTimes(20.0)),
        row(of_disk, "1/s", ours.per_second, Some(limit.per_second), Target::AtLeastPeerTimes(0.5)),
        row(format!("{what}, of the service alone"), "CPU us", cpu_us, None, Target::None),
        row(format!("{at_half}, p50"), "ms", ours.p50, p50, Target::None),
        row(format!("{at_half}, p99"), "ms", ours.p99, p99, Target::Under(50.0)),
    ])
}

#[tokio::main]
async fn ours_over_http(
    data: &Path,
    shape: Shape,
    connections: usize,
    lasts: Duration,
) -> anyhow::Result<Traffic> {
    eprintln!("measuring: writes over HTTP");
    let service = Service::start(data)?;
    let writers = HttpWriter::many(service.http, &service.token, shape, connections).await?;
    measure(writers, lasts, Some(&service)).await
}

#[tokio::main]
async fn ours_in_batches(data: &Path, shape: Shape, size: Size) -> anyhow::Result<Traffic> {
    eprintln!("measuring: writes over HTTP, in batches");
    let service = Service::start(data)?;
    let (http, token) = (service.http, &service.token);
    let writers = HttpBatcher::many(http, token, shape, size.batchers, size.batch).await?;
    Ok(measure(writers, size.lasts, Some(&service)).await?.times(size.batch))
}

#[tokio::main]
async fn ours_over_mqtt(
    data: &Path,
    nodes: &Nodes,
    connections: usize,
    lasts: Duration,
) -> anyhow::Result<Traffic> {
    eprintln!("measuring: reports over MQTT");
    let service = Service::start(data)?;
    measure(connect(&service, nodes, connections).await?, lasts, Some(&service)).await
}

/// Connects so many sites.
pub(crate) async fn connect(
    service: &Service,
    nodes: &Nodes,
    count: usize,
) -> anyhow::Result<Vec<Site>> {
    let mut sites = Vec::with_capacity(count);
    let numbers: Vec<usize> = (0..count).collect();
    for chunk in numbers.chunks(AT_ONCE) {
        let mut tasks = JoinSet::new();
        for &n in chunk {
            let mqtt = service.mqtt;
            let config = nodes.config(n)?;
            tasks.spawn(async move { Ok((n, Site::connect(mqtt, config, n).await?)) });
        }
        let mut own = Vec::new();
        while let Some(site) = tasks.join_next().await {
            let site: anyhow::Result<_> = site?;
            own.push(site.context("connecting a site")?);
        }
        own.sort_by_key(|(n, _)| *n);
        sites.extend(own.into_iter().map(|(_, site)| site));
    }
    Ok(sites)
}

#[tokio::main]
async fn home_over_http(bench: &Bench<'_>) -> anyhow::Result<Option<Traffic>> {
    let Some(venv) = &bench.venv else { return Ok(None) };
    eprintln!("measuring: writes over HTTP, home-made");
    let folder = bench.folder.join("home-writes");
    std::fs::create_dir_all(&folder)?;
    let stack = HomeMade::start(bench.root, venv, &folder)?;
    let (token, shape) = (homemade::TOKEN, bench.shape());
    let writers = HttpWriter::many(stack.http, token, shape, bench.size.connections).await?;
    measure(writers, bench.size.lasts, None).await.map(Some)
}

#[tokio::main]
async fn home_in_batches(bench: &Bench<'_>) -> anyhow::Result<Option<Traffic>> {
    let Some(venv) = &bench.venv else { return Ok(None) };
    eprintln!("measuring: writes over HTTP, in batches, home-made");
    let folder = bench.folder.join("home-batches");
    std::fs::create_dir_all(&folder)?;
    let stack = HomeMade::start(bench.root, venv, &folder)?;
    let (token, shape, size) = (homemade::TOKEN, bench.shape(), bench.size);
    let writers = HttpBatcher::many(stack.http, token, shape, size.batchers, size.batch).await?;
    Ok(Some(measure(writers, size.lasts, None).await?.times(size.batch)))
}

#[tokio::main]
async fn home_over_mqtt(bench: &Bench<'_>) -> anyhow::Result<Option<Traffic>> {
    let Some(venv) = &bench.venv else { return Ok(None) };
    eprintln!("measuring: reports over MQTT, home-made");
    let folder = bench.folder.join("home-reports");
    std::fs::create_dir_all(&folder)?;
    let stack = HomeMade::start(bench.root, venv, &folder)?;
    let mut sites = Vec::new();
    for n in 0..bench.size.connections {
        sites.push(HomeSite::connect(stack.mqtt, n).await?);
    }
    measure(sites, bench.size.lasts, None).await.map(Some)
}

/// As fast as it goes, and then at half of that.
async fn measure<C: Client>(
    clients: Vec<C>,
    lasts: Duration,
    service: Option<&Service>,
) -> anyhow::Result<Traffic> {
    let cpu = || service.map(|service| service.process().cpu()).transpose();
    let before = cpu()?;
    let (most, clients) = load::run(clients, lasts, None).await?;
    // The warm-up is in the processor's time and not in the count.
    let counted = most.per_second * (lasts + load::WARM_UP).as_secs_f64();
    ensure!(most.per_second > 0.0, "nothing was answered for {lasts:?}");
    let cpu_us = cpu()?.zip(before).map(|(after, before)| (after - before) * 1e6 / counted);
    let rate = most.per_second / 2.0;
    let http = service.map(|service| service.http);
    let watching = http.map(|http| tokio::spawn(stages::watch(http, lasts)));
    let (half, _clients) = load::run(clients, lasts, Some(rate)).await?;
    if let Some(watching) = watching {
        eprintln!("  half the rate, slowest round: {}", watching.await??);
        eprintln!("  worst answer: {:.1} ms", half.percentile(100));
    }
    let (p50, p99) = (half.percentile(50), half.percentile(99));
    Ok(Traffic { per_second: most.per_second, cpu_us, p50, p99 })
}
