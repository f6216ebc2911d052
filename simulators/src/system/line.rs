//! The link of one site: who believes in a connection, and what is under way in it.

use gnomon_schemas::topic::Topic;
use gnomon_schemas::wire::Message;

/// A connection; later ones are greater.
pub(super) type Session = u64;

/// A message under way.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) session: Session,
    pub(super) topic: Topic,
    pub(super) bytes: Vec<u8>,
}

/// The most messages under way in one direction; more are lost, as in any buffer.
const UNDER_WAY: usize = 1_000;

/// One site's link. Either end may be wrong about the other.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) site: Option<Session>,
    pub(super) broker: Option<Session>,
    down: Vec<Packet>,
    up: Vec<Packet>,
}

impl Line {
    pub(super) fn packets(&mut self, up: bool) -> &mut Vec<Packet> {
        if up { &mut self.up } else { &mut self.down }
    }

    /// Sends to the site; false if there is no connection, as the broker sees it.
    pub(super) fn send_down(&mut self, topic: Topic, bytes: Vec<u8>) -> bool {
        let Some(session) = self.broker else { return false };
        push(&mut self.down, Packet { session, topic, bytes })
    }

    /// Sends to the cloud; false if there is no connection, as the site sees it.
    pub(super) fn send_up(&mut self, topic: &Topic, message: &Message) -> bool {
        let Some(session) = self.site else { return false };
        push(&mut self.up, Packet { session, topic: topic.clone(), bytes: message.encode() })
    }

    /// Takes the packet out, or a copy of it.
    pub(super) fn take(&mut self, up: bool, at: u8, stays: bool) -> Option<Packet> {
        let packets = self.packets(up);
        let at = usize::from(at) % packets.len().max(1);
        if stays {
            packets.get(at).cloned()
        } else {
            (at < packets.len()).then(|| packets.remove(at))
        }
    }
}

fn push(packets: &mut Vec<Packet>, packet: Packet) -> bool {
    let has_room = packets.len() < UNDER_WAY;
    if has_room {
        packets.push(packet);
    }
    has_room
}

impl Packet {
    pub(super) fn message(&self) -> Option<Message> {
        Message::decode(self.topic.kind, &self.bytes).ok()
    }
}
