//! What somebody is allowed to do, and with which nodes.

use std::collections::BTreeMap;
use std::fmt;

use gnomon_schemas::id::{PoolName, TenantName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a principal may do; each role may do all that those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything.
    Viewer,
    /// Writes `desired`.
    Publisher,
    /// Makes, labels and deletes nodes, lets them join, notes tags.
    Operator,
    /// Makes and revokes tokens, reads the audit log; with no scope also copies the store.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Publisher => "publisher",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

/// Where a node belongs, and what its operator calls it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// Whose it is, for life.
    #[serde(default = "Home::usual_tenant", skip_serializing_if = "Home::is_usual")]
    pub tenant: TenantName,
    /// The group that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// What its operator calls it by.
    pub labels: BTreeMap<String, String>,
}

impl Home {
    /// Whose a node is that nobody else was named for.
    pub fn usual_tenant() -> TenantName {
        "default".parse().expect("it is a name")
    }

    /// Whether it is that one.
    pub fn is_usual(tenant: &TenantName) -> bool {
        tenant.as_str() == "default"
    }
}

impl Default for Home {
    fn default() -> Self {
        Self { tenant: Self::usual_tenant(), pool: None, labels: BTreeMap::new() }
    }
}

/// Some of the nodes: those that fit in every respect that is given. Other nodes are for its
/// holder as if they were not there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scope {
    /// Of this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// In this pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// With all these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Scope {
    /// Whether these are all nodes of the cloud.
    pub fn is_whole(&self) -> bool {
        self.tenant.is_none() && self.is_whole_tenant()
    }

    /// Whether nothing but a tenant narrows it.
    pub fn is_whole_tenant(&self) -> bool {
        self.pool.is_none() && self.labels.is_empty()
    }

    /// Whether a node that belongs there is one of these.
    pub fn covers(&self, home: &Home) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == home.tenant)
            && self.pool.as_ref().is_none_or(|pool| home.pool.as_ref() == Some(pool))
            && self.labels.iter().all(|(key, value)| home.labels.get(key) == Some(value))
    }

    /// Whether all nodes of the other are among these.
    pub fn contains(&self, other: &Self) -> bool {
        (self.tenant.is_none() || self.tenant == other.tenant)
            && (self.pool.is_none() || self.pool == other.pool)
            && self.labels.iter().all(|(key, value)| other.labels.get(key) == Some(value))
    }

    /// The other, where it says nothing filled from this one.
    #[must_use]
    pub fn complete(&self, other: Self) -> Self {
        let labels = self.labels.iter().map(|(key, value)| (key.clone(), value.clone()));
        Self {
            tenant: other.tenant.or_else(|| self.tenant.clone()),
            pool: other.pool.or_else(|| self.pool.clone()),
            labels: labels.chain(other.labels).collect(),
        }
    }
}

/// What somebody is allowed to do, and with which nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What.
    pub role: Role,
    /// With which nodes.
    #[serde(default)]
    pub scope: Scope,
}

impl Grant {
    /// That of whoever owns the machine that the cloud runs on.
    pub fn owner() -> Self {
        Self { role: Role::Admin, scope: Scope::default() }
    }

    /// Whether the other allows nothing that this one does not.
    pub fn contains(&self, other: &Self) -> bool {
        other.role <= self.role && self.scope.contains(&other.scope)
    }
}
