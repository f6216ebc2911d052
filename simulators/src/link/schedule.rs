//! The decision of the emulator: what happens to one chunk of a stream, and when.
//! Pure: time is an argument, randomness is handed in.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::{Direction, Profile};

/// The largest chunk a stream is cut into: one lost chunk is one lost segment.
pub const SEGMENT_BYTES: usize = 1024;

/// A run of bytes on its way through the link; an end of stream is a chunk of no bytes.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// Which way it goes.
    pub direction: Direction,
    /// How long it is.
    pub bytes: u64,
}

/// What happens to a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It left now and arrives then.
    Deliver {
        /// When it arrives; never before an earlier chunk of the same stream.
        at: Duration,
        /// What a lost segment added to it.
        stalled: Duration,
    },
    /// The rate is used up: ask again then, and keep the chunk first in line.
    Wait {
        /// The earliest time that can have another answer while the profile stays.
        until: Duration,
    },
    /// The link is down: ask again when it is up.
    Down,
    /// The connection was forgotten on the way: the chunk goes nowhere.
    Forgotten,
}

/// One direction of a link, shared by all its connections.
#[derive(Clone, Debug)]
pub struct DirectionState {
    /// Whether anything passes.
    pub is_up: bool,
    /// When the token bucket is full again.
    bucket_full_at: Duration,
}

impl DirectionState {
    /// A direction that is up and has its whole burst to give.
    pub fn new() -> Self {
        Self { is_up: true, bucket_full_at: Duration::ZERO }
    }

    /// Takes `bytes` from the bucket, or says when they can be taken.
    fn take(&mut self, now: Duration, bytes: u64, rate: u64) -> Result<(), Duration> {
        if rate == 0 {
            return Ok(());
        }
        let depth = time_of(burst_bytes(rate).max(bytes), rate);
        let full_at = self.bucket_full_at.clamp(now, now.saturating_add(depth));
        let full_at = full_at.saturating_add(time_of(bytes, rate));
        let until = full_at.saturating_sub(depth);
        if until > now {
            return Err(until);
        }
        self.bucket_full_at = full_at;
        Ok(())
    }
}

impl Default for DirectionState {
    fn default() -> Self {
        Self::new()
    }
}

/// What the link remembers of one connection.
#[derive(Clone, Debug)]
pub struct ConnectionState {
    established: Duration,
    last_arrival_up: Duration,
    last_arrival_down: Duration,
    last_passed: Duration,
    forgotten: bool,
}

impl ConnectionState {
    /// A connection opened now: its first byte can leave one round trip later, as after a real handshake.
    pub fn open<R: Rng + ?Sized>(now: Duration, profile: &Profile, rng: &mut R) -> Self {
        let established =
            now.saturating_add(transit(profile, rng)).saturating_add(transit(profile, rng));
        Self {
            established,
            last_arrival_up: now,
            last_arrival_down: now,
            last_passed: now,
            forgotten: false,
        }
    }

    fn last_arrival(&mut self, direction: Direction) -> &mut Duration {
        match direction {
            Direction::Up => &mut self.last_arrival_up,
            Direction::Down => &mut self.last_arrival_down,
        }
    }
}

/// Decides the fate of the first chunk in line of a direction.
///
/// Times are since any fixed instant and must not run backwards. Nothing changes unless the chunk
/// is delivered or its connection forgotten.
pub fn schedule<R: Rng + ?Sized>(
    now: Duration,
    chunk: Chunk,
    profile: &Profile,
    rng: &mut R,
    line: &mut DirectionState,
    connection: &mut ConnectionState,
) -> Fate {
    if !line.is_up {
        return Fate::Down;
    }
    let idle = now.saturating_sub(connection.last_passed);
    if profile.nat_idle_ms > 0 && idle > Duration::from_millis(profile.nat_idle_ms) {
        connection.forgotten = true;
    }
    if connection.forgotten {
        return Fate::Forgotten;
    }
    if let Err(until) = line.take(now, chunk.bytes, profile.rate(chunk.direction)) {
        return Fate::Wait { until };
    }
    connection.last_passed = now;
    let stalled = stall(chunk.bytes, profile, rng);
    let departs = match chunk.direction {
        Direction::Up => now.max(connection.established),
        Direction::Down => now,
    };
    let arrives = departs.saturating_add(transit(profile, rng)).saturating_add(stalled);
    let previous = connection.last_arrival(chunk.direction);
    let at = arrives.max(*previous);
    *previous = at;
    Fate::Deliver { at, stalled }
}

/// What can leave at once after a pause: 20 ms worth of the rate, and at least four segments.
pub fn burst_bytes(rate_bytes_per_s: u64) -> u64 {
    (rate_bytes_per_s / 50).max(4 * SEGMENT_BYTES as u64)
}

/// Draws when a connection opened or looked at now is reset by the link.
pub(crate) fn draw_reset<R: Rng + ?Sized>(
    now: Duration,
    profile: &Profile,
    rng: &mut R,
) -> Option<Duration> {
    if profile.resets_per_minute <= 0.0 {
        return None;
    }
    // Certainty has no finite rate: a link that resets all but every connection is bad enough.
    let survive = (1.0 - profile.resets_per_minute).max(1e-9);
    let mean = scaled(Duration::from_mins(1), 1.0 / -survive.ln());
    Some(now.saturating_add(exponential(mean, rng)))
}

/// Draws a time from the exponential distribution with that mean.
pub(super) fn exponential<R: Rng + ?Sized>(mean: Duration, rng: &mut R) -> Duration {
    scaled(mean, -(1.0 - rng.random::<f64>()).ln())
}

/// Multiplies without a panic, up to about a year.
pub(crate) fn scaled(time: Duration, factor: f64) -> Duration {
    const YEAR: Duration = Duration::from_hours(365 * 24);
    Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(YEAR).min(YEAR)
}

fn transit<R: Rng + ?Sized>(profile: &Profile, rng: &mut R) -> Duration {
    let jitter = scaled(Duration::from_millis(profile.jitter_ms), rng.random::<f64>());
    profile.delay().saturating_add(jitter)
}

fn stall<R: Rng + ?Sized>(bytes: u64, profile: &Profile, rng: &mut R) -> Duration {
    /// As many as Linux makes before it gives a connection up.
    const RETRANSMISSIONS: usize = 15;
    let segments = bytes.div_ceil(SEGMENT_BYTES as u64).max(1);
    if !(0..segments).any(|_| chance(profile.loss_per_kib, rng)) {
        return Duration::ZERO;
    }
    let (mut total, mut pause_ms) = (Duration::ZERO, profile.stall_ms);
    for _ in 0..RETRANSMISSIONS {
        total = total.saturating_add(Duration::from_millis(pause_ms.min(profile.stall_cap_ms)));
        pause_ms = pause_ms.saturating_mul(2);
        if !chance(profile.loss_repeat, rng) {
            break;
        }
    }
    total
}

fn chance<R: Rng + ?Sized>(probability: f64, rng: &mut R) -> bool {
    probability > 0.0 && rng.random::<f64>() < probability
}

/// How long a rate takes for that many bytes, rounded up so that a rate is never exceeded.
fn time_of(bytes: u64, rate: u64) -> Duration {
    let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
