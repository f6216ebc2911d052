//! How a session comes into the table, is resumed or taken over, and leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Hub;
use crate::auth::CertificateSubject;
use crate::filter::TopicFilter;
use crate::limits::Limits;
use crate::mailbox::{Mailbox, Room};
use crate::metrics::Drop as DropReason;
use crate::outbox::Bounds;
use crate::outlet::Outlet;
use crate::packet::{Protocol, Refusal, RetainHandling, SubscribeAnswer, Subscription, Will};
use crate::principal::Principal;
use crate::reason::DisconnectReason;
use crate::session_id::SessionId;
use crate::table::{Away, ClientKey};

/// A client that may come in.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) id: SessionId,
    pub(crate) key: Arc<ClientKey>,
    pub(crate) certificate: Option<CertificateSubject>,
    pub(crate) protocol: Protocol,
    /// Whether it wants no earlier session.
    pub(crate) clean_start: bool,
    /// Whether its session outlives its connection.
    pub(crate) durable: bool,
    pub(crate) inflight: u16,
}

/// A session in the table; dropping it takes the session out again.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) hub: Arc<Hub>,
    pub(crate) id: SessionId,
    pub(crate) outlet: Arc<Outlet>,
}

/// The id of no session: that of a registration that has left.
const LEFT: SessionId = SessionId(u64::MAX);

impl Hub {
    fn room(&self, protocol: Protocol) -> &Arc<Room> {
        let [v4, v5] = &self.rooms;
        match protocol {
            Protocol::V4 => v4,
            Protocol::V5 => v5,
        }
    }

    /// The principal as the client's other sessions hold it, so that they share it.
    pub(crate) fn share(&self, principal: Principal) -> Arc<Principal> {
        self.table().known(&principal).unwrap_or_else(|| Arc::new(principal))
    }

    /// Lets a session in, ends the client's earlier connection, and goes on with its session
    /// if it may; says whether it did.
    pub(crate) fn arrive(
        self: &Arc<Self>,
        arrival: Arrival,
    ) -> Result<(Registration, bool), Refusal> {
        let Arrival { id, key, certificate, clean_start, durable, inflight, protocol } = arrival;
        let limits = &self.policy.limits;
        let mut table = self.table_mut();
        if self.stopping.load(Ordering::Acquire) {
            return Err(Refusal::ShuttingDown);
        }
        // Within the lock: whoever shuts it out from now on finds its session in the table.
        let serial = certificate.as_ref().map(|shown| &*shown.serial);
        if self.denies(&key.principal, serial)
            || !self.authenticator.still_admits(&key.principal, certificate.as_ref())
        {
            return Err(Refusal::NotAuthorized);
        }
        let earlier = table
            .of_client(&key)
            .map(|(id, entry)| (id, Arc::clone(&entry.outlet), entry.is_away()));
        if table.count_of(&key.principal).0 >= limits.connections_per_principal
            && earlier.as_ref().is_none_or(|(_, _, is_away)| *is_away)
        {
            return Err(Refusal::QuotaExceeded);
        }
        let mut mailbox = None;
        if let Some((earlier_id, outlet, is_away)) = &earlier {
            if !is_away {
                self.metrics.takeovers.inc();
            }
            if !clean_start && outlet.mailbox().is_durable() {
                mailbox = Some(outlet.mailbox().hand_over(inflight, durable));
            } else {
                let shared = outlet.mailbox().take_shared();
                table.end(*earlier_id);
                self.reroute(&table, shared);
                self.due_changed.notify_one();
            }
            outlet.close(DisconnectReason::TakenOver);
        }
        let present = mailbox.is_some();
        let serial = certificate.map(|shown| shown.serial.into());
        let new = || Mailbox::new(Arc::clone(self.room(protocol)), inflight, durable);
        let outlet = Outlet::new(mailbox.unwrap_or_else(new));
        match earlier {
            Some((earlier_id, ..)) if present => {
                table.resume(earlier_id, id, serial, Arc::clone(&outlet));
            }
            _ => table.insert(id, key, serial, Arc::clone(&outlet)),
        }
        self.metrics.away.set(i64::try_from(table.away()).unwrap_or(i64::MAX));
        Ok((Registration { hub: Arc::clone(self), id, outlet }, present))
    }
}

