//! What the domain is told, and what it answers and wants done.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gnomon_schemas::document::{Document, Patch};
use gnomon_schemas::id::{DeviceName, NodeName, PoolName, TenantName};
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::{Stream, Topic};
use gnomon_schemas::version::{Half, Version};
use gnomon_schemas::wire::Message;
use gnomon_sync::Moment;

use super::condition::FieldCondition;
use super::view::{NodeView, ShadowView};
use crate::access::{Home, Scope};
use crate::identity::TokenHash;
use crate::rows::CertificateRecord;
use crate::store::Op;

/// The time, as an argument.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// Never goes back; timers run by it.
    pub moment: Moment,
    /// The date in milliseconds since 1970, for people; nothing is ordered by it.
    pub unix_ms: u64,
}

/// One broker session of a node; a later session has a greater number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(pub u64);

/// Something that happens to one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The node.
    pub node: NodeName,
    /// What happens.
    pub action: Action,
    /// Who wants it.
    pub by: Author,
}

/// Who wants something done, for the history (`admin`, `node/site-1`, `cloud`), and of which
/// nodes it may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    name: Arc<str>,
    within: Option<Arc<Scope>>,
}

impl Author {
    /// An author of this name, or of as much of it as is kept.
    pub fn new(name: &str) -> Self {
        let end = name.floor_char_boundary(AUTHOR_BYTES);
        Self { name: name.get(..end).unwrap_or_default().into(), within: None }
    }

    /// The same, for whom there are no nodes but those that the scope covers.
    #[must_use]
    pub fn within(self, scope: &Scope) -> Self {
        Self { within: (!scope.is_whole()).then(|| Arc::new(scope.clone())), ..self }
    }

    /// The nodes that there are for it.
    pub fn scope(&self) -> Option<&Scope> {
        self.within.as_deref()
    }

    /// Whether there is a node that belongs there, for it.
    pub fn covers(&self, home: &Home) -> bool {
        self.scope().is_none_or(|scope| scope.covers(home))
    }

    /// The cloud itself.
    pub fn cloud() -> Self {
        Self::new("cloud")
    }

    /// A node.
    pub fn node(name: &NodeName) -> Self {
        Self::new(&format!("node/{name}"))
    }

    /// A thing.
    pub fn thing(name: &DeviceName) -> Self {
        Self::new(&format!("thing/{name}"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

const AUTHOR_BYTES: usize = 128;

/// What happens to a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It is made, or gets other labels and another pool.
    PutNode {
        /// What its operator calls it by.
        labels: BTreeMap<String, String>,
        /// Whose it is; `None`: as it is, or the author's.
        tenant: Option<TenantName>,
        /// The group it is in; `None`: the author's.
        pool: Option<PoolName>,
    },
    /// It is forgotten with everything it had.
    DeleteNode,
    /// It may join with a token.
    AddToken {
        /// The token's fingerprint.
        hash: TokenHash,
        /// How long the token is good for.
        ttl: Duration,
    },
    /// It joins: the token is used up, the certificate is written down.
    Enrol {
        /// The token's fingerprint.
        hash: TokenHash,
        /// The certificate that it gets.
        certificate: CertificateRecord,
    },
    /// It joins although nobody knew it before: it is made, and its certificate is written down.
    Join {
        /// Where it belongs.
        home: Home,
        /// The certificate that it gets.
        certificate: CertificateRecord,
        /// What else changes with it: the token that it joined with.
        also: Vec<Op>,
    },
    /// It gets a certificate for one that it has, which stays good until the new one is used.
    Renew {
        /// The serial number of the one that it has shown.
        shown: String,
        /// The certificate that it gets.
        certificate: CertificateRecord,
    },
    /// It has connected with this certificate.
    Shown {
        /// The serial number.
        serial: String,
    },
    /// It has shown a certificate that the store does not know, because a backup was put back.
    Learn {
        /// The certificate.
        certificate: CertificateRecord,
        /// When it was made, in seconds since 1970.
        issued_s: u64,
        /// The session that it came with, which ends if it is not good.
        session: Option<Session>,
    },
    /// It is shut out: its certificates and join tokens are good for nothing, its session ends.
    Revoke,
    /// The `desired` half of a shadow is changed.
    Write(Write),
    /// A shadow gets other tags.
    Tag {
        /// Which shadow.
        key: ShadowKey,
        /// All of them.
        tags: BTreeMap<String, String>,
    },
    /// It has connected to the broker.
    Connected(Session),
    /// Its connection has ended, for this reason.
    Disconnected(Session, String),
    /// It has sent a message.
    Received {
        /// Through which session.
        session: Session,
        /// Of which stream.
        stream: Stream,
        /// What it says.
        message: Message,
        /// How many bytes it had.
        bytes: usize,
    },
    /// A timer of its streams is due.
    Timeout,
}

impl Action {
    /// A node without labels is made, or loses its labels.
    pub const fn put_node() -> Self {
        Self::PutNode { labels: BTreeMap::new(), tenant: None, pool: None }
    }
}

/// A change of a `desired` half.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Which shadow.
    pub key: ShadowKey,
    /// To what.
    pub change: Change,
    /// Under what condition.
    pub when: Precondition,
    /// What must stand at which places of `desired`.
    pub fields: Vec<FieldCondition>,
}

/// What becomes of a `desired` half.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It becomes this document.
    Put(Document),
    /// It, or `{}` where there is none, is patched.
    Patch(Patch),
    /// It is deleted.
    Delete,
}

/// Under what condition a write is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Always.
    Any,
    /// If the half has this version; zero: if there is none.
    Version(Version),
    /// If the half exists.
    Present,
    /// If the half does not exist.
    Absent,
}

