//! What the tasks of a broker share: the table of sessions, their queues, the attachments.
//! Locks are held for lookups and queue operations only, never across an await.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::{Notify, mpsc};

use crate::attachment::{Attached, AttachmentEvent, PublishError};
use crate::auth::Authenticator;
use crate::filter::TopicFilter;
use crate::metrics::{Drop as DropReason, Metrics};
use crate::outbox::{Offer, Outbox, Queued};
use crate::packet::{Message, Qos, SubscribeAnswer, Subscription};
use crate::principal::{Principal, Role};
use crate::quiet::Quiet;
use crate::reason::DisconnectReason;
use crate::session::Policy;
use crate::session_id::SessionId;
use crate::table::{ClientKey, Table};

/// Where the messages for one session wait, and how its connection is woken.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// A lock, since any publisher adds to the queue while the connection takes from it; each
    /// holds it for one queue operation.
    outbox: Mutex<Outbox>,
    wake: Notify,
}

impl Outlet {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offer(&self, message: &Arc<Message>, qos: Qos) -> Offer {
        let offer = self.outbox().offer(message, qos);
        if matches!(offer, Offer::Queued | Offer::CutOff) {
            self.wake.notify_one();
        }
        offer
    }

    /// Tells whether the session must end, and why.
    pub(crate) fn check(&self) -> Result<(), DisconnectReason> {
        self.outbox().closed().map_or(Ok(()), Err)
    }

    /// The next message to send, or why the session must end.
    pub(crate) fn take(&self, window_open: bool) -> Result<Option<Queued>, DisconnectReason> {
        let mut outbox = self.outbox();
        match outbox.closed() {
            Some(reason) => Err(reason),
            None => Ok(outbox.take(window_open)),
        }
    }

    /// Tells the session to end.
    pub(crate) fn close(&self, reason: DisconnectReason) {
        self.outbox().close(reason);
        self.wake.notify_one();
    }

    /// Waits until there may be something to take.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// The attachments at one moment.
pub(crate) type Attachments = Arc<[Arc<Attached>]>;

/// What the tasks of one broker share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) policy: Arc<Policy>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) metrics: Metrics,
    pub(crate) denial_log: Quiet,
    pub(crate) rejection_log: Quiet,
    /// A lock rather than an owner task, because [`crate::Publisher::publish`] answers at once
    /// with the number of sessions reached, and because each publisher's own task does its
    /// routing, so that a busy one slows down itself. Readers route, writers come and go.
    table: RwLock<Table<Arc<Outlet>>>,
    /// A lock around a pointer: read once per message, replaced when the application
    /// attaches or detaches.
    attachments: RwLock<Attachments>,
    next_session: AtomicU64,
    next_attachment: AtomicU64,
    stopping: AtomicBool,
}

impl Hub {
    pub(crate) fn new(policy: Policy, authenticator: Arc<dyn Authenticator>) -> Self {
        Self {
            policy: Arc::new(policy),
            authenticator,
            metrics: Metrics::default(),
            denial_log: Quiet::new(Instant::now()),
            rejection_log: Quiet::new(Instant::now()),
            table: RwLock::default(),
            attachments: RwLock::new(Arc::from([])),
            next_session: AtomicU64::new(1),
            next_attachment: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
        }
    }

