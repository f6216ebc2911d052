//! The sessions that a node had, read from the store.

use std::sync::Arc;

use gnomon_schemas::id::NodeName;

use super::handle::{CoreHandle, Refusal};
use crate::domain::{NodeView, Rejection};
use crate::rows::session::{self, SessionRecord};
use crate::store::{Store, StoreError};

#[derive(Debug, thiserror::Error)]
enum ReadSessionsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a session cannot be read")]
    Row(#[from] crate::rows::ReadRowError),
    #[error("reading the sessions ended by a panic")]
    Panicked(#[from] tokio::task::JoinError),
}

impl CoreHandle {
    /// The node, and its sessions, the newest first.
    pub async fn sessions(
        &self,
        node: NodeName,
    ) -> Result<(NodeView, Vec<SessionRecord>), Refusal> {
        let name = node.clone();
        let view = self.read(move |domain, _| Some(domain.node(&name)?.view())).await?;
        let view = view.ok_or_else(|| Rejection::UnknownNode(node.clone()))?;
        match read(Arc::clone(self.store()), node).await {
            Ok(sessions) => Ok((view, sessions)),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, node = %view.name, "the sessions could not be read");
                Err(Refusal::StoreFailed)
            }
        }
    }
}

async fn read(
    store: Arc<dyn Store>,
    node: NodeName,
) -> Result<Vec<SessionRecord>, ReadSessionsError> {
    let prefix = session::of_node(&node);
    let rows = tokio::task::spawn_blocking(move || store.scan(&prefix)).await??;
    let read = |(key, value): &(Vec<u8>, Vec<u8>)| session::read(key, value);
    Ok(rows.iter().rev().map(read).collect::<Result<_, _>>()?)
}
