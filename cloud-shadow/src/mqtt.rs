//! Between the broker and the core: sessions and messages of nodes become commands, effects
//! become messages. Decides nothing beyond what is well formed and who may say it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gnomon_broker::{
    Acl, AttachConfig, Attachment, AttachmentEvent, Broker, DisconnectReason, Principal, Publisher,
    Qos, Role, Rule, SessionId, TopicFilter, TopicLimits, TopicName,
};
use gnomon_schemas::id::{DeviceName, NodeName};
use gnomon_schemas::topic::{FROM_ALL_NODES, NODE_PUBLISHES, NODE_SUBSCRIBES, ThingTopic, Topic};
use gnomon_schemas::wire::Message;
use tracing::Instrument as _;

use crate::aws::{self, mqtt::ThingLink};
use crate::core::CoreHandle;
use crate::domain::{Action, Admission, Author, Command, Session};
use crate::identity::{Roll, Unlisted};
use crate::link::Link;
use crate::metrics::{Direction, Metrics};
use crate::quiet::Quiet;
use crate::spans;

/// How many events of the broker may wait for the core before clients have to wait.
const EVENTS: usize = 4096;

/// What nodes and things may do at the broker; nobody else may do anything.
pub fn acl() -> Acl {
    let pattern = |text: &str| text.parse().expect("the protocol's patterns are well formed");
    let node = Rule {
        role: Role::Node,
        publish: vec![pattern(NODE_PUBLISHES)],
        subscribe: vec![pattern(NODE_SUBSCRIBES)],
    };
    Acl::new(vec![node, aws::mqtt::rule()])
}

/// Connects the cloud to its broker.
pub(crate) fn attach(
    broker: &Broker,
    roll: Roll,
    things: Arc<ThingLink>,
) -> (Attachment, Arc<BrokerLink>) {
    let filter = TopicFilter::parse(FROM_ALL_NODES, TopicLimits::MQTT);
    let filters = vec![filter.expect("the protocol's filter is well formed")];
    let attachment = broker.attach(AttachConfig { filters, capacity: EVENTS });
    let link =
        BrokerLink { publisher: attachment.publisher(), sessions: Mutex::default(), roll, things };
    (attachment, Arc::new(link))
}

/// The way to the nodes through the broker.
#[derive(Debug)]
pub struct BrokerLink {
    publisher: Publisher,
    roll: Roll,
    things: Arc<ThingLink>,
    /// The broker's names of the sessions of nodes. A lock, because the core ends sessions that
    /// the attachment's task has seen begin; held for one look.
    sessions: Mutex<BTreeMap<Session, SessionId>>,
}

impl BrokerLink {
    fn sessions(&self) -> MutexGuard<'_, BTreeMap<Session, SessionId>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link for BrokerLink {
    fn publish(&self, topic: &Topic, payload: Vec<u8>) {
        let result = self.publisher.publish(&topic.to_string(), payload.into(), Qos::AtLeastOnce);
        match result {
            Ok(0) => tracing::trace!(%topic, "a message reached no session"),
            Ok(_) => {}
            Err(error) => tracing::debug!(%topic, %error, "a message was not published"),
        }
    }

    fn admit(&self, node: &NodeName, admission: &Admission) {
        if self.roll.admit(node, admission) {
            let is_good = |shown: Option<&[u8]>| shown.is_some_and(|s| self.roll.lists(node, s));
            self.publisher.end_sessions(&Principal::new(node.as_str(), Role::Node), is_good);
        }
    }

    fn publish_thing(&self, topic: &ThingTopic, body: Vec<u8>) {
        self.things.publish(&topic.to_string(), body);
    }

    fn admit_thing(&self, thing: &DeviceName, serials: &[String]) {
        self.things.admit(thing, serials);
    }

    fn close(&self, session: Session) {
        let id = self.sessions().get(&session).copied();
        if let Some(id) = id {
            self.publisher.disconnect(id, DisconnectReason::Administrative);
        }
    }
}

