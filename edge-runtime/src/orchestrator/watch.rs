//! The hint that something changed and should be observed again. It carries no facts.

use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A stream of hints; dropping it ends the watching.
#[derive(Debug)]
pub struct Watch {
    hints: watch::Receiver<u64>,
    task: Option<AbortHandle>,
}

/// The side that gives the hints.
#[derive(Debug, Clone)]
pub(super) struct Hinter(watch::Sender<u64>);

impl Watch {
    /// Waits until something changed since the last call, or may have. Hints that come together
    /// are one hint. Safe to cancel.
    pub async fn changed(&mut self) {
        if self.hints.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn until_dropped(mut self, task: AbortHandle) -> Self {
        self.task = Some(task);
        self
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Hinter {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(super) fn hint(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn watch(&self) -> Watch {
        Watch { hints: self.0.subscribe(), task: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hint_given_before_the_wait_is_not_lost() {
        let hinter = Hinter::new();
        let mut watch = hinter.watch();
        hinter.hint();
        hinter.hint();
        watch.changed().await;
        let again = tokio::time::timeout(std::time::Duration::from_millis(5), watch.changed());
        assert!(again.await.is_err(), "two hints together are one");
    }
}
