//! What time it is at least, for those who check certificates: a node's clock may say 1970. The
//! time is never before the agent was built, nor before a certificate was made that a trusted
//! authority signed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// When the agent was built, in seconds since 1970.
const BUILT_S: &str = env!("GNOMON_BUILT_S");

/// The node's clock, and what is known to be past.
#[derive(Debug)]
pub struct Clock {
    past_s: AtomicU64,
    system_s: fn() -> u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(0, || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()))
    }
}

impl Clock {
    /// A clock that knows `past_s` to be past, over one that may be wrong.
    pub fn new(past_s: u64, system_s: fn() -> u64) -> Self {
        let built_s = BUILT_S.parse().unwrap_or(0);
        Self { past_s: AtomicU64::new(past_s.max(built_s)), system_s }
    }

    /// What is known to be past, in seconds since 1970.
    pub fn past_s(&self) -> u64 {
        self.past_s.load(Ordering::Relaxed)
    }

    /// The present, as far as it can be known.
    pub fn now_s(&self) -> u64 {
        (self.system_s)().max(self.past_s())
    }

    /// By this moment the present has come.
    pub fn learn(&self, past_s: u64) {
        self.past_s.fetch_max(past_s, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(self.now_s()))
    }
}

/// When a certificate begins to be valid; `None` if it cannot be read.
pub(super) fn begins(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    u64::try_from(parsed.validity().not_before.timestamp()).ok()
}

pub(super) fn unix(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_never_before_what_is_known_to_be_past() {
        let clock = Clock::new(0, || 0);
        let built = clock.now_s();
        assert!(built > 1_760_000_000, "the build is later than 2025: {built}");
        clock.learn(built + 100);
        clock.learn(built + 50);
        assert_eq!((clock.now_s(), clock.past_s()), (built + 100, built + 100));
        let right = Clock::new(0, || 4_000_000_000);
        assert_eq!(right.now_s(), 4_000_000_000);
    }
}