/// Hands the broker's events to the core until either ends.
pub async fn run(
    mut attachment: Attachment,
    link: Arc<BrokerLink>,
    core: CoreHandle,
    metrics: Metrics,
) {
    let mut intake = Intake { link, metrics, quiet: Quiet::default() };
    while let Some(event) = attachment.next().await {
        let Some(command) = intake.translate(event) else { continue };
        let shown = intake.shown(&command);
        let span = spans::told(&command);
        if core.tell(command).instrument(span).await.is_err() {
            break;
        }
        if let Some(shown) = shown
            && core.tell(shown).await.is_err()
        {
            break;
        }
    }
}

struct Intake {
    link: Arc<BrokerLink>,
    metrics: Metrics,
    quiet: Quiet,
}

/// Why a message of a node is not taken.
#[derive(Debug, thiserror::Error)]
enum BadMessage {
    #[error("the publisher is not a node")]
    NotANode,
    #[error("the topic is not one of the protocol")]
    Topic(#[from] gnomon_schemas::topic::ParseTopicError),
    #[error("the topic names another node")]
    Foreign,
    #[error("the payload is malformed")]
    Payload(#[from] gnomon_schemas::wire::DecodeError),
}

impl BadMessage {
    const fn label(&self) -> &'static str {
        match self {
            Self::NotANode => "not_a_node",
            Self::Topic(_) => "bad_topic",
            Self::Foreign => "foreign_node",
            Self::Payload(_) => "malformed",
        }
    }
}

impl Intake {
    fn translate(&mut self, event: AttachmentEvent) -> Option<Command> {
        match event {
            AttachmentEvent::Connected { session, principal, peer, .. } => {
                let node = node_of(&principal)?;
                tracing::debug!(%node, %session, %peer, "a node connected");
                self.link.sessions().insert(Session(session.get()), session);
                Some(command(node, Action::Connected(Session(session.get()))))
            }
            AttachmentEvent::Disconnected { session, principal, reason } => {
                let node = node_of(&principal)?;
                tracing::debug!(%node, %session, %reason, "a node disconnected");
                self.link.sessions().remove(&Session(session.get()));
                Some(command(
                    node,
                    Action::Disconnected(Session(session.get()), reason.to_string()),
                ))
            }
            AttachmentEvent::Publish { session, principal, topic, payload, .. } => {
                let session = Session(session?.get());
                match self.read(session, &principal, &topic, &payload) {
                    Ok(command) => Some(command),
                    Err(bad) => {
                        self.complain(&principal, &topic, &bad);
                        None
                    }
                }
            }
        }
    }

    /// With which of its certificates a node has connected, if it has several, or if the store
    /// does not know this one.
    fn shown(&self, connected: &Command) -> Option<Command> {
        let Action::Connected(session) = connected.action else { return None };
        let node = connected.node.clone();
        if let Some(Unlisted { certificate, issued_s }) = self.link.roll.take_unlisted(&node) {
            let session = Some(session);
            return Some(command(node, Action::Learn { certificate, issued_s, session }));
        }
        let serial = self.link.roll.take_shown(&node)?;
        Some(command(node, Action::Shown { serial }))
    }

    fn read(
        &self,
        session: Session,
        principal: &Principal,
        topic: &TopicName,
        payload: &[u8],
    ) -> Result<Command, BadMessage> {
        let node = node_of(principal).ok_or(BadMessage::NotANode)?;
        let topic: Topic = topic.as_str().parse()?;
        if topic.node != node {
            return Err(BadMessage::Foreign);
        }
        self.metrics.message(Direction::Received, &topic, payload.len());
        let message = Message::decode(topic.kind, payload)?;
        let (stream, bytes) = (topic.stream(), payload.len());
        Ok(command(node, Action::Received { session, stream, message, bytes }))
    }

    fn complain(&mut self, principal: &Principal, topic: &TopicName, bad: &BadMessage) {
        self.metrics.dropped(bad.label());
        if let Some(unsaid) = self.quiet.speak() {
            let error: &dyn std::error::Error = bad;
            let topic = topic.as_str();
            tracing::warn!(%principal, topic, unsaid, error, "a message was dropped");
        }
    }
}

/// What a node does, it does itself.
fn command(node: NodeName, action: Action) -> Command {
    let by = Author::node(&node);
    Command { node, action, by }
}

fn node_of(principal: &Principal) -> Option<NodeName> {
    match principal.role {
        Role::Node => principal.name.parse().ok(),
        Role::Device | Role::Service | Role::Anonymous => None,
    }
}

#[cfg(test)]
mod tests;
