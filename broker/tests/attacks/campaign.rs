//! One attack from its beginning to its judgement.

use std::time::{Duration, Instant};

use crate::harness::DEADLINE;
use crate::latency::Prober;
use crate::target::Target;

/// Only one attack at a time, so that each is measured alone.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The latency that a probe client may see while the broker has a processor whenever it wants one.
const ALLOWED: Duration = Duration::from_millis(50);

/// An attack is repeated for so long, so that the probe client is served often enough to tell.
const AT_LEAST: Duration = Duration::from_secs(1);

/// What may stay of the broker's memory (KiB): the allocator gives back pages, not bytes.
const LEFT_OVER: u64 = 16 * 1024;

/// How much larger the attacks are than in `make test`.
pub(crate) fn scale() -> usize {
    if std::env::var("GNOMON_ATTACKS").is_ok_and(|value| value == "full") { 10 } else { 1 }
}

/// Runs an attack on a broker with `changes` to its limits and judges what it did.
pub(crate) async fn campaign(name: &str, changes: &str, attack: impl AsyncFn(&Target)) {
    let _alone = ALONE.lock().await;
    let target = Target::start(changes, None);
    let (probe, echo) = (Prober::of_broker(target.plain), Prober::of_echo(target.echo));
    // What the first attack of a kind needs once (code, tables, buffers) is not counted.
    tokio::time::sleep(Duration::from_millis(250)).await;
    let base = target.resident();
    let (before, echo_before) = (probe.take(), echo.take());

    let (ran, waited) = target.scheduled();
    let begin = Instant::now();
    while begin.elapsed() < AT_LEAST {
        attack(&target).await;
    }

    let (during, echo_during) = (probe.take(), echo.take());
    let after = target.scheduled();
    let (ran, waited) = (after.0.saturating_sub(ran), after.1.saturating_sub(waited));
    // What the machine had left for the broker, with everything else that runs on it.
    let slowness = 1.0 + waited.as_secs_f64() / ran.as_secs_f64().max(0.001);
    target.metric_is("connections", 1).await;
    target.metric_is("sessions", 1).await;
    let peak = target.resident();
    let is_back = settles(|| target.resident() <= base + LEFT_OVER).await;
    let after = target.resident();
    probe.end();
    echo.end();
    eprintln!(
        "{name}: slowed down {slowness:.1} times by others; before {before}; during {during}; echo {echo_before}, then {echo_during}; \
         memory {base} KiB, {peak} KiB at its end, then {after} KiB"
    );
    assert!(is_back, "{name}: {after} KiB of memory are not given back, it began with {base} KiB");
    let control = before.p99().max(echo_before.p99()).max(echo_during.p99());
    assert!(
        during.p99() < ALLOWED.mul_f64(slowness).max(control * 5),
        "{name}: the probe client's p99 was {:?}",
        during.p99()
    );
    let complaints = target.end();
    assert!(!complaints.contains("panicked"), "{name}: {complaints}");
}

/// Whether a condition comes true within the deadline.
async fn settles(condition: impl Fn() -> bool) -> bool {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let wait = async {
        while !condition() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.is_ok()
}
