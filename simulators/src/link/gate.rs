//! Whether the link is up at this moment, for the tasks that move bytes.

use tokio::sync::watch;

use super::{OutageConnect, Settings};

#[derive(Clone)]
pub(super) struct Gate {
    pub(super) settings: watch::Receiver<Settings>,
    pub(super) air: watch::Receiver<bool>,
}

impl Gate {
    pub(super) fn is_up(&self) -> bool {
        *self.air.borrow() && !self.settings.borrow().down
    }

    pub(super) fn refuses(&self) -> bool {
        !self.is_up() && self.settings.borrow().profile.outage_connect == OutageConnect::Refuse
    }

    /// Returns when the link is up; never, when the link is over.
    pub(super) async fn wait_up(&mut self) {
        loop {
            if *self.air.borrow_and_update() && !self.settings.borrow_and_update().down {
                return;
            }
            let changed = tokio::select! {
                changed = self.air.changed() => changed,
                changed = self.settings.changed() => changed,
            };
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