/// An accepted command.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// For whoever gave the command.
    pub answer: Answer,
    /// What is to be done, in this order.
    pub effects: Vec<Effect>,
}

/// What an accepted command gives back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Nothing.
    Nothing,
    /// The node, and whether it was made.
    Node(Box<NodeView>, Created),
    /// The shadow, and whether its `desired` was made.
    Shadow(Arc<ShadowView>, Created),
    /// The moment, in milliseconds since 1970, until which something is good.
    Until(u64),
}

/// Whether something was made that was not there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created(pub bool);

/// What an accepted command wants done. All changes of the store of one command belong into one
/// commit, and nothing else of the command may be carried out before that is durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Change the store.
    Persist(Vec<Op>),
    /// Send a message to the node.
    Send(Topic, Vec<u8>),
    /// End a session of the broker.
    Close(Session),
    /// From now on the node is let in with these certificates and with no others.
    Admit(NodeName, Admission),
    /// The store has learnt a certificate of the node, with this serial number.
    Learnt(NodeName, String),
    /// Tell whoever watches.
    Notify(Notice),
}

/// With which certificates a node is let in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    /// The serial numbers of those that it was given, in hexadecimal.
    pub serials: Vec<String>,
    /// Others, after a restore, only if they were made later than this, in seconds since 1970;
    /// `None`: there is no such node.
    pub void_s: Option<u64>,
}

/// Something that a watcher may want to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A half of a shadow changed.
    Shadow(Box<ShadowChange>),
    /// A node was made or relabelled, came or went.
    Node(Box<NodeView>),
    /// A node that belonged there was forgotten.
    NodeDeleted(NodeName, Arc<Home>),
}

/// A shadow after a change of one of its halves.
#[derive(Debug, Clone, PartialEq)]
pub struct ShadowChange {
    /// The shadow.
    pub view: Arc<ShadowView>,
    /// The half that changed.
    pub half: Half,
    /// What the half was before.
    pub before: Option<Arc<Document>>,
    /// Who changed it.
    pub by: Author,
    /// Where its node belongs.
    pub home: Arc<Home>,
}

impl Done {
    /// Nothing to answer, nothing to do.
    pub(super) const NOTHING: Self = Self { answer: Answer::Nothing, effects: Vec::new() };
}
