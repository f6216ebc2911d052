//! Lets the other tasks of its thread run now and then while a round is long: what thousands of nodes
//! say at once must not keep the broker from serving those who are here.

use std::time::{Duration, Instant};

/// For how long a round goes on without a pause.
const SLICE: Duration = Duration::from_millis(1);

/// Since when a round has gone on.
#[derive(Debug)]
pub(super) struct Breath(Instant);

impl Breath {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// Lets others run, if it is time.
    pub(super) async fn draw(&mut self) {
        if self.0.elapsed() >= SLICE {
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// On a runtime with one thread, as the task has it that shares its thread with a round.
    #[tokio::test]
    async fn another_task_runs_before_long_work_is_done() {
        let has_run = Arc::new(AtomicBool::new(false));
        let other = Arc::clone(&has_run);
        let other = tokio::spawn(async move { other.store(true, Ordering::Relaxed) });
        let (mut breath, began) = (Breath::new(), Instant::now());
        while !has_run.load(Ordering::Relaxed) {
            assert!(began.elapsed() < Duration::from_secs(10), "nobody else has run");
            breath.draw().await;
        }
        assert!(began.elapsed() >= SLICE, "before that it goes on");
        other.await.unwrap();
    }
}
