//! Whether a measure of a process stays where it is. Pure.

use serde::{Deserialize, Serialize};

/// What is measured of a process and its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// Resident memory, in KiB.
    MemoryKib,
    /// Open file handles.
    Files,
    /// Threads.
    Threads,
    /// What its data take on the disk, in KiB.
    DiskKib,
}

impl Measure {
    pub(crate) const ALL: [Self; 4] = [Self::MemoryKib, Self::Files, Self::Threads, Self::DiskKib];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MemoryKib => "memory, KiB",
            Self::Files => "file handles",
            Self::Threads => "threads",
            Self::DiskKib => "disk, KiB",
        }
    }

    /// By how much it may differ from one hour to the next whatever its size: what an allocator, a
    /// pool of threads or a file that is about to be compacted move by.
    const fn play(self) -> f64 {
        match self {
            Self::MemoryKib => 3.0 * 1024.0,
            Self::Files => 8.0,
            Self::Threads => 3.0,
            Self::DiskKib => 4.0 * 1024.0,
        }
    }
}

/// The share of its size that a measure may grow by in an hour and still be called flat.
const FLAT: f64 = 0.05;
/// The part of the run in which everything fills up: caches, histories, pools.
const WARM_UP: f64 = 0.4;

/// How a measure went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trend {
    pub(crate) who: String,
    pub(crate) measure: Measure,
    /// In the middle of the samples after the warm-up.
    pub(crate) typical: f64,
    pub(crate) most: f64,
    /// The slope after the warm-up, by the hour.
    pub(crate) per_hour: f64,
    pub(crate) is_flat: bool,
}

/// The trend of samples in the order of time: seconds since the begin, and the measure. `None`:
/// there are too few.
pub(crate) fn trend(who: &str, measure: Measure, samples: &[(f64, f64)]) -> Option<Trend> {
    let (begin, end) = (samples.first()?.0, samples.last()?.0);
    let warm = begin + (end - begin) * WARM_UP;
    let steady: Vec<_> = samples.iter().copied().filter(|(at, _)| *at >= warm).collect();
    let per_hour = slope(&steady)? * 3600.0;
    let mut sizes: Vec<_> = steady.iter().map(|(_, size)| *size).collect();
    sizes.sort_by(f64::total_cmp);
    let typical = sizes.get(sizes.len() / 2).copied()?;
    let most = samples.iter().map(|(_, size)| *size).fold(0.0, f64::max);
    // By what it has grown, not by what it would grow: the slope of a short run is mostly noise.
    let grown = per_hour * (end - warm) / 3600.0;
    let is_flat = grown <= (typical * FLAT).max(measure.play());
    Some(Trend { who: who.to_owned(), measure, typical, most, per_hour, is_flat })
}

/// The median of the slopes between all pairs of samples (Theil-Sen): no peak bends it.
fn slope(samples: &[(f64, f64)]) -> Option<f64> {
    let pairs = samples.iter().enumerate().flat_map(|(n, a)| {
        let later = samples.get(n + 1..).unwrap_or_default();
        later.iter().map(move |b| (b.1 - a.1) / (b.0 - a.0))
    });
    let mut slopes: Vec<_> = pairs.collect();
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(measure: Measure, size: impl Fn(f64) -> f64) -> Trend {
        let samples: Vec<_> = (0..360).map(|n| (f64::from(n) * 10.0, size(f64::from(n)))).collect();
        trend("cloud", measure, &samples).unwrap()
    }

    #[test]
    fn what_fills_up_at_first_and_then_breathes_is_flat() {
        let breathing = |n: f64| 80_000.0 + (n.min(100.0) * 300.0) + (n % 17.0) * 200.0;
        let trend = of(Measure::MemoryKib, breathing);
        assert!(trend.is_flat, "{trend:?}");
        assert!(trend.typical > 110_000.0 && trend.most < 114_000.0, "{trend:?}");
    }

    #[test]
    fn a_leak_is_seen_below_its_noise() {
        let leaking = |n: f64| 20_000.0 + n * 30.0 + (n % 7.0) * 500.0;
        let trend = of(Measure::MemoryKib, leaking);
        assert!(!trend.is_flat, "{trend:?}");
        assert!((trend.per_hour - 10_800.0).abs() < 600.0, "{trend:?}");
        assert!(!of(Measure::Files, |n| 30.0 + n / 10.0).is_flat);
        assert!(!of(Measure::Threads, |n| 9.0 + n / 40.0).is_flat);
        assert!(!of(Measure::DiskKib, |n| 5_000.0 + n * 100.0).is_flat);
    }

    #[test]
    fn one_peak_is_no_slope_and_what_shrinks_is_flat() {
        let peak = |n: f64| if n > 350.0 { 90_000.0 } else { 30_000.0 };
        assert!(of(Measure::MemoryKib, peak).is_flat);
        assert!(of(Measure::DiskKib, |n| 90_000.0 - n * 100.0).is_flat);
        assert_eq!(trend("cloud", Measure::Files, &[(0.0, 1.0)]), None);
    }
}