/// What a mailbox may hold, of each version of MQTT.
pub(super) fn rooms(limits: &Limits) -> [Arc<Room>; 2] {
    // 3.1.1 cannot be told how many it may send at once.
    [limits.received_v4, limits.receive_maximum].map(|received| {
        Arc::new(Room {
            present: Bounds { messages: limits.queue_messages, bytes: limits.queue_bytes },
            away: Bounds { messages: limits.away_messages, bytes: limits.away_bytes },
            received: usize::from(received),
        })
    })
}

/// How a connection ends, for its session.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) reason: DisconnectReason,
    /// How long the session is kept.
    pub(crate) expiry: Duration,
    /// What is to be published, and how long after the end.
    pub(crate) will: Option<Arc<Will>>,
    pub(crate) now: Instant,
}

impl Registration {
    /// Does what was granted and turns it into the answer, filter by filter.
    pub(crate) fn subscribe(
        &self,
        requests: &[Result<Subscription, SubscribeAnswer>],
    ) -> Vec<SubscribeAnswer> {
        let max = self.hub.policy.limits.subscriptions;
        let mut table = self.hub.table_mut();
        let answer = |request: &Result<Subscription, SubscribeAnswer>| {
            let subscription = match request {
                Ok(subscription) => subscription,
                Err(refused) => return *refused,
            };
            let Some(is_new) = table.subscribe(self.id, subscription, max) else {
                return SubscribeAnswer::QuotaExceeded;
            };
            let wants_retained = match subscription.retain_handling {
                RetainHandling::Always => true,
                RetainHandling::IfNew => is_new,
                RetainHandling::Never => false,
            };
            if wants_retained && subscription.shared.is_none() {
                let feed = self.hub.retained().feed(&subscription.filter, subscription.options);
                if let Some(feed) = feed {
                    self.outlet.mailbox().add_feed(feed);
                }
            }
            SubscribeAnswer::Granted(subscription.options.qos)
        };
        requests.iter().map(answer).collect()
    }

    /// Removes subscriptions and says which there were.
    pub(crate) fn unsubscribe(&self, filters: &[Option<TopicFilter>]) -> Vec<bool> {
        let mut table = self.hub.table_mut();
        let existed = |filter: &Option<TopicFilter>| {
            let Some(filter) = filter else { return false };
            self.outlet.mailbox().remove_feed(filter.as_str());
            table.unsubscribe(self.id, filter)
        };
        filters.iter().map(existed).collect()
    }

    /// Ends the connection. What is returned of its will is to be published now.
    pub(crate) fn leave(mut self, departure: Departure) -> Option<Arc<Will>> {
        let id = std::mem::replace(&mut self.id, LEFT);
        let Departure { reason, expiry, will, now } = departure;
        let limits = &self.hub.policy.limits;
        let mut table = self.hub.table_mut();
        if table.outlet(id).is_none() {
            // Another connection of the client has the session, or has ended it.
            let delayed = self.outlet.mailbox().was_handed_over();
            return will.filter(|will| !delayed || will.delay.is_zero());
        }
        let principal = table.principal(id);
        let kept = principal.map_or(0, |principal| table.count_of(&principal).1);
        let durable = self.outlet.mailbox().is_durable() && expiry > Duration::ZERO;
        let has_room = table.away() < limits.away_sessions
            && kept < limits.away_per_principal
            && self.hub.store.has_room_for(self.outlet.mailbox().in_flight());
        if durable && !has_room {
            self.hub.metrics.sessions_not_kept.inc();
        }
        let due_now;
        if durable && has_room && reason.keeps_session() {
            let (soon, late) = match will {
                Some(will) if will.delay.is_zero() => (Some(will), None),
                other => (None, other),
            };
            due_now = soon;
            let late = late.map(|will| (now + will.delay, will));
            table.leave(id, Away { ends: now + expiry, will: late });
            let dropped = self.outlet.mailbox().leave(reason, &self.hub.store);
            self.hub.metrics.drops(DropReason::AwayFull, dropped);
            self.hub.due_changed.notify_one();
            let shared = self.outlet.mailbox().take_shared();
            for queued in self.hub.reroute(&table, shared) {
                self.outlet.mailbox().offer(queued);
            }
        } else {
            table.remove(id);
            let shared = self.outlet.mailbox().take_shared();
            self.hub.reroute(&table, shared);
            due_now = will;
        }
        self.hub.metrics.away.set(i64::try_from(table.away()).unwrap_or(i64::MAX));
        due_now
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.id != LEFT {
            self.hub.table_mut().remove(self.id);
        }
    }
}
