//! How slow the machine is now: patience is measured in it, promises are not.

use std::time::{Duration, Instant};

use gnomon_tests::process::run;

/// What the start of a program takes on a machine that is not busy.
const NOMINAL: Duration = Duration::from_millis(30);
const SAMPLES: usize = 5;
const MOST: f64 = 8.0;

/// How many times slower it is than a machine that is not busy; at least 1.
pub(crate) fn factor() -> f64 {
    let mut times: Vec<_> = (0..SAMPLES)
        .map(|_| {
            let began = Instant::now();
            run("gnomon-edge", &["--version"], &[]);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times[SAMPLES / 2].as_secs_f64() / NOMINAL.as_secs_f64()).clamp(1.0, MOST)
}
