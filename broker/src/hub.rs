//! What the tasks of a broker share: the table of sessions, their mailboxes, the retained messages,
//! the attachments. Locks are held for lookups and queue operations only, never across an await.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use tokio::sync::{Notify, mpsc};

use crate::attachment::{Attached, AttachmentEvent, PublishError};
use crate::auth::Authenticator;
use crate::filter::TopicFilter;
use crate::mailbox::{Offer, Room};
use crate::metrics::{Depths, Drop as DropReason, Metrics, Rejection};
use crate::outlet::Outlet;
use crate::packet::Message;
use crate::principal::{Principal, Role};
use crate::quiet::Quiet;
use crate::reason::DisconnectReason;
use crate::retained::Retained;
use crate::revocation::DenyList;
use crate::session::Policy;
use crate::session_id::SessionId;
use crate::stored::Store;
use crate::table::Table;
use crate::turns::Turns;

mod keeper;
mod registration;
mod revoking;
mod routing;

pub(crate) use keeper::keep;
pub(crate) use registration::{Arrival, Departure, Registration};

/// The attachments at one moment.
pub(crate) type Attachments = Arc<Vec<Arc<Attached>>>;

/// What the tasks of one broker share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) policy: Arc<Policy>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    /// For authenticators that take long.
    pub(crate) checks: Turns,
    pub(crate) metrics: Metrics,
    pub(crate) denial_log: Quiet,
    pub(crate) rejection_log: Quiet,
    /// A lock rather than an owner task, because [`crate::Publisher::publish`] answers at once
    /// with the number of sessions reached, and because each publisher's own task does its
    /// routing, so that a busy one slows down itself. Readers route, writers come and go.
    table: RwLock<Table<Arc<Outlet>>>,
    /// Locked within the lock of the table, so that a new subscriber gets each message once:
    /// retained or live. A mailbox may be locked around it.
    retained: Mutex<Retained>,
    /// A lock around a pointer: read once per message, replaced when the application
    /// attaches or detaches.
    attachments: RwLock<Attachments>,
    /// A lock around a list that is read once per CONNECT.
    denied: RwLock<DenyList>,
    /// What mailboxes may hold, shared by all.
    rooms: [Arc<Room>; 2],
    /// What waits for clients that are away.
    store: Store,
    next_session: AtomicU64,
    next_attachment: AtomicU64,
    stopping: AtomicBool,
    /// Something became due earlier than the keeper knows.
    due_changed: Notify,
}

/// What became of a message.
#[derive(Debug, Default)]
pub(crate) struct Routed {
    /// The sessions that it waits for now.
    pub(crate) reached: usize,
    /// A session, other than the publisher's, that cannot keep up.
    pub(crate) congested: Option<Arc<Outlet>>,
}

impl Hub {
    pub(crate) fn new(policy: Policy, authenticator: Arc<dyn Authenticator>) -> Self {
        let limits = &policy.limits;
        let retained = Retained::new(limits.retained_messages, limits.retained_bytes);
        let metrics = Metrics::default();
        let store = Store::new(limits.away_total_bytes, metrics.away_bytes.clone());
        let rooms = registration::rooms(limits);
        let checks = Turns::new(limits.password_checks);
        Self {
            policy: Arc::new(policy),
            authenticator,
            checks,
            metrics,
            denial_log: Quiet::new(Instant::now()),
            rejection_log: Quiet::new(Instant::now()),
            table: RwLock::default(),
            retained: Mutex::new(retained),
            attachments: RwLock::default(),
            denied: RwLock::default(),
            rooms,
            store,
            next_session: AtomicU64::new(1),
            next_attachment: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            due_changed: Notify::new(),
        }
    }

    /// An id that no session has had.
    pub(crate) fn next_session(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Ordering::Relaxed))
    }

    fn table(&self) -> RwLockReadGuard<'_, Table<Arc<Outlet>>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, Table<Arc<Outlet>>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The retained messages, for one operation.
    pub(crate) fn retained(&self) -> MutexGuard<'_, Retained> {
        self.retained.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.table().entries().for_each(|(_, entry)| entry.outlet.wake());
        id
    }

    /// Removes an attachment.
    pub(crate) fn detach(&self, id: u64) {
        self.replace_attachments(|old| old.iter().filter(|a| a.id != id).cloned().collect());
    }

    /// Removes all attachments: their readers see the end.
    pub(crate) fn detach_all(&self) {
        self.replace_attachments(|_| Vec::new());
    }

    fn replace_attachments(&self, change: impl FnOnce(&Attachments) -> Vec<Arc<Attached>>) {
        let mut attachments = self.attachments.write().unwrap_or_else(PoisonError::into_inner);
        *attachments = Arc::new(change(&attachments));
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
        Ok(self.route(message, None).reached)
    }

    /// Ends a connection; `false` if there is none.
    pub(crate) fn disconnect(&self, session: SessionId, reason: DisconnectReason) -> bool {
        let table = self.table();
        let outlet = table.outlet(session);
        if let Some(outlet) = outlet {
            outlet.close(reason);
        }
        outlet.is_some()
    }

    /// Lets no further session in and ends those that are there.
    pub(crate) fn stop(&self) {
        let table = self.table_mut();
        self.stopping.store(true, Ordering::Release);
        table.entries().for_each(|(_, entry)| entry.outlet.close(DisconnectReason::ServerShutdown));
    }

    /// Counts a connection that is turned away; logs one a second.
    pub(crate) fn note_rejection(&self, rejection: Rejection, peer: SocketAddr) {
        self.metrics.rejection(rejection);
        if let Some(held_back) = self.rejection_log.allows(Instant::now()) {
            tracing::warn!(%peer, ?rejection, held_back, "a connection is turned away");
        }
    }

    /// How much waits in the queues of all sessions, and in the longest one.
    pub(crate) fn depths(&self) -> Depths {
        let mut depths = Depths::default();
        for (_, entry) in self.table().entries() {
            let (messages, bytes) = entry.outlet.mailbox().depth();
            depths.messages += messages;
            depths.bytes += bytes;
            depths.longest = depths.longest.max(messages);
        }
        depths
    }

    /// Counts what became of an offer; whether it waits now.
    fn note(&self, offer: Offer) -> bool {
        match offer {
            Offer::Queued | Offer::Congested | Offer::Displaced(0) => return true,
            Offer::Displaced(count) => {
                self.metrics.drops(DropReason::AwayFull, count);
                return true;
            }
            Offer::Dropped => self.metrics.drop(DropReason::QueueFull),
            Offer::CutOff => self.metrics.drop(DropReason::CutOff),
            Offer::Away => self.metrics.drop(DropReason::Away),
            Offer::AwayRefused(older) => self.metrics.drops(DropReason::AwayFull, older + 1),
            Offer::Closed => {}
        }
        false
    }
}
