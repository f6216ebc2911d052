//! MQTT topics, of the sync protocol and of AWS IoT shadows: the one place where they are built and
//! parsed.

use std::fmt;
use std::str::FromStr;

use crate::id::{NodeName, ParseIdError};

mod thing;

pub use thing::{
    FROM_ALL_THINGS, Operation, ParseThingTopicError, Response, ShadowId, THING_PUBLISHES,
    THING_SUBSCRIBES, ThingTopic,
};

/// The topics that a node may publish to, as a pattern with the placeholder `{node}`.
pub const NODE_PUBLISHES: &str = "gnomon/1/{node}/u/+";

/// The topics that a node may subscribe to, as a pattern with the placeholder `{node}`.
pub const NODE_SUBSCRIBES: &str = "gnomon/1/{node}/d/+";

/// The filter that matches what any node sends.
pub const FROM_ALL_NODES: &str = "gnomon/1/+/u/+";

/// One of the two streams of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Every `desired`: the cloud writes, the site reads.
    Down,
    /// Every `reported`: the site writes, the cloud reads.
    Up,
}

/// Which way a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Heading {
    /// From the cloud to the site.
    ToSite,
    /// From the site to the cloud.
    FromSite,
}

/// The messages of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// A reader's position.
    Hello,
    /// A writer's changes.
    Batch,
    /// A reader's receipt.
    Ack,
    /// A writer's list of what exists.
    Manifest,
    /// A reader's wish for whole documents.
    Fetch,
}

impl MessageKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Batch => "batch",
            Self::Ack => "ack",
            Self::Manifest => "manifest",
            Self::Fetch => "fetch",
        }
    }

    /// Whether the writer of a stream sends it (else the reader does).
    pub const fn is_from_writer(self) -> bool {
        matches!(self, Self::Batch | Self::Manifest)
    }
}

/// The topic of one kind of message between the cloud and one site:
/// `gnomon/1/<node>/d/<kind>` to the site, `gnomon/1/<node>/u/<kind>` from it.
///
/// ```
/// use gnomon_schemas::topic::{Stream, Topic};
/// let topic: Topic = "gnomon/1/site-1/d/ack".parse().unwrap();
/// assert_eq!(topic.stream(), Stream::Up);
/// assert_eq!(topic.to_string(), "gnomon/1/site-1/d/ack");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The site at one end.
    pub node: NodeName,
    /// Which way the message travels.
    pub heading: Heading,
    /// What the message is.
    pub kind: MessageKind,
}

/// Why a text is not a topic of the sync protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTopicError {
    /// It is not `gnomon/<version>/<node>/<d|u>/<message>`.
    #[error("the topic is not `gnomon/<version>/<node>/<d|u>/<message>`")]
    UnknownForm,
    /// It speaks another major version of the protocol.
    #[error("the topic names protocol version {0:?}; this end speaks version 1")]
    OtherVersion(String),
    /// The node's name is bad.
    #[error("the topic holds a bad node name")]
    BadNode(#[source] ParseIdError),
    /// The last level names no message.
    #[error("the topic names no message of the protocol")]
    UnknownMessage,
}

impl Topic {
    /// The topic on which `kind` of `stream` travels to or from `node`.
    pub const fn of(node: NodeName, stream: Stream, kind: MessageKind) -> Self {
        let heading = match (stream, kind.is_from_writer()) {
            (Stream::Down, true) | (Stream::Up, false) => Heading::ToSite,
            (Stream::Down, false) | (Stream::Up, true) => Heading::FromSite,
        };
        Self { node, heading, kind }
    }

    /// The stream that the message belongs to.
    pub const fn stream(&self) -> Stream {
        match (self.heading, self.kind.is_from_writer()) {
            (Heading::ToSite, true) | (Heading::FromSite, false) => Stream::Down,
            (Heading::ToSite, false) | (Heading::FromSite, true) => Stream::Up,
        }
    }

    /// The filter that matches everything sent to `node`.
    pub fn all_to(node: &NodeName) -> String {
        NODE_SUBSCRIBES.replace("{node}", node.as_str())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = match self.heading {
            Heading::ToSite => 'd',
            Heading::FromSite => 'u',
        };
        write!(f, "gnomon/1/{}/{heading}/{}", self.node, self.kind.as_str())
    }
}

impl FromStr for Topic {
    type Err = ParseTopicError;

    fn from_str(text: &str) -> Result<Self, ParseTopicError> {
        let mut levels = text.split('/');
        let (Some("gnomon"), Some(version), Some(node), Some(heading), Some(kind), None) = (
            levels.next(),
            levels.next(),
            levels.next(),
            levels.next(),
            levels.next(),
            levels.next(),
        ) else {
            return Err(ParseTopicError::UnknownForm);
        };
        if version != "1" {
            return Err(ParseTopicError::OtherVersion(version.chars().take(16).collect()));
        }
        let node = node.parse().map_err(ParseTopicError::BadNode)?;
        let heading = match heading {
            "d" => Heading::ToSite,
            "u" => Heading::FromSite,
            _ => return Err(ParseTopicError::UnknownForm),
        };
        let kinds = [
            MessageKind::Hello,
            MessageKind::Batch,
            MessageKind::Ack,
            MessageKind::Manifest,
            MessageKind::Fetch,
        ];
        let kind = kinds.into_iter().find(|known| known.as_str() == kind);
        let kind = kind.ok_or(ParseTopicError::UnknownMessage)?;
        Ok(Self { node, heading, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [MessageKind; 5] = [
        MessageKind::Hello,
        MessageKind::Batch,
        MessageKind::Ack,
        MessageKind::Manifest,
        MessageKind::Fetch,
    ];

    #[test]
    fn every_topic_survives_its_text_and_keeps_its_stream() {
        for stream in [Stream::Down, Stream::Up] {
            for kind in KINDS {
                let topic = Topic::of("site-1".parse().unwrap(), stream, kind);
                let back: Topic = topic.to_string().parse().unwrap();
                assert_eq!(back, topic);
                assert_eq!(back.stream(), stream);
            }
        }
    }

    #[test]
    fn foreign_topics_are_refused_with_the_reason() {
        let parse = |text: &str| text.parse::<Topic>().unwrap_err();
        assert_eq!(parse("gnomon/2/site/d/ack"), ParseTopicError::OtherVersion("2".to_owned()));
        assert_eq!(parse("gnomon/1/site/x/ack"), ParseTopicError::UnknownForm);
        assert_eq!(parse("gnomon/1/site/d/ack/x"), ParseTopicError::UnknownForm);
        assert_eq!(parse("gnomon/1/site/d/nack"), ParseTopicError::UnknownMessage);
        assert!(matches!(parse("gnomon/1/+/d/ack"), ParseTopicError::BadNode(_)));
    }

    #[test]
    fn the_filter_of_a_node_is_the_pattern_that_it_may_subscribe_to() {
        assert_eq!(Topic::all_to(&"site-1".parse().unwrap()), "gnomon/1/site-1/d/+");
    }
}
