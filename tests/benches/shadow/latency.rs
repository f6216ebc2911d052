//! How long a write takes to a connected site, while ten thousand are connected: from the answer
//! to the backend until the site holds the message. Both leave the cloud when the write is durable,
//! so that the site may even be the first; that counts as nothing.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::fill::{self, Nodes, Shape};
use crate::http::HttpWriter;
use crate::load::Outcome;
use crate::report::{Row, Target};
use crate::service::Service;
use crate::{Bench, traffic};

/// Measures so many writes, one after the other, each to a site picked at random.
pub(crate) fn rows(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let sites = bench.size.sites;
    eprintln!("measuring: the way of a write to one of {sites} sites");
    let shape = Shape { nodes: sites, shadows: 2 };
    let data = bench.folder.join("latency");
    let nodes = fill::fill(&data, shape, sites)?;
    let (after, whole, resident) = measure(&data, &nodes, shape, bench.size.writes)?;
    let row = |what: &str, unit, ours, target| Row {
        what: format!("{sites} sites connected: {what}"),
        unit,
        ours,
        peer: None,
        target,
    };
    let after_answer = "from the answer of a write to the site";
    let whole_way = "from the request of a write to the site";
    Ok(vec![
        row(&format!("{after_answer}, p50"), "ms", after.percentile(50), Target::Under(3.0)),
        row(&format!("{after_answer}, p99"), "ms", after.percentile(99), Target::Under(15.0)),
        row(&format!("{whole_way}, p50"), "ms", whole.percentile(50), Target::None),
        row(&format!("{whole_way}, p99"), "ms", whole.percentile(99), Target::None),
        row("memory of the cloud", "MiB", resident / 1_048_576.0, Target::None),
    ])
}

#[tokio::main]
async fn measure(
    data: &std::path::Path,
    nodes: &Nodes,
    shape: Shape,
    writes: usize,
) -> anyhow::Result<(Outcome, Outcome, f64)> {
    let service = Service::start(data)?;
    let sites = traffic::connect(&service, nodes, shape.nodes).await?;
    let resident = service.process().resident()?;
    let (heard, mut arrivals) = mpsc::unbounded_channel();
    for (n, mut site) in sites.into_iter().enumerate() {
        let heard = heard.clone();
        tokio::spawn(async move {
            while site.next_change().await.is_ok() && heard.send((n, Instant::now())).is_ok() {}
        });
    }
    let mut backend = HttpWriter::connect(service.http, &service.token, shape, 1).await?;
    let mut rng = SmallRng::seed_from_u64(2);
    let (mut after, mut whole) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for _ in 0..writes {
        let n = rng.random_range(0..shape.nodes);
        let asked = Instant::now();
        backend.write(n, 1).await?;
        let answered = Instant::now();
        while let Some((heard, at)) = arrivals.recv().await {
            if heard == n {
                after.push(at.saturating_duration_since(answered).as_secs_f64() * 1_000.0);
                whole.push((at - asked).as_secs_f64() * 1_000.0);
                break;
            }
        }
    }
    let per_second = writes as f64 / began.elapsed().as_secs_f64();
    Ok((Outcome::new(per_second, after), Outcome::new(per_second, whole), resident))
}
