//! The link of one site: who believes that there is a connection, and what is under way.

use gnomon_schemas::topic::{Heading, MessageKind, Stream, Topic};
use gnomon_schemas::wire::{Body, Message};

use super::documents;

/// A number for each connection of a site; later ones are greater.
pub(super) type Session = u32;

/// A message under way.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) session: Session,
    pub(super) stream: Stream,
    pub(super) kind: MessageKind,
    pub(super) bytes: Vec<u8>,
}

/// The most messages under way in one direction; more are lost, as in any buffer.
const UNDER_WAY: usize = 5_000;

/// One site's link. Any of the three may be wrong about the others.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// The connection that the site believes in.
    pub(super) site: Option<Session>,
    /// The connection that the broker believes in.
    pub(super) broker: Option<Session>,
    /// The connection that the cloud has heard from.
    pub(super) cloud: Option<Session>,
    last: Session,
    to_site: Vec<Packet>,
    from_site: Vec<Packet>,
    cut_to_site: bool,
    cut_from_site: bool,
}

impl Link {
    pub(super) fn packets(&self, heading: Heading) -> &[Packet] {
        match heading {
            Heading::ToSite => &self.to_site,
            Heading::FromSite => &self.from_site,
        }
    }

    pub(super) fn packets_mut(&mut self, heading: Heading) -> &mut Vec<Packet> {
        match heading {
            Heading::ToSite => &mut self.to_site,
            Heading::FromSite => &mut self.from_site,
        }
    }

    pub(super) fn is_cut(&self, heading: Heading) -> bool {
        match heading {
            Heading::ToSite => self.cut_to_site,
            Heading::FromSite => self.cut_from_site,
        }
    }

    pub(super) fn cut(&mut self, heading: Heading, on: bool) {
        match heading {
            Heading::ToSite => self.cut_to_site = on,
            Heading::FromSite => self.cut_from_site = on,
        }
    }

    /// Whether a connection can be made.
    pub(super) fn is_whole(&self) -> bool {
        !self.cut_to_site && !self.cut_from_site
    }

    /// A new connection, as the broker sees it.
    pub(super) fn connect(&mut self) -> Session {
        self.last += 1;
        self.broker = Some(self.last);
        self.last
    }

    /// The connection on which a message leaves, if whoever sends it believes in one, and the
    /// broker too.
    pub(super) fn way(&self, heading: Heading) -> Option<Session> {
        let believed = match heading {
            Heading::ToSite => self.broker,
            Heading::FromSite => self.site.filter(|_| self.site == self.broker),
        };
        believed.filter(|_| !self.is_cut(heading))
    }

    pub(super) fn send(&mut self, heading: Heading, packet: Packet) {
        let packets = self.packets_mut(heading);
        if packets.len() < UNDER_WAY {
            packets.push(packet);
        }
    }
}

impl Packet {
    pub(super) fn new(session: Session, stream: Stream, message: &Message) -> Self {
        Self { session, stream, kind: message.kind(), bytes: message.encode() }
    }

    pub(super) fn heading(stream: Stream, kind: MessageKind) -> Heading {
        let node = "site".parse().expect("a well-formed name");
        Topic::of(node, stream, kind).heading
    }

    /// Alters a document inside, if there is one, and leaves its digest as it was.
    pub(super) fn damage(&mut self) {
        let Ok(Message::Batch(mut batch)) = Message::decode(self.kind, &self.bytes) else { return };
        for entry in &mut batch.changes {
            if let Body::Full(document, _) = &mut entry.body {
                *document = documents::damaged(document);
            } else if let Body::Patch(patch, _) = &mut entry.body {
                *patch = std::mem::take(patch).compose(documents::damage());
            }
        }
        self.bytes = Message::Batch(batch).encode();
    }
}
