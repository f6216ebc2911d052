//! Waiting: always with a deadline, always able to say what was waited for and what was seen.

use std::time::Duration;

use tokio::time::Instant;

use super::cast::Cast;
use super::reason;
use super::screen::Screen;
use crate::exit::Failure;

/// What one look at the world showed.
pub(super) enum Look<T> {
    Done(T),
    /// In the words that the failure will use.
    NotYet(String),
}

/// The screen and the processes: what every wait needs.
pub(super) struct Backstage {
    pub(super) screen: Screen,
    pub(super) cast: Cast,
}

impl Backstage {
    /// Looks again and again until it is done. A look that fails counts as not yet; a process of
    /// the demo that ended counts as failure at once.
    pub(super) async fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl AsyncFnMut() -> anyhow::Result<Look<T>>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        let deadline = started + limit;
        let mut waiting = self.screen.wait(what);
        let mut pause = Duration::from_millis(20);
        loop {
            let seen = match tokio::time::timeout_at(deadline, look()).await {
                Ok(Ok(Look::Done(value))) => return Ok(value),
                Ok(Ok(Look::NotYet(seen))) => seen,
                Ok(Err(error)) => reason(&error),
                Err(_) => "no answer".to_owned(),
            };
            self.cast.check_alive()?;
            waiting.update(&seen);
            if Instant::now() + pause > deadline {
                let seconds = started.elapsed().as_secs();
                let text = format!("waited {seconds} s until {what}; last seen: {seen}");
                return Err(Failure::TimedOut(text).into());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(150));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;

    fn backstage(logs: &tempfile::TempDir) -> Backstage {
        Backstage { screen: Screen::new(), cast: Cast::new(logs.path().to_owned()) }
    }

    #[tokio::test]
    async fn a_wait_that_is_too_long_says_what_for_and_what_was_seen() {
        let logs = tempfile::tempdir().unwrap();
        let look = async || Ok(Look::<()>::NotYet("v1".to_owned()));
        let limit = Duration::from_millis(50);
        let error = backstage(&logs).until("v2 runs", limit, look).await.unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s until v2 runs; last seen: v1");
        assert_eq!(exit::code(&error), 7);
    }

    #[tokio::test]
    async fn a_failed_look_is_not_the_end() {
        let logs = tempfile::tempdir().unwrap();
        let mut looks = 0;
        let mut back = backstage(&logs);
        let found = back.until("it is there", Duration::from_secs(5), async || {
            looks += 1;
            anyhow::ensure!(looks > 2, "not there");
            Ok(Look::Done(looks))
        });
        assert_eq!(found.await.unwrap(), 3);
    }
}
