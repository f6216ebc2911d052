//! What is measured while a fleet runs: counters at one moment, and samples between two.

use std::time::Duration;

use super::super::machine::{self, Usage};
use super::super::squad::Carried;
use super::{Conductor, Live, News};
use crate::report::{Bytes, Sample};

const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// Counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Snapshot {
    pub(super) at: Duration,
    pub(super) cloud: Option<Usage>,
    pub(super) fleet: Usage,
    pub(super) bytes: Bytes,
    pub(super) connections: (u64, u64),
}

impl Conductor {
    pub(super) fn snapshot(&self) -> Snapshot {
        let Carried { bytes, connections } = self.crew.carried();
        Snapshot {
            at: self.began.elapsed(),
            cloud: self.config.cloud_pid.and_then(machine::usage),
            fleet: self.crew.usage(),
            bytes,
            connections,
        }
    }

    pub(super) fn sample(&mut self, news: &mut impl FnMut(News<'_>)) {
        let before = self.last_sample;
        if self.began.elapsed().saturating_sub(before.at) < SAMPLE_EVERY {
            return;
        }
        let now = self.snapshot();
        let passed = now.at.saturating_sub(before.at).as_secs_f64().max(0.001);
        let seen = self.board.seen();
        let cloud = now.cloud.zip(before.cloud);
        let sample = Sample {
            at_s: now.at.as_secs_f64(),
            up: self.board.up(),
            in_sync: seen.in_sync,
            cloud_bytes: now.cloud.map(|it| it.bytes),
            fleet_bytes: now.fleet.bytes,
            cloud_cores: cloud.map(|(now, before)| (now.cpu_s - before.cpu_s) / passed),
            fleet_cores: (now.fleet.cpu_s - before.fleet.cpu_s) / passed,
            probe_ms: self.board.take_slowest().map(|it| it.as_secs_f64() * 1_000.0),
        };
        self.last_sample = now;
        self.samples.push(sample);
        news(News::Live(Live { sample, reached: seen.reached }));
    }
}
