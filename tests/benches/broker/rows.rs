//! What is measured: each function measures one broker, and is run for each of them.

pub(crate) mod drops;
pub(crate) mod fanout;
pub(crate) mod handshakes;
pub(crate) mod idle;
pub(crate) mod inprocess;
pub(crate) mod latency;
pub(crate) mod qos1;

/// How much work a run does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) clients: usize,
    pub(crate) dropped: usize,
    pub(crate) messages: usize,
    pub(crate) latency_seconds: u64,
    pub(crate) reconnects: usize,
    pub(crate) inprocess: usize,
    pub(crate) rounds: usize,
}

impl Size {
    /// The figures that count.
    pub(crate) const FULL: Self = Self {
        clients: 10_000,
        dropped: 2_000,
        messages: 400_000,
        latency_seconds: 5,
        reconnects: 4_000,
        inprocess: 3_000_000,
        rounds: 7,
    };

    /// Enough to see that everything works, in well under a minute.
    pub(crate) const SHORT: Self = Self {
        clients: 500,
        dropped: 100,
        messages: 50_000,
        latency_seconds: 1,
        reconnects: 400,
        inprocess: 300_000,
        rounds: 3,
    };
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
