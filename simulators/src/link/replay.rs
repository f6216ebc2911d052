//! Lets a running link behave as a trace says, and records a trace of a real one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until, timeout};

use super::control::Emulated;
use super::trace::{Point, Trace};
use super::{InvalidProfile, Profile};

/// Probes of one point.
const PROBES: u32 = 5;

/// Lets a link behave as a trace says, over and over again; returns only if it cannot.
pub async fn replay(link: &Emulated, trace: &Trace) -> InvalidProfile {
    let (began, base) = (tokio::time::Instant::now(), link.profile());
    loop {
        let moment = match trace.at(began.elapsed(), &base) {
            Ok(moment) => moment,
            Err(error) => return error,
        };
        if let Err(error) = link.set_profile(moment.profile) {
            return error;
        }
        if moment.is_up {
            link.up();
        } else {
            link.down();
        }
        sleep_until(began + moment.until).await;
    }
}

/// Records how long a TCP handshake with a server takes and how many go unanswered: a point every
/// so often, for so long. The rate is not measured, for that costs what is measured: it is what the
/// caller knows.
pub async fn record(
    server: SocketAddr,
    every: Duration,
    length: Duration,
    rate: u64,
    mut told: impl FnMut(&Point),
) -> Option<Trace> {
    let began = Instant::now();
    let mut points = Vec::new();
    while began.elapsed() < length {
        let at = if points.is_empty() { Duration::ZERO } else { began.elapsed() };
        let (mut took, patience) = (Vec::new(), every / PROBES);
        for _ in 0..PROBES {
            let asked = Instant::now();
            // A server that refuses has answered.
            if timeout(patience, TcpStream::connect(server)).await.is_ok() {
                took.push(asked.elapsed());
            }
            sleep(patience.saturating_sub(asked.elapsed())).await;
        }
        took.sort_unstable();
        let answered = u32::try_from(took.len()).unwrap_or(PROBES);
        let median = took.get(took.len() / 2).map(|took| took.as_secs_f64() * 1_000.0);
        let loss = f64::from(PROBES - answered) / f64::from(PROBES);
        let point = Point { at, rtt_ms: median, loss, rate };
        told(&point);
        points.push(point);
    }
    Trace::of(points)
}

/// A profile of which a trace says the rest.
pub fn base() -> Profile {
    Profile { stall_cap_ms: 15_000, ..Profile::perfect() }
}
