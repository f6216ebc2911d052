//! One connected client as a state machine: packets and time in, effects out. No I/O, no clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::acl::{Acl, Action, Decision, Subject};
use crate::codec::Properties;
use crate::filter::TopicFilter;
use crate::limits::Limits;
use crate::outbox::Queued;
use crate::packet::{
    Incoming, IncomingPublish, IncomingSubscribe, Message, Outgoing, Protocol, Qos,
    RequestedFilter, SubscribeAnswer, Subscription, SubscriptionOptions,
};
use crate::principal::Principal;
use crate::reason::DisconnectReason;
use crate::topic::TopicName;
use crate::window::Window;

#[cfg(test)]
pub(crate) mod tests;

/// What the connection must do after a packet. It does it, and only then hands in the next packet.
#[derive(Debug)]
pub(crate) enum Effect {
    Nothing,
    Send(Outgoing),
    /// Route the message, then send the acknowledgement.
    Publish {
        message: Arc<Message>,
        ack: Option<u16>,
    },
    /// Subscribe to what was granted, then answer filter by filter.
    Subscribe {
        pkid: u16,
        requests: Vec<Result<Subscription, SubscribeAnswer>>,
    },
    /// Unsubscribe, then answer filter by filter; `None` is not a filter at all.
    Unsubscribe {
        pkid: u16,
        filters: Vec<Option<TopicFilter>>,
    },
    /// A message was refused; `answer` is what tells the client, if it can be told, or
    /// the end of the session.
    Denied {
        topic: TopicName,
        answer: Result<Option<Outgoing>, DisconnectReason>,
    },
}

/// What every session of a broker is held to.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) acl: Acl,
    pub(crate) limits: Limits,
}

/// Who the client is and what was agreed at its CONNECT.
#[derive(Debug)]
pub(crate) struct Agreement {
    pub(crate) protocol: Protocol,
    pub(crate) principal: Arc<Principal>,
    pub(crate) client_id: Arc<str>,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) inflight: u16,
    pub(crate) maximum_packet: usize,
    pub(crate) will: Option<Arc<Message>>,
}

/// The state of one connected client.
///
/// Drive it so: [`received`](Self::received) for each read; [`handle`](Self::handle) for each
/// packet, doing its effect before the next; [`deliver`](Self::deliver) for what waits in the
/// outbox, while [`can_deliver`](Self::can_deliver); [`check_time`](Self::check_time) at
/// [`deadline`](Self::deadline); at the end [`into_will`](Self::into_will).
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) agreement: Agreement,
    policy: Arc<Policy>,
    last_received: Instant,
    window: Window,
    aliases: Vec<Option<TopicName>>,
}

impl Session {
    pub(crate) fn new(agreement: Agreement, policy: Arc<Policy>, now: Instant) -> Self {
        let window = Window::new(agreement.inflight);
        Self { agreement, policy, last_received: now, window, aliases: Vec::new() }
    }

