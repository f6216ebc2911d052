//! One connected client as a state machine: packets and time in, effects out. No I/O, no clock.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::acl::{Acl, Action, Decision, Subject};
use crate::codec::{Dialect, Properties};
use crate::filter::TopicFilter;
use crate::limits::Limits;
use crate::packet::{
    Ack, Incoming, IncomingPublish, IncomingSubscribe, Message, Outgoing, Protocol, Qos,
    RequestedFilter, SubscribeAnswer, Subscription, SubscriptionOptions, Will,
};
use crate::reason::DisconnectReason;
use crate::table::ClientKey;
use crate::topic::TopicName;

#[cfg(test)]
pub(crate) mod tests;
mod throttle;

use throttle::Throttle;

/// What the connection must do after a packet. It does it, and only then hands in the next packet.
#[derive(Debug)]
pub(crate) enum Effect {
    Send(Outgoing),
    /// Hand it to the mailbox, and send its answer.
    Acknowledge(Ack),
    /// Route the message, unless it is `QoS` 2 and the mailbox knows it; then send the
    /// acknowledgement.
    Publish {
        message: Arc<Message>,
        pkid: u16,
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
    pub(crate) dialect: Dialect,
    pub(crate) key: Arc<ClientKey>,
    pub(crate) clean_start: bool,
    /// In seconds.
    pub(crate) keep_alive: Option<NonZeroU16>,
    /// How long the session outlives the connection.
    pub(crate) expiry: Duration,
    pub(crate) inflight: u16,
    pub(crate) will: Option<Arc<Will>>,
}

/// The state of one connected client, apart from what waits for it (the mailbox).
///
/// Drive it so: [`received`](Self::received) for each read; [`handle`](Self::handle) for each
/// packet, doing its effect before the next; [`check_time`](Self::check_time) at
/// [`deadline`](Self::deadline); at the end [`take_will`](Self::take_will).
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) agreement: Agreement,
    policy: Arc<Policy>,
    last_received: Instant,
    #[expect(clippy::box_collection, reason = "few clients have any, and each pays for it")]
    aliases: Option<Box<Vec<Option<TopicName>>>>,
    throttle: Option<Box<Throttle>>,
}

impl Session {
    pub(crate) fn new(agreement: Agreement, policy: Arc<Policy>, now: Instant) -> Self {
        let throttle = Throttle::new(&policy.limits, now);
        Self { agreement, policy, last_received: now, aliases: None, throttle }
    }

    /// Whether there is a bound to how fast the client may publish.
    pub(crate) fn has_rate(&self) -> bool {
        self.throttle.is_some()
    }

    /// When the client may be read from again, if it published too fast.
    pub(crate) fn throttled_until(&self, now: Instant) -> Option<Instant> {
        self.throttle.as_ref().and_then(|throttle| throttle.ready_at(now))
    }

