//! Things at the broker: what they publish becomes orders, what the core says becomes messages.
//! A will is not seen as a request, since it comes from no session that is there to ask.

use std::sync::Arc;

use gnomon_broker::{
    AttachConfig, Attachment, AttachmentEvent, Broker, Principal, Publisher, Qos, Role, Rule,
    TopicFilter, TopicLimits, TopicName,
};
use gnomon_schemas::id::DeviceName;
use gnomon_schemas::topic::{
    FROM_ALL_THINGS, Operation, ParseThingTopicError, Response, THING_PUBLISHES, THING_SUBSCRIBES,
    ThingTopic,
};

use super::ThingRoll;
use super::domain::{Order, Origin, Rejected, Request, rejected};
use crate::clock;
use crate::core::{CoreHandle, Deed};
use crate::domain::Author;
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
    let link = ThingLink { publisher: attachment.publisher(), roll };
    (attachment, Arc::new(link))
}

/// The way to things through the broker.
#[derive(Debug)]
pub(crate) struct ThingLink {
    publisher: Publisher,
    roll: ThingRoll,
}

impl ThingLink {
    /// Says something to whoever is subscribed.
    pub(crate) fn publish(&self, topic: &str, body: Vec<u8>) {
        if let Err(error) = self.publisher.publish(topic, body.into(), Qos::AtLeastOnce) {
            tracing::debug!(topic, %error, "a message was not published");
        }
    }

    /// From now on only these certificates let the thing in; sessions by others end.
    pub(crate) fn admit(&self, thing: &DeviceName, serials: &[String]) {
        if self.roll.admit(thing, serials.iter().map(String::as_str)) {
            let is_good = |shown: Option<&[u8]>| shown.is_some_and(|s| self.roll.knows(thing, s));
            let principal = Principal::new(thing.as_str(), Role::Device);
            self.publisher.end_sessions(&principal, is_good);
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
            AttachmentEvent::Publish { session: Some(_), topic, payload, .. } => {
                let read = read(&topic, &payload);
                let operation = read.as_ref().ok().and_then(operation);
                metrics.thing_message(Direction::Received, operation, payload.len());
                match read {
                    Ok(order) => {
                        let deed = deed(&order);
                        if core.tell_order(order, deed).await.is_err() {
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
            AttachmentEvent::Connected { .. }
            | AttachmentEvent::Disconnected { .. }
            | AttachmentEvent::Publish { session: None, .. } => {}
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

/// What of it is to be remembered: over MQTT nobody asks about a thing but itself.
fn deed(order: &Order) -> Option<Deed> {
    let Order::Shadow(id, request, _) = order else { return None };
    Deed::of_request(id, request, true, || Author::thing(&id.thing))
}

fn operation(order: &Order) -> Option<Operation> {
    match order {
        Order::Shadow(_, request, _) => Some(request.operation()),
        Order::Forget(..) | Order::Certify(..) | Order::Revoke(..) => None,
    }
}
