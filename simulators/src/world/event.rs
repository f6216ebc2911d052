//! Everything that can happen in the world, as plain values: a run is a list of them, and any
//! part of such a list is again a run.

use std::fmt;

use gnomon_schemas::topic::{Heading, Stream};

/// A process with its own disk and clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Cloud,
    Site(u16),
}

/// One end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Writer,
    Reader,
}

/// One state machine of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Machine {
    pub(super) site: u16,
    pub(super) stream: Stream,
    pub(super) role: Role,
}

/// How much a shell commits at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything that the node's machines of this site want written.
    Group(u16),
    /// Only the next write of one machine.
    Next(Machine),
}

/// Where some message is: picked by position, so that the list of events can be cut anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) site: u16,
    pub(super) heading: Heading,
    pub(super) at: u8,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Someone sets a field of a document at its writer; the value 0 removes it.
    Set { site: u16, stream: Stream, key: u8, field: u8, value: u8 },
    /// Someone deletes a document at its writer.
    Delete { site: u16, stream: Stream, key: u8 },
    /// Someone makes many documents that are not there, and deletes those that are.
    Churn { site: u16, stream: Stream, from: u16, count: u16 },
    /// The site's application makes one `reported` follow its `desired`.
    Apply { site: u16, pick: u8 },
    /// A shell makes durable what its machines asked for.
    Commit(Node, Scope),
    /// A shell carries out a machine's next effect.
    Effect(Machine),
    /// A shell calls a writer whose timer is due.
    Timer { site: u16, stream: Stream },
    /// A site connects; `heard` says whether it learns that it did.
    Connect { site: u16, heard: bool },
    /// The site finds its connection dead.
    SiteHangsUp(u16),
    /// The broker finds the site's connection dead.
    BrokerHangsUp(u16),
    /// The broker starts anew, without any sessions.
    BrokerRestart,
    /// One direction of a site's link stops or starts to carry.
    Cut { site: u16, heading: Heading, on: bool },
    /// A message arrives.
    Arrive(Pick),
    /// A message arrives and stays under way.
    Repeat(Pick),
    /// A message is lost.
    Lose(Pick),
    /// A document inside a message is altered, under its old digest.
    Damage(Pick),
    /// A process dies and starts again; `kept` says whether the commit that was under way is on
    /// the disk.
    Crash { node: Node, kept: bool },
    /// A disk is replaced by an empty one.
    Wipe(Node),
    /// Someone copies a disk.
    Backup(Node),
    /// Someone puts the copy back, and says so.
    RestoreBackup(Node),
    /// A disk is full, or has room again.
    Full { node: Node, on: bool },
    /// Time passes.
    Wait { millis: u32 },
    /// One node's clock jumps ahead.
    Jump { node: Node, millis: u32 },
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cloud => f.write_str("cloud"),
            Self::Site(site) => write!(f, "site {site}"),
        }
    }
}

impl Machine {
    /// The process that the machine lives in.
    pub(super) const fn node(self) -> Node {
        match (self.stream, self.role) {
            (Stream::Down, Role::Writer) | (Stream::Up, Role::Reader) => Node::Cloud,
            (Stream::Down, Role::Reader) | (Stream::Up, Role::Writer) => Node::Site(self.site),
        }
    }

    /// The machines of one site: its own two and the cloud's two.
    pub(super) fn all(site: u16) -> impl Iterator<Item = Self> {
        [Stream::Down, Stream::Up].into_iter().flat_map(move |stream| {
            [Role::Writer, Role::Reader].map(|role| Self { site, stream, role })
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (role, stream) = (self.role, self.stream);
        match self.node() {
            Node::Cloud => write!(f, "cloud's {role:?}<{stream:?}> for site {}", self.site),
            Node::Site(site) => write!(f, "site {site}'s {role:?}<{stream:?}>"),
        }
    }
}
