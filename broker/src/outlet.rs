//! A mailbox as the tasks of a broker share it: a lock around it, and how its connection is woken.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::crew::Place;
use crate::mailbox::{Mailbox, Offer};
use crate::outbox::Queued;
use crate::reason::DisconnectReason;

/// Where the messages for one session wait, and how its connection is woken.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// A lock, since any publisher adds to the queue while the connection takes from it; each
    /// holds it for one operation.
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    mailbox: Mailbox,
    /// Where the connection is served, once it is.
    place: Option<Place>,
    /// The connection has a turn to come.
    is_woken: bool,
    /// Publishers that were slowed down, once there are any.
    relief: Option<Arc<Notify>>,
}

impl Shared {
    fn wake(&mut self) {
        if !std::mem::replace(&mut self.is_woken, true)
            && let Some(place) = &self.place
        {
            place.wake();
        }
    }
}

/// The mailbox of an outlet, for one operation.
pub(crate) struct Opened<'a>(MutexGuard<'a, Shared>);

impl Deref for Opened<'_> {
    type Target = Mailbox;
    fn deref(&self) -> &Mailbox {
        &self.0.mailbox
    }
}

impl DerefMut for Opened<'_> {
    fn deref_mut(&mut self) -> &mut Mailbox {
        &mut self.0.mailbox
    }
}

impl Outlet {
    pub(crate) fn new(mailbox: Mailbox) -> Arc<Self> {
        let shared = Shared { mailbox, place: None, is_woken: false, relief: None };
        Arc::new(Self { shared: Mutex::new(shared) })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mailbox, for one operation.
    pub(crate) fn mailbox(&self) -> Opened<'_> {
        Opened(self.shared())
    }

    /// Offers a message and wakes the connection.
    pub(crate) fn offer(&self, queued: Queued) -> Offer {
        let mut shared = self.shared();
        let offer = shared.mailbox.offer(queued);
        let waits = matches!(offer, Offer::Queued | Offer::Congested | Offer::CutOff);
        if waits {
            shared.wake();
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
        self.shared().wake();
    }

    /// The connection is served there, and has its first turn.
    pub(crate) fn sit(&self, place: Place) {
        self.shared().place = Some(place);
    }

    /// The connection has a turn: what happens from now on gives it another.
    pub(crate) fn begin_turn(&self) {
        self.shared().is_woken = false;
    }

    /// The connection is served no more.
    pub(crate) fn stand_up(&self) {
        self.shared().place = None;
    }

    /// Lets publishers go on that were slowed down.
    pub(crate) fn relieve(&self) {
        let relief = self.shared().relief.take();
        if let Some(relief) = relief {
            relief.notify_waiters();
        }
    }

    /// Slows a publisher down until the client has caught up, but not for longer than `most`.
    pub(crate) async fn relieved(&self, most: Duration) {
        let relief = Arc::clone(self.shared().relief.get_or_insert_default());
        if timeout(most, relief.notified()).await.is_err() {
            tracing::trace!("a subscriber is slow; its publishers go on");
        }
    }
}

/// Whatever a connection waits for wakes it here, so that it needs nothing of its own for that.
impl Wake for Outlet {
    fn wake(self: Arc<Self>) {
        Self::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Self::wake(self);
    }
}