    /// Notes that bytes arrived.
    pub(crate) fn received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// When [`check_time`](Self::check_time) must be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let keep_alive = self.agreement.keep_alive?;
        Some(self.last_received + keep_alive + keep_alive / 2)
    }

    /// Ends the session when its keep-alive has run out.
    pub(crate) fn check_time(&self, now: Instant) -> Result<(), DisconnectReason> {
        match self.deadline() {
            Some(deadline) if deadline <= now => Err(DisconnectReason::KeepAliveTimeout),
            _ => Ok(()),
        }
    }

    /// Takes a packet of the client. An error ends the session.
    pub(crate) fn handle(&mut self, packet: Incoming) -> Result<Effect, DisconnectReason> {
        match packet {
            Incoming::Publish(publish) => self.publish(publish),
            Incoming::PubAck { pkid } => {
                self.window.release(pkid);
                Ok(Effect::Nothing)
            }
            Incoming::Subscribe(subscribe) => Ok(self.subscribe(subscribe)),
            Incoming::Unsubscribe { pkid, filters } => {
                let limits = &self.policy.limits;
                let too_many = filters.len() > limits.subscriptions;
                let parse = |text: String| TopicFilter::parse(&text, limits.topic).ok();
                let parse = |text| if too_many { None } else { parse(text) };
                let filters = filters.into_iter().map(parse).collect();
                Ok(Effect::Unsubscribe { pkid, filters })
            }
            Incoming::Ping => Ok(Effect::Send(Outgoing::Pong)),
            Incoming::Disconnect { with_will: false } => Err(DisconnectReason::ByClient),
            Incoming::Disconnect { with_will: true } => Err(DisconnectReason::ByClientWithWill),
        }
    }

    /// Whether a `QoS` 1 message may be sent to the client.
    pub(crate) fn can_deliver(&self) -> bool {
        self.window.is_open()
    }

    /// The packet that carries a message to the client; `None` if the window is closed.
    pub(crate) fn deliver(&mut self, queued: Queued) -> Option<Outgoing> {
        let pkid = match queued.qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => self.window.acquire()?,
        };
        Some(Outgoing::Publish { message: queued.message, qos: queued.qos, pkid })
    }

    /// Forgets a message that could not be sent, because it is too large for the client.
    pub(crate) fn undeliverable(&mut self, pkid: u16) {
        self.window.release(pkid);
    }

    /// The will that is to be published now that the session ended so.
    pub(crate) fn into_will(self, reason: DisconnectReason) -> Option<Arc<Message>> {
        self.agreement.will.filter(|_| reason.publishes_will())
    }

    fn publish(&mut self, publish: IncomingPublish) -> Result<Effect, DisconnectReason> {
        let v5 = self.agreement.protocol == Protocol::V5;
        let qos = match publish.qos {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            _ => return Err(DisconnectReason::QosNotSupported),
        };
        if publish.retain && v5 {
            return Err(DisconnectReason::RetainNotSupported);
        }
        if publish.has_subscription_id || !has_valid_response_topic(publish.properties.as_deref()) {
            return Err(DisconnectReason::ProtocolError);
        }
        let topic = self.resolve_topic(&publish)?;
        let ack = (qos == Qos::AtLeastOnce).then_some(publish.pkid);
        if self.authorize(Action::Publish(&topic)) == Decision::Deny {
            return Ok(Effect::Denied {
                topic,
                answer: match (self.agreement.protocol, ack) {
                    // 3.1.1 has no way to say no but to hang up.
                    (Protocol::V4, _) => Err(DisconnectReason::NotAuthorized),
                    (Protocol::V5, ack) => {
                        Ok(ack.map(|pkid| Outgoing::PubAck { pkid, denied: true }))
                    }
                },
            });
        }
        let IncomingPublish { payload, properties, .. } = publish;
        let message = Arc::new(Message { topic, payload, qos, properties });
        Ok(Effect::Publish { message, ack })
    }

    fn resolve_topic(&mut self, publish: &IncomingPublish) -> Result<TopicName, DisconnectReason> {
        let limits = self.policy.limits.topic;
        let name = match publish.topic.as_ref() {
            [] => None,
            bytes => Some(
                TopicName::from_bytes(bytes, limits)
                    .map_err(|_| DisconnectReason::TopicNameInvalid)?,
            ),
        };
        let Some(alias) = publish.alias else {
            return name.ok_or(DisconnectReason::TopicNameInvalid);
        };
        let slot = usize::from(alias).checked_sub(1).ok_or(DisconnectReason::TopicAliasInvalid)?;
        if alias > self.policy.limits.topic_aliases {
            return Err(DisconnectReason::TopicAliasInvalid);
        }
        match name {
            Some(name) => {
                if self.aliases.len() <= slot {
                    self.aliases.resize(slot + 1, None);
                }
                if let Some(entry) = self.aliases.get_mut(slot) {
                    *entry = Some(name.clone());
                }
                Ok(name)
            }
            None => self
                .aliases
                .get(slot)
                .and_then(Clone::clone)
                .ok_or(DisconnectReason::TopicAliasInvalid),
        }
    }

    fn subscribe(&self, subscribe: IncomingSubscribe) -> Effect {
        let IncomingSubscribe { pkid, has_id, filters } = subscribe;
        // More than a session may have in all: not worth a look, since looking costs.
        let too_many = filters.len() > self.policy.limits.subscriptions;
        let request = |filter| match self.grant(filter) {
            Ok(_) if has_id => Err(SubscribeAnswer::NoSubscriptionIds),
            other => other,
        };
        let requests = if too_many {
            vec![Err(SubscribeAnswer::QuotaExceeded); filters.len()]
        } else {
            filters.iter().map(request).collect()
        };
        Effect::Subscribe { pkid, requests }
    }

    fn grant(&self, requested: &RequestedFilter) -> Result<Subscription, SubscribeAnswer> {
        let filter = TopicFilter::parse(&requested.path, self.policy.limits.topic)
            .map_err(|_| SubscribeAnswer::Invalid)?;
        if filter.is_shared() {
            return Err(SubscribeAnswer::NoSharedSubscriptions);
        }
        if self.authorize(Action::Subscribe(&filter)) == Decision::Deny {
            return Err(SubscribeAnswer::NotAuthorized);
        }
        let qos = if requested.qos == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
        let options = SubscriptionOptions { qos, no_local: requested.no_local };
        Ok(Subscription { filter, options })
    }

    fn authorize(&self, action: Action<'_>) -> Decision {
        let Agreement { principal, client_id, .. } = &self.agreement;
        self.policy.acl.authorize(Subject { principal, client_id }, action)
    }
}

fn has_valid_response_topic(properties: Option<&Properties>) -> bool {
    properties
        .and_then(Properties::response_topic)
        .is_none_or(|topic| topic.parse::<TopicName>().is_ok())
}
