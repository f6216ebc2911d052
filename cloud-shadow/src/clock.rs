//! The one place that asks what time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gnomon_sync::Moment;

use crate::domain::Now;

/// Tells the time since its own start, and the date.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time.
    pub fn now(self) -> Now {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let moment = Moment::from_millis(millis(self.start.elapsed()));
        Now { moment, unix_ms: millis(since_1970()) }
    }

    /// Returns when the moment has come; at once if it has passed.
    pub async fn until(self, moment: Moment) {
        let instant = self.start + Duration::from_millis(moment.as_millis());
        tokio::time::sleep_until(instant.into()).await;
    }
}

/// The date in milliseconds since 1970.
pub fn unix_ms() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

/// The date; 1970 if the machine believes to be before that.
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
