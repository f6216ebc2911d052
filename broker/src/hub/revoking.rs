//! What follows from a revocation, at once.

use std::sync::{Arc, PoisonError};

use super::Hub;
use crate::outlet::Outlet;
use crate::principal::Principal;
use crate::reason::DisconnectReason;
use crate::revocation::Revocation;
use crate::table::Entry;

impl Hub {
    /// Turns an identity away from now on, and ends its sessions; returns how many.
    pub(crate) fn revoke(&self, revocation: &Revocation) -> usize {
        let mut denied = self.denied.write().unwrap_or_else(PoisonError::into_inner);
        denied.insert(revocation.clone());
        drop(denied);
        let sessions = self.end_all(|e| revocation.concerns(&e.key.principal, e.serial()));
        tracing::info!(?revocation, sessions, "an identity is revoked");
        sessions
    }

    /// Ends the sessions of a principal but for those that it has by a certificate that is to be
    /// kept, by its serial number; returns how many.
    pub(crate) fn end_sessions(
        &self,
        principal: &Principal,
        keeps: impl Fn(Option<&[u8]>) -> bool,
    ) -> usize {
        if self.table().count_of(principal) == (0, 0) {
            return 0;
        }
        self.end_all(|entry| *entry.key.principal == *principal && !keeps(entry.serial()))
    }

    fn end_all(&self, concerns: impl Fn(&Entry<Arc<Outlet>>) -> bool) -> usize {
        let mut table = self.table_mut();
        let ids = table.find(concerns);
        for id in &ids {
            match table.entry(*id) {
                Some(entry) if !entry.is_away() => {
                    entry.outlet.close(DisconnectReason::Revoked);
                }
                _ => table.end(*id),
            }
        }
        drop(table);
        self.due_changed.notify_one();
        ids.len()
    }

    /// Lets an identity in again; `false` if it was not revoked.
    pub(crate) fn pardon(&self, revocation: &Revocation) -> bool {
        self.denied.write().unwrap_or_else(PoisonError::into_inner).remove(revocation)
    }

    /// Whether an identity is revoked.
    pub(super) fn denies(&self, principal: &Principal, serial: Option<&[u8]>) -> bool {
        self.denied.read().unwrap_or_else(PoisonError::into_inner).denies(principal, serial)
    }
}
