//! The one decision: may this grant do that to this target?

use super::grant::{Grant, Home, Role, Scope};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Look at nodes, shadows, their past, apps, changes.
    Read,
    /// Write `desired`.
    WriteDesired,
    /// Note tags.
    WriteTags,
    /// Make, label and delete nodes.
    ManageNodes,
    /// Let nodes join, and shut them out.
    ManageEnrolment,
    /// Decide about nodes that nobody knows; they belong to no tenant yet.
    ApproveUnknown,
    /// Look at things and their shadows; they are in no pool and have no labels.
    ReadThings,
    /// Write the shadows of things.
    WriteThings,
    /// Let things in, and shut them out.
    ManageThings,
    /// Make, list and revoke tokens.
    ManageTokens,
    /// Read what the cloud counts, over all tenants.
    ReadMetrics,
    /// Read who did what.
    ReadAudit,
    /// Copy the whole store.
    CopyStore,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Read,
        Self::WriteDesired,
        Self::WriteTags,
        Self::ManageNodes,
        Self::ManageEnrolment,
        Self::ApproveUnknown,
        Self::ReadThings,
        Self::WriteThings,
        Self::ManageThings,
        Self::ManageTokens,
        Self::ReadMetrics,
        Self::ReadAudit,
        Self::CopyStore,
    ];

    /// The least role that may.
    pub const fn needs(self) -> Role {
        match self {
            Self::Read | Self::ReadThings | Self::ReadMetrics => Role::Viewer,
            Self::WriteDesired | Self::WriteThings => Role::Publisher,
            Self::WriteTags
            | Self::ManageNodes
            | Self::ManageEnrolment
            | Self::ManageThings
            | Self::ApproveUnknown => Role::Operator,
            Self::ManageTokens | Self::ReadAudit | Self::CopyStore => Role::Admin,
        }
    }

    /// What it concerns where no single node or token does.
    pub const fn usual_target(self) -> Target<'static> {
        match self {
            Self::Read
            | Self::WriteDesired
            | Self::WriteTags
            | Self::ManageNodes
            | Self::ManageEnrolment
            | Self::ManageTokens => Target::EachItself,
            Self::ReadAudit | Self::ReadThings | Self::WriteThings | Self::ManageThings => {
                Target::Tenant
            }
            Self::ApproveUnknown | Self::ReadMetrics | Self::CopyStore => Target::Cloud,
        }
    }
}

/// What somebody wants to do it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Several things, each of which is decided about by itself.
    EachItself,
    /// A node that belongs there.
    Node(&'a Home),
    /// Something that is good for these nodes: a token.
    Scope(&'a Scope),
    /// All that one tenant has, or all tenants have.
    Tenant,
    /// Everything.
    Cloud,
}

/// Whether it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allowed,
    /// It may not, to nothing: this role is the least that may.
    RoleTooWeak(Role),
    /// It may, but not to this target, of which it need not even know.
    OutOfScope,
}

/// Decides whether a grant is good for an action on a target. What is not allowed is denied.
pub fn authorize(grant: &Grant, action: Action, target: &Target<'_>) -> Decision {
    if grant.role < action.needs() {
        return Decision::RoleTooWeak(action.needs());
    }
    let is_within = match target {
        Target::EachItself => true,
        Target::Node(home) => grant.scope.covers(home),
        Target::Scope(scope) => grant.scope.contains(scope),
        Target::Tenant => grant.scope.is_whole_tenant(),
        Target::Cloud => grant.scope.is_whole(),
    };
    if is_within { Decision::Allowed } else { Decision::OutOfScope }
}
