//! The cloud's way to the nodes: what the core needs of a broker, and nothing more.

use gnomon_schemas::id::{DeviceName, NodeName};
use gnomon_schemas::topic::{ThingTopic, Topic};

use crate::domain::{Admission, Session};

/// Carries messages to nodes and ends their sessions. Both may be lost; neither may block.
pub trait Link: Send + Sync + 'static {
    /// Sends a message to whoever is subscribed to its topic.
    fn publish(&self, topic: &Topic, payload: Vec<u8>);

    /// From now on a node is let in with these certificates and with no others.
    fn admit(&self, node: &NodeName, admission: &Admission);

    /// Says something about a shadow of a thing to whoever is subscribed.
    fn publish_thing(&self, topic: &ThingTopic, body: Vec<u8>);

    /// From now on a thing is let in with these certificates and with no others.
    fn admit_thing(&self, thing: &DeviceName, serials: &[String]);

    /// Ends a session.
    fn close(&self, session: Session);
}
