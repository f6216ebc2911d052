//! A message to all who want it: sessions, one member of each group, the retained messages.

use std::sync::Arc;
use std::time::Instant;

use super::{Hub, Routed};
use crate::groups::GroupId;
use crate::mailbox::Offer;
use crate::metrics::Drop as DropReason;
use crate::outbox::Queued;
use crate::outlet::Outlet;
use crate::packet::Message;
use crate::session_id::SessionId;
use crate::table::Table;

impl Hub {
    /// Queues a message for each session that is subscribed to it.
    pub(crate) fn route(&self, message: &Arc<Message>, origin: Option<SessionId>) -> Routed {
        let table = self.table();
        if message.retain {
            self.retain(message);
        }
        let own = || origin.and_then(|origin| table.outlet(origin));
        let mut routed = Routed::default();
        let mut offer = |outlet: &Arc<Outlet>, queued: Queued| {
            let offer = outlet.offer(queued);
            let is_other = || own().is_none_or(|own| !Arc::ptr_eq(own, outlet));
            if offer == Offer::Congested && routed.congested.is_none() && is_other() {
                routed.congested = Some(Arc::clone(outlet));
            }
            if self.note(offer) {
                routed.reached += 1;
            }
        };
        for (outlet, queued) in table.route(message, origin) {
            offer(outlet, queued);
        }
        for group in table.groups(message) {
            match pick(&table, group, message) {
                Some((outlet, queued)) => offer(outlet, queued),
                None => self.metrics.drop(DropReason::GroupFull),
            }
        }
        routed
    }

    fn retain(&self, message: &Arc<Message>) {
        let mut retained = self.retained();
        if retained.set(message, now()).is_err() {
            self.metrics.drop(DropReason::RetainedFull);
        }
        self.metrics.retained.set(i64::try_from(retained.len()).unwrap_or(i64::MAX));
    }

    /// Gives messages of a member that left to others of its groups; those that nobody takes
    /// are returned.
    pub(super) fn reroute(&self, table: &Table<Arc<Outlet>>, shared: Vec<Queued>) -> Vec<Queued> {
        let mut left = Vec::new();
        for queued in shared {
            let next = queued.group.and_then(|group| pick_present(table, group, &queued.message));
            match next {
                Some((outlet, queued)) => {
                    self.note(outlet.offer(queued));
                }
                None => left.push(queued),
            }
        }
        left
    }
}

type Picked<'a> = (&'a Arc<Outlet>, Queued);

/// The member of a group that gets a message: the next one that has room, or else one that is
/// away and for which it can wait.
fn pick<'a>(
    table: &'a Table<Arc<Outlet>>,
    group: GroupId,
    message: &Arc<Message>,
) -> Option<Picked<'a>> {
    pick_present(table, group, message).or_else(|| {
        let mut away = table.candidates(group, message).filter(|(entry, _)| entry.is_away());
        away.next().map(|(entry, queued)| (&entry.outlet, queued))
    })
}

fn pick_present<'a>(
    table: &'a Table<Arc<Outlet>>,
    group: GroupId,
    message: &Arc<Message>,
) -> Option<Picked<'a>> {
    let mut with_room = table
        .candidates(group, message)
        .filter(|(entry, _)| !entry.is_away() && entry.outlet.mailbox().has_room_for(message));
    with_room.next().map(|(entry, queued)| (&entry.outlet, queued))
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
