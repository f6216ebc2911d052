//! Why a command is refused. A refusal is a value: it changes nothing and has no effects.

use gnomon_schemas::app::DocumentError;
use gnomon_schemas::document::InvalidDocument;
use gnomon_schemas::id::{NodeName, TenantName};
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::Version;

use super::pointer::Pointer;

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such node.
    #[error("there is no node {0}; create it with PUT /v1/nodes/{0}")]
    UnknownNode(NodeName),
    /// A node cannot go to another tenant.
    #[error("the node {node} belongs to the tenant {tenant} for life; delete it and make it anew")]
    OtherTenant {
        /// The node.
        node: NodeName,
        /// Whose it is.
        tenant: TenantName,
    },
    /// A node that nobody knew joins under a name that is taken.
    #[error(
        "a node cannot join under the name {0}: it is taken; if it is the same machine, give it a \
         join token of that node (gnomon node token {0})"
    )]
    NameTaken(NodeName),
    /// The author would put a node where its scope does not reach.
    #[error(
        "the token may only put the node {0} into its own tenant and pool, with its own labels"
    )]
    OutOfScope(NodeName),
    /// There is no such shadow, or it has no `desired` to delete.
    #[error("the node {node} has no shadow {key}")]
    UnknownShadow {
        /// The node.
        node: NodeName,
        /// The shadow.
        key: ShadowKey,
    },
    /// The write's condition does not hold.
    #[error(
        "the desired half of {key} at {node} has version {current}, which the request's condition \
         rules out; read it again and decide again"
    )]
    VersionConflict {
        /// The node.
        node: NodeName,
        /// The shadow.
        key: ShadowKey,
        /// The half's version; zero if there is none.
        current: Version,
    },
    /// A field is not as the write wants it to be.
    #[error(
        "what desired of {key} has at {:?} is not what the request's condition `{condition}` asks \
         for; read it again and decide again",
        pointer.to_string()
    )]
    FieldConflict {
        /// The shadow.
        key: ShadowKey,
        /// The field.
        pointer: Pointer,
        /// How it should be.
        condition: &'static str,
        /// The half's version; zero if there is none.
        current: Version,
    },
    /// The document, or what a patch makes of it, breaks a rule.
    #[error("{0}")]
    InvalidDocument(InvalidDocument),
    /// The document is no app that could run.
    #[error("the document of {key} is not an app that can run")]
    InvalidApp {
        /// The shadow.
        key: ShadowKey,
        /// What is wrong with it.
        reason: Box<DocumentError>,
    },
    /// There is a bound on how many there may be.
    #[error("there are already {limit} {what}, which is the limit")]
    LimitReached {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
    /// A label is too long, or there are too many.
    #[error("{0}")]
    BadLabel(BadLabel),
    /// The join token is unknown, used or out of date.
    #[error("the join token is wrong, was used before, or has run out; make a new one")]
    BadToken,
    /// The certificate is none that the node was given, or has run out.
    #[error("the certificate is none of the node {0} any more; join again with a new token")]
    BadCertificate(NodeName),
    /// The message belongs to a session that is not the node's current one.
    #[error("the session is not the current one of the node {0}")]
    StaleSession(NodeName),
}

/// What is wrong with a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLabel {
    /// There are too many.
    #[error("a node has at most {limit} labels, these are {found}")]
    TooMany {
        /// The most labels.
        limit: usize,
        /// How many there are.
        found: usize,
    },
    /// A key is empty, too long, or has characters that a selector could not name.
    #[error(
        "{0:?} cannot be the key of a label: it has 1 to 63 of a-z, A-Z, 0-9, '.', '_', '-', '/'"
    )]
    Key(String),
    /// A value is too long.
    #[error("the label {key:?} has a value of {found} bytes, the limit is {limit}")]
    Value {
        /// The label.
        key: String,
        /// How many bytes the value has.
        found: usize,
        /// The most bytes.
        limit: usize,
    },
}

impl Rejection {
    /// The stable name of the reason, for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownNode(_) => "unknown_node",
            Self::OtherTenant { .. } => "tenant_is_fixed",
            Self::NameTaken(_) => "name_taken",
            Self::OutOfScope(_) => "forbidden",
            Self::UnknownShadow { .. } => "unknown_shadow",
            Self::VersionConflict { .. } => "version_conflict",
            Self::FieldConflict { .. } => "field_conflict",
            Self::InvalidDocument(InvalidDocument::TooLarge { .. }) => "too_large",
            Self::InvalidDocument(_) => "invalid_document",
            Self::InvalidApp { .. } => "invalid_app",
            Self::LimitReached { .. } => "limit_reached",
            Self::BadLabel(_) => "bad_request",
            Self::BadToken | Self::BadCertificate(_) => "unauthorized",
            Self::StaleSession(_) => "stale_session",
        }
    }
}
