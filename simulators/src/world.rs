//! A deterministic world: one cloud, its sites, their disks, clocks and links, driven by the real
//! state machines of the sync protocol and checked after every event (docs/protocol.md, section
//! 6). Pure: everything follows from one seed; no threads, sockets, clocks or hash maps.

#![expect(clippy::indexing_slicing, reason = "the world's own sites and keys are in range")]

use std::fmt::Write as _;

use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::{Heading, Stream};
use gnomon_sync::Moment;

mod bounds;
mod channel;
mod conduct;
mod disk;
mod documents;
mod driver;
mod event;
mod explore;
mod follower;
mod happen;
mod ledger;
mod measure;
mod network;
mod peace;
mod run;
mod setup;
mod shrink;
mod tally;
mod traffic;
mod violation;
mod wording;

use channel::Channel;
use event::{Machine, Node, Role};
use network::Link;
use setup::Setup;

pub use explore::{Explored, Limits, explore};
pub(crate) use run::guarded;
pub use run::{Failure, Outcome, run, story};
pub use setup::Options;
pub(crate) use shrink::smaller;
pub use tally::Tally;
pub(crate) use violation::ensure;
pub use violation::{Invariant, Violation};

/// A process: when it was started, how far its clock is ahead, whether its disk is full, whether
/// someone has a copy of it.
#[derive(Debug, Default)]
struct Process {
    started: u64,
    ahead: u64,
    full: bool,
    backed_up: bool,
}

/// One site, with its two streams and what lies between it and the cloud.
#[derive(Debug)]
struct Site {
    process: Process,
    link: Link,
    down: Channel,
    up: Channel,
}

/// The world at one time.
#[derive(Debug)]
struct World {
    setup: Setup,
    now: u64,
    cloud: Process,
    sites: Vec<Site>,
    tally: Tally,
    story: Option<String>,
    /// What was sent, while someone counts.
    log: Option<Vec<network::Packet>>,
}

impl World {
    fn new(setup: Setup, tells: bool) -> Self {
        let site = |number: u16| {
            let seed = setup.seed ^ (u64::from(number) << 32);
            let channel = |part| {
                Channel::new(seed.wrapping_mul(3).wrapping_add(part), setup.writer, setup.reader)
            };
            Site {
                process: Process::default(),
                link: Link::default(),
                down: channel(1),
                up: channel(2),
            }
        };
        Self {
            sites: (0..setup.sites).map(site).collect(),
            setup,
            now: 0,
            cloud: Process::default(),
            tally: Tally::default(),
            story: tells.then(String::new),
            log: None,
        }
    }

    fn site(&mut self, site: u16) -> &mut Site {
        let count = self.sites.len();
        &mut self.sites[usize::from(site) % count]
    }

    fn key(&self, pick: u8) -> ShadowKey {
        self.setup.keys[usize::from(pick) % self.setup.keys.len()].clone()
    }

    fn process(&mut self, node: Node) -> &mut Process {
        match node {
            Node::Cloud => &mut self.cloud,
            Node::Site(site) => &mut self.site(site).process,
        }
    }

    /// What a node's clock shows: time since its process was started, and then some.
    fn clock(&mut self, node: Node) -> Moment {
        let now = self.now;
        let process = self.process(node);
        Moment::from_millis(now - process.started + process.ahead)
    }

    /// The sites whose machines live in a node.
    fn sites_of(&self, node: Node) -> std::ops::Range<u16> {
        match node {
            Node::Cloud => 0..self.setup.sites,
            Node::Site(site) => {
                let site = site % self.setup.sites;
                site..site + 1
            }
        }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let (seconds, millis) = (self.now / 1000, self.now % 1000);
            writeln!(story, "{seconds:>5}.{millis:03}  {}", line()).expect("a string takes text");
        }
    }
}

impl Site {
    const fn channel(&self, stream: Stream) -> &Channel {
        match stream {
            Stream::Down => &self.down,
            Stream::Up => &self.up,
        }
    }

    const fn channel_mut(&mut self, stream: Stream) -> &mut Channel {
        match stream {
            Stream::Down => &mut self.down,
            Stream::Up => &mut self.up,
        }
    }

    /// The machines at one end of the link.
    const fn machines_at(heading: Heading) -> [(Stream, Role); 2] {
        match heading {
            Heading::ToSite => [(Stream::Down, Role::Reader), (Stream::Up, Role::Writer)],
            Heading::FromSite => [(Stream::Up, Role::Reader), (Stream::Down, Role::Writer)],
        }
    }
}

impl Machine {
    /// The end of the link that the machine lives at, as a direction towards it.
    const fn end(self) -> Heading {
        match self.node() {
            Node::Cloud => Heading::FromSite,
            Node::Site(_) => Heading::ToSite,
        }
    }
}
