//! The JSON form of scopes.

use std::collections::BTreeMap;

use gnomon_schemas::id::{PoolName, TenantName};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Scope;

/// Some of the nodes: those that fit in every respect that is given.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Scope)]
pub(in crate::http) struct ScopeJson {
    /// Nodes of this tenant; null: of all.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantName>,
    /// Nodes in this pool; null: in any or none.
    #[schema(value_type = Option<String>)]
    pool: Option<PoolName>,
    /// Nodes with all these labels.
    labels: BTreeMap<String, String>,
}

impl From<&Scope> for ScopeJson {
    fn from(scope: &Scope) -> Self {
        let Scope { tenant, pool, labels } = scope.clone();
        Self { tenant, pool, labels }
    }
}
