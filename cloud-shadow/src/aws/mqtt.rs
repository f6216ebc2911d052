//! Things at the broker: what they publish becomes orders, what the core says becomes messages.
//! A will is not seen as a request, since it comes from no session that is there to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gnomon_broker::{
    AttachConfig, Attachment, AttachmentEvent, Broker, DisconnectReason, Principal, Publisher, Qos,
    Role, Rule, SessionId, TopicFilter, TopicLimits, TopicName,
};
use gnomon_schemas::id::DeviceName;
use gnomon_schemas::topic::{
    FROM_ALL_THINGS, Operation, ParseThingTopicError, Response, THING_PUBLISHES, THING_SUBSCRIBES,
    ThingTopic,
};

use super::ThingRoll;
use super::domain::{Order, Origin, Rejected, Request, rejected};
use crate::clock;
use crate::core::CoreHandle;
use crate::metrics::{Direction, Metrics};

/// How many requests may wait for the core before things have to wait.
const EVENTS: usize = 4096;

/// What a thing may do at the broker.
pub(crate) fn rule() -> Rule {
    Rule::new(Role::Device, &THING_PUBLISHES, &[THING_SUBSCRIBES])
        .expect("the patterns of things are well formed")
}

/// Connects the face to the broker.
pub(crate) fn attach(broker: &Broker, roll: ThingRoll) -> (Attachment, Arc<ThingLink>) {
    let parse = |text: &str| TopicFilter::parse(text, TopicLimits::MQTT);
    let filters = FROM_ALL_THINGS.into_iter().map(parse).collect::<Result<_, _>>();
    let filters = filters.expect("the filters of things are well formed");
    let attachment = broker.attach(AttachConfig { filters, capacity: EVENTS });
    let link = ThingLink { publisher: attachment.publisher(), roll, sessions: Mutex::default() };
    (attachment, Arc::new(link))
}

/// The way to things through the broker.
#[derive(Debug)]
pub(crate) struct ThingLink {
    publisher: Publisher,
    roll: ThingRoll,
    /// The sessions of things. A lock, because the core ends what the attachment's task has seen
    /// begin; held for one look.
    sessions: Mutex<BTreeMap<DeviceName, BTreeSet<SessionId>>>,
}

impl ThingLink {
    /// Says something to whoever is subscribed.
    pub(crate) fn publish(&self, topic: &str, body: Vec<u8>) {
        if let Err(error) = self.publisher.publish(topic, body.into(), Qos::AtLeastOnce) {
            tracing::debug!(topic, %error, "a message was not published");
        }
    }

    /// From now on only these certificates let the thing in; it has to come again.
    pub(crate) fn admit(&self, thing: &DeviceName, serials: &[String]) {
        self.roll.admit(thing, serials.iter().map(String::as_str));
        let sessions = self.sessions().get(thing).cloned().unwrap_or_default();
        for session in sessions {
            self.publisher.disconnect(session, DisconnectReason::Administrative);
        }
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<DeviceName, BTreeSet<SessionId>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn began(&self, principal: &Principal, session: SessionId) {
        let Some(thing) = thing_of(principal) else { return };
        self.sessions().entry(thing).or_default().insert(session);
    }

    fn ended(&self, principal: &Principal, session: SessionId) {
        let Some(thing) = thing_of(principal) else { return };
        let mut sessions = self.sessions();
        if let Some(own) = sessions.get_mut(&thing) {
            own.remove(&session);
            if own.is_empty() {
                sessions.remove(&thing);
            }
        }
    }
}

/// Hands requests to the core until the broker or the core ends.
pub(crate) async fn run(
    mut attachment: Attachment,
    link: Arc<ThingLink>,
    core: CoreHandle,
    metrics: Metrics,
) {
    while let Some(event) = attachment.next().await {
        match event {
            AttachmentEvent::Connected { session, principal, .. } => {
                link.began(&principal, session);
            }
            AttachmentEvent::Disconnected { session, principal, .. } => {
                link.ended(&principal, session);
            }
            AttachmentEvent::Publish { session: Some(_), topic, payload, .. } => {
                let read = read(&topic, &payload);
                let operation = read.as_ref().ok().and_then(operation);
                metrics.thing_message(Direction::Received, operation, payload.len());
                match read {
                    Ok(order) => {
                        if core.tell_order(order).await.is_err() {
                            break;
                        }
                    }
                    Err((topic, body, why)) => {
                        metrics.refused(why.kind());
                        metrics.thing_message(Direction::Sent, None, body.len());
                        link.publish(&topic, body);
                    }
                }
            }
            AttachmentEvent::Publish { session: None, .. } => {}
        }
    }
}

/// The order in a message, or where to say what about why it is none.
fn read(topic: &TopicName, payload: &[u8]) -> Result<Order, (String, Vec<u8>, Rejected)> {
    let refuse = |topic: String, why: Rejected, token: Option<&str>| {
        (topic, rejected(&why, token, clock::unix_ms() / 1000), why)
    };
    let ThingTopic { id, operation, .. } = topic.as_str().parse().map_err(|error| {
        let what = match error {
            ParseThingTopicError::BadShadow(_) => "shadow",
            ParseThingTopicError::BadThing(_) | ParseThingTopicError::UnknownForm => "thing",
        };
        // The SDKs know by it which of their requests was refused.
        let token = Request::token_in(payload);
        let beside = ThingTopic::refusal_of(topic.as_str());
        refuse(beside, Rejected::InvalidName(what), token.as_deref())
    })?;
    match Request::read(operation, payload) {
        Ok(request) => Ok(Order::Shadow(id, request, Origin::Mqtt)),
        Err(unread) => {
            let topic = ThingTopic::of(id, operation, Response::Rejected).to_string();
            Err(refuse(topic, unread.rejected, unread.token.as_deref()))
        }
    }
}

fn operation(order: &Order) -> Option<Operation> {
    match order {
        Order::Shadow(_, request, _) => Some(request.operation()),
        Order::Forget(..) | Order::Certify(..) | Order::Revoke(..) => None,
    }
}

fn thing_of(principal: &Principal) -> Option<DeviceName> {
    match principal.role {
        Role::Device => principal.name.parse().ok(),
        Role::Node | Role::Service | Role::Anonymous => None,
    }
}
