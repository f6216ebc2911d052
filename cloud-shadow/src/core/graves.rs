//! Forgetting deleted shadows of things whose 48 hours are over: the rows are paged through, and
//! the core decides about each, since it may be there again.

use std::sync::Arc;

use super::handle::CoreHandle;
use crate::aws::domain::{GRAVES, Order, ReadThingError, grave_of};
use crate::store::StoreError;

const ROWS: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum ForgetError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Row(#[from] ReadThingError),
    #[error("reading deleted shadows ended by a panic")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Has everything forgotten whose time is over.
pub(super) async fn forget(core: &CoreHandle, now_s: u64) -> Result<(), ForgetError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let (store, from) = (Arc::clone(core.store()), after.take());
        let page = move || store.page(GRAVES, from.as_deref(), ROWS);
        let rows = tokio::task::spawn_blocking(page).await??;
        for (key, value) in &rows {
            let (id, grave) = grave_of(key, value)?;
            if grave.is_over(now_s) && core.tell_order(Order::Forget(id), None).await.is_err() {
                return Ok(());
            }
        }
        after = rows.last().filter(|_| rows.len() == ROWS).map(|(key, _)| key.clone());
        if after.is_none() {
            return Ok(());
        }
    }
}
