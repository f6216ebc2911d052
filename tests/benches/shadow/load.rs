//! Many connections that each ask for one thing after the other: as fast as they are answered, or
//! at a given rate, where the time that a request waits for its turn counts.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

/// Something that can be asked again and again; returns when the answer is there.
pub(crate) trait Client: Send + 'static {
    fn ask(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// How long each answer took, in milliseconds, in order, and how many there were in a second.
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    times: Vec<f64>,
}

impl Outcome {
    pub(crate) fn new(per_second: f64, mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self { per_second, times }
    }

    /// What so many of 100 answers took at most.
    pub(crate) fn percentile(&self, share: usize) -> f64 {
        let at = self.times.len() * share / 100;
        self.times.get(at).or(self.times.last()).copied().unwrap_or(f64::NAN)
    }
}

/// What is not counted, so that everything is warm.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);

/// Asks for so long, all together `per_second` times a second, or as often as there are answers.
/// Gives back the clients for more.
pub(crate) async fn run<C: Client>(
    clients: Vec<C>,
    lasts: Duration,
    per_second: Option<f64>,
) -> anyhow::Result<(Outcome, Vec<C>)> {
    let count = clients.len() as f64;
    let start = Instant::now();
    let (counted, end) = (start + WARM_UP, start + WARM_UP + lasts);
    let mut tasks = JoinSet::new();
    for (n, mut client) in clients.into_iter().enumerate() {
        let every = per_second.map(|rate| Duration::from_secs_f64(count / rate));
        let mut due = start + every.unwrap_or_default().mul_f64(n as f64 / count);
        tasks.spawn(async move {
            let mut times = Vec::new();
            loop {
                if every.is_some() {
                    tokio::time::sleep_until(due).await;
                } else {
                    due = Instant::now();
                }
                if due >= end {
                    return anyhow::Ok((client, times));
                }
                client.ask().await?;
                if due >= counted && Instant::now() <= end {
                    times.push(due.elapsed().as_secs_f64() * 1_000.0);
                }
                due += every.unwrap_or_default();
            }
        });
    }
    let (mut times, mut clients) = (Vec::new(), Vec::new());
    while let Some(ended) = tasks.join_next().await {
        let (client, own) = ended??;
        times.extend(own);
        clients.push(client);
    }
    let per_second = times.len() as f64 / lasts.as_secs_f64();
    Ok((Outcome::new(per_second, times), clients))
}
