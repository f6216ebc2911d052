//! What follows from a revocation, at once.

use std::sync::PoisonError;

use super::Hub;
use crate::principal::Principal;
use crate::reason::DisconnectReason;
use crate::revocation::Revocation;

impl Hub {
    /// Turns an identity away from now on, and ends its sessions; returns how many.
    pub(crate) fn revoke(&self, revocation: &Revocation) -> usize {
        let mut denied = self.denied.write().unwrap_or_else(PoisonError::into_inner);
        denied.insert(revocation.clone());
        drop(denied);
        let mut table = self.table_mut();
        let ids = table.find(|e| revocation.concerns(&e.key.principal, e.serial()));
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
        tracing::info!(?revocation, sessions = ids.len(), "an identity is revoked");
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