    /// Notes that bytes arrived.
    pub(crate) fn received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// When [`check_time`](Self::check_time) must be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let keep_alive = Duration::from_secs(self.agreement.keep_alive?.get().into());
        Some(self.last_received + keep_alive + keep_alive / 2)
    }

    /// Ends the session when its keep-alive has run out.
    pub(crate) fn check_time(&self, now: Instant) -> Result<(), DisconnectReason> {
        match self.deadline() {
            Some(deadline) if deadline <= now => Err(DisconnectReason::KeepAliveTimeout),
            _ => Ok(()),
        }
    }

    /// Takes a packet of the client. An error ends the connection.
    pub(crate) fn handle(
        &mut self,
        packet: Incoming,
        now: Instant,
    ) -> Result<Effect, DisconnectReason> {
        match packet {
            Incoming::Publish(publish) => self.publish(publish, now),
            Incoming::Ack(ack) => Ok(Effect::Acknowledge(ack)),
            Incoming::Subscribe(subscribe) => self.subscribe(subscribe),
            Incoming::Unsubscribe { pkid, filters } => {
                let limits = &self.policy.limits;
                let too_many = filters.len() > limits.subscriptions;
                let parse = |text: String| TopicFilter::parse(&text, limits.topic).ok();
                let parse = |text| if too_many { None } else { parse(text) };
                let filters = filters.into_iter().map(parse).collect();
                Ok(Effect::Unsubscribe { pkid, filters })
            }
            Incoming::Ping => Ok(Effect::Send(Outgoing::Pong)),
            Incoming::Disconnect { with_will, session_expiry } => {
                Err(self.goodbye(with_will, session_expiry))
            }
        }
    }

    /// The will that is to be published, now or later, after the connection ended so.
    pub(crate) fn take_will(&mut self, reason: DisconnectReason) -> Option<Arc<Will>> {
        self.agreement.will.take().filter(|_| reason.publishes_will())
    }

    fn goodbye(&mut self, with_will: bool, session_expiry: Option<u32>) -> DisconnectReason {
        if let Some(seconds) = session_expiry {
            if self.agreement.expiry.is_zero() && seconds > 0 {
                return DisconnectReason::ProtocolError;
            }
            let most = self.policy.limits.session_expiry;
            self.agreement.expiry = Duration::from_secs(seconds.into()).min(most);
        }
        if with_will { DisconnectReason::ByClientWithWill } else { DisconnectReason::ByClient }
    }

    fn publish(
        &mut self,
        publish: IncomingPublish,
        now: Instant,
    ) -> Result<Effect, DisconnectReason> {
        let protocol = self.agreement.dialect.protocol;
        let qos = Qos::of(publish.qos).ok_or(DisconnectReason::Malformed)?;
        let keeps_retained = self.policy.limits.retained_messages > 0;
        if publish.retain && protocol == Protocol::V5 && !keeps_retained {
            return Err(DisconnectReason::RetainNotSupported);
        }
        if publish.has_subscription_id || !has_valid_response_topic(publish.properties.as_deref()) {
            return Err(DisconnectReason::ProtocolError);
        }
        let topic = self.resolve_topic(&publish)?;
        let IncomingPublish { payload, properties, pkid, retain, expiry, .. } = publish;
        if self.authorize_publish(&topic) == Decision::Deny {
            let answer = match (protocol, qos) {
                // 3.1.1 has no way to say no but to hang up.
                (Protocol::V4, _) => Err(DisconnectReason::NotAuthorized),
                (Protocol::V5, Qos::AtMostOnce) => Ok(None),
                (Protocol::V5, Qos::AtLeastOnce) => {
                    Ok(Some(Outgoing::PubAck { pkid, denied: true }))
                }
                (Protocol::V5, Qos::ExactlyOnce) => {
                    Ok(Some(Outgoing::PubRec { pkid, denied: true }))
                }
            };
            return Ok(Effect::Denied { topic, answer });
        }
        let expires = expiry.map(|seconds| now + Duration::from_secs(seconds.into()));
        let retain = retain && keeps_retained;
        let message = Arc::new(Message { topic, payload, qos, retain, expires, properties });
        if let Some(throttle) = &mut self.throttle {
            throttle.charge(&message, now);
        }
        Ok(Effect::Publish { message, pkid })
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
                let aliases = self.aliases.get_or_insert_default();
                if aliases.len() <= slot {
                    aliases.resize(slot + 1, None);
                }
                if let Some(entry) = aliases.get_mut(slot) {
                    *entry = Some(name.clone());
                }
                Ok(name)
            }
            None => self
                .aliases
                .as_ref()
                .and_then(|aliases| aliases.get(slot))
                .and_then(Clone::clone)
                .ok_or(DisconnectReason::TopicAliasInvalid),
        }
    }

    fn subscribe(&self, subscribe: IncomingSubscribe) -> Result<Effect, DisconnectReason> {
        let IncomingSubscribe { pkid, id, filters } = subscribe;
        let id = match id {
            Some(id) => Some(NonZeroU32::new(id).ok_or(DisconnectReason::ProtocolError)?),
            None => None,
        };
        // More than a session may have in all: not worth a look, since looking costs.
        if filters.len() > self.policy.limits.subscriptions {
            let requests = vec![Err(SubscribeAnswer::QuotaExceeded); filters.len()];
            return Ok(Effect::Subscribe { pkid, requests });
        }
        if filters.iter().any(|f| f.no_local && f.path.starts_with("$share/")) {
            return Err(DisconnectReason::ProtocolError);
        }
        let requests = filters.iter().map(|filter| self.grant(filter, id)).collect();
        Ok(Effect::Subscribe { pkid, requests })
    }

    fn grant(
        &self,
        requested: &RequestedFilter,
        id: Option<NonZeroU32>,
    ) -> Result<Subscription, SubscribeAnswer> {
        let filter = TopicFilter::parse(&requested.path, self.policy.limits.topic)
            .map_err(|_| SubscribeAnswer::Invalid)?;
        let shared = filter.shared_parts();
        if shared.is_none() && filter.is_shared() {
            return Err(SubscribeAnswer::Invalid);
        }
        let wanted = shared.as_ref().map_or(&filter, |(_, inner)| inner);
        if self.authorize(Action::Subscribe(wanted)) == Decision::Deny {
            return Err(SubscribeAnswer::NotAuthorized);
        }
        let &RequestedFilter { qos, no_local, retain_as_published, retain_handling, .. } =
            requested;
        let options = SubscriptionOptions { qos, no_local, retain_as_published, id };
        Ok(Subscription { filter, shared, options, retain_handling })
    }

    fn authorize_publish(&self, topic: &TopicName) -> Decision {
        if may_be_written(topic) { self.authorize(Action::Publish(topic)) } else { Decision::Deny }
    }

    fn authorize(&self, action: Action<'_>) -> Decision {
        let ClientKey { principal, client_id } = &*self.agreement.key;
        self.policy.acl.authorize(Subject { principal, client_id }, action)
    }
}

/// Of the server's own topics, clients write the shadows of things only, whatever the access
/// rules say.
pub(crate) fn may_be_written(topic: &TopicName) -> bool {
    let mut levels = topic.levels();
    let start = (levels.next(), levels.next(), levels.next().is_some());
    !topic.is_reserved() || start == (Some("$aws"), Some("things"), true)
}

fn has_valid_response_topic(properties: Option<&Properties>) -> bool {
    properties
        .and_then(Properties::response_topic)
        .is_none_or(|topic| topic.parse::<TopicName>().is_ok())
}