    /// An id that no session has had.
    pub(crate) fn next_session(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds a session and ends the client's earlier one; `None` if the broker is stopping.
    pub(crate) fn register(
        self: &Arc<Self>,
        id: SessionId,
        key: ClientKey,
    ) -> Option<Registration> {
        let limits = &self.policy.limits;
        let outbox = Mutex::new(Outbox::new(limits.queue_messages, limits.queue_bytes));
        let outlet = Arc::new(Outlet { outbox, wake: Notify::new() });
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if self.stopping.load(Ordering::Acquire) {
            return None;
        }
        if let Some(earlier) = table.register(id, key, Arc::clone(&outlet)) {
            earlier.close(DisconnectReason::TakenOver);
            self.metrics.takeovers.inc();
        }
        Some(Registration { hub: Arc::clone(self), id, outlet })
    }

    /// Queues a message for each session that is subscribed to it; returns how many took it.
    pub(crate) fn route(&self, message: &Arc<Message>, origin: Option<SessionId>) -> usize {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut reached = 0;
        for (outlet, qos) in table.route(message, origin) {
            match outlet.offer(message, qos) {
                Offer::Queued => reached += 1,
                Offer::Dropped => self.metrics.drop(DropReason::QueueFull),
                Offer::CutOff => self.metrics.drop(DropReason::CutOff),
                Offer::Closed => {}
            }
        }
        reached
    }

    /// The attachments as they are now.
    pub(crate) fn attachments(&self) -> Attachments {
        Arc::clone(&self.attachments.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds an attachment and wakes the sessions, which will tell it that they are there.
    pub(crate) fn attach(
        &self,
        filters: Vec<TopicFilter>,
        events: mpsc::Sender<AttachmentEvent>,
    ) -> u64 {
        let id = self.next_attachment.fetch_add(1, Ordering::Relaxed);
        let new = Arc::new(Attached { id, filters, events });
        self.replace_attachments(|old| old.iter().cloned().chain([new]).collect());
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.outlets().for_each(|outlet| outlet.wake.notify_one());
        id
    }

    /// Removes an attachment.
    pub(crate) fn detach(&self, id: u64) {
        self.replace_attachments(|old| old.iter().filter(|a| a.id != id).cloned().collect());
    }

    /// Removes all attachments: their readers see the end.
    pub(crate) fn detach_all(&self) {
        self.replace_attachments(|_| Arc::from([]));
    }

    fn replace_attachments(&self, change: impl FnOnce(&Attachments) -> Attachments) {
        let mut attachments = self.attachments.write().unwrap_or_else(PoisonError::into_inner);
        *attachments = change(&attachments);
    }

    /// Publishes on behalf of the application.
    pub(crate) fn publish_from_attachment(
        &self,
        attachment: u64,
        message: &Arc<Message>,
    ) -> Result<usize, PublishError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(PublishError::Stopped);
        }
        let attachments = self.attachments();
        let others = attachments.iter().filter(|a| a.id != attachment && a.wants(&message.topic));
        let mut permits = Vec::new();
        for other in others {
            match other.events.try_reserve() {
                Ok(permit) => permits.push(permit),
                Err(mpsc::error::TrySendError::Full(())) => {
                    return Err(PublishError::AttachmentFull);
                }
                Err(mpsc::error::TrySendError::Closed(())) => {}
            }
        }
        if !permits.is_empty() {
            let principal = Arc::new(Principal::new("in-process", Role::Service));
            for permit in permits {
                permit.send(AttachmentEvent::publish(None, &principal, message));
            }
        }
        Ok(self.route(message, None))
    }

    /// Ends a session; `false` if there is none.
    pub(crate) fn disconnect(&self, session: SessionId, reason: DisconnectReason) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let outlet = table.outlet(session);
        if let Some(outlet) = outlet {
            outlet.close(reason);
        }
        outlet.is_some()
    }

    /// Lets no further session in and ends those that are there.
    pub(crate) fn stop(&self) {
        let table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        self.stopping.store(true, Ordering::Release);
        table.outlets().for_each(|outlet| outlet.close(DisconnectReason::ServerShutdown));
    }
}

/// A session in the table; dropping it takes the session out again.
#[derive(Debug)]
pub(crate) struct Registration {
    hub: Arc<Hub>,
    pub(crate) id: SessionId,
    pub(crate) outlet: Arc<Outlet>,
}

impl Registration {
    /// Does what was granted and turns it into the answer, filter by filter.
    pub(crate) fn subscribe(
        &self,
        requests: &[Result<Subscription, SubscribeAnswer>],
    ) -> Vec<SubscribeAnswer> {
        let max = self.hub.policy.limits.subscriptions;
        let mut table = self.hub.table.write().unwrap_or_else(PoisonError::into_inner);
        let answer = |request: &Result<Subscription, SubscribeAnswer>| match request {
            Ok(subscription) if table.subscribe(self.id, subscription, max) => {
                SubscribeAnswer::Granted(subscription.options.qos)
            }
            Ok(_) => SubscribeAnswer::QuotaExceeded,
            Err(refused) => *refused,
        };
        requests.iter().map(answer).collect()
    }

    /// Removes subscriptions and says which there were.
    pub(crate) fn unsubscribe(&self, filters: &[Option<TopicFilter>]) -> Vec<bool> {
        let mut table = self.hub.table.write().unwrap_or_else(PoisonError::into_inner);
        let existed = |filter: &Option<TopicFilter>| {
            filter.as_ref().is_some_and(|filter| table.unsubscribe(self.id, filter))
        };
        filters.iter().map(existed).collect()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.hub.table.write().unwrap_or_else(PoisonError::into_inner);
        table.unregister(self.id);
    }
}
