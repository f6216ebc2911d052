//! A mailbox as the tasks of a broker share it: a lock around it, and the ways to be woken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::mailbox::{Mailbox, Offer};
use crate::outbox::Queued;
use crate::reason::DisconnectReason;

/// Where the messages for one session wait, and how its connection is woken.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// A lock, since any publisher adds to the queue while the connection takes from it; each
    /// holds it for one operation.
    mailbox: Mutex<Mailbox>,
    wake: Notify,
    relief: Notify,
}

impl Outlet {
    pub(crate) fn new(mailbox: Mailbox) -> Arc<Self> {
        let mailbox = Mutex::new(mailbox);
        Arc::new(Self { mailbox, wake: Notify::new(), relief: Notify::new() })
    }

    /// The mailbox, for one operation.
    pub(crate) fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a message and wakes the connection.
    pub(crate) fn offer(&self, queued: Queued) -> Offer {
        let offer = self.mailbox().offer(queued);
        if matches!(offer, Offer::Queued | Offer::Congested | Offer::CutOff) {
            self.wake();
        }
        offer
    }

    /// Tells the session to end.
    pub(crate) fn close(&self, reason: DisconnectReason) {
        self.mailbox().close(reason);
        self.wake();
        self.relieve();
    }

    /// Wakes the connection.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until there may be something to do.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Lets publishers go on that were slowed down.
    pub(crate) fn relieve(&self) {
        self.relief.notify_waiters();
    }

    /// Slows a publisher down until the client has caught up, but not for longer than `most`.
    pub(crate) async fn relieved(&self, most: Duration) {
        if timeout(most, self.relief.notified()).await.is_err() {
            tracing::trace!("a subscriber is slow; its publishers go on");
        }
    }
}
