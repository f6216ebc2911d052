//! Orders about things in a round: their rows are read, the domain of AWS shadows decides, and
//! what it wants written goes into the commit of the round. Nothing is kept from round to round.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::audit::Deed;
use super::handle::{CoreHandle, Input, Refusal};
use super::round::Rounds;
use crate::aws::domain::{Done, Effect, Needs, Order, Origin, Rejected, Request, Things, rejected};
use crate::domain::{Author, Now};
use crate::metrics::Direction;
use crate::store::{Op, Store, StoreError};
use gnomon_schemas::topic::{Response, ShadowId, ThingTopic};

pub(super) type ThingReply = oneshot::Sender<Result<Vec<u8>, Rejected>>;
pub(super) type Asked = (Order, Option<ThingReply>);

#[derive(Debug, thiserror::Error)]
enum ReadThingsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("reading things ended by a panic")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Orders that were decided and wait for the commit.
pub(super) struct Weighed {
    asked: Vec<(Asked, Option<Done>)>,
}

impl Weighed {
    /// What is to be remembered of those that were accepted, as something of whoever the thing is;
    /// `attempts` are what each of them tries, in their order.
    pub(super) fn deeds(&self, attempts: Vec<Option<Deed>>) -> impl Iterator<Item = Deed> {
        self.asked.iter().zip(attempts).filter_map(|((_, done), attempt)| {
            let done = done.as_ref().filter(|done| done.answer.is_ok())?;
            Some(attempt?.of_tenant(done.tenant.clone()))
        })
    }

    /// What they want written.
    pub(super) fn take_ops(&mut self) -> Vec<Op> {
        let done = self.asked.iter_mut().filter_map(|(_, done)| done.as_mut());
        done.flat_map(|done| std::mem::take(&mut done.ops)).collect()
    }
}

impl Rounds {
    /// Decides about orders.
    pub(super) async fn weigh(&self, orders: Vec<Asked>, now: Now) -> Weighed {
        if orders.is_empty() {
            return Weighed { asked: Vec::new() };
        }
        let needs = Needs::of(orders.iter().map(|(order, _)| order));
        let mut things = match read(Arc::clone(&self.parts.store), needs).await {
            Ok(things) => things,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "things could not be read; their requests were refused");
                return Weighed { asked: orders.into_iter().map(|asked| (asked, None)).collect() };
            }
        };
        for error in things.unreadable() {
            let error: &dyn std::error::Error = error;
            tracing::error!(error, "a row of a thing is damaged; what needs it was refused");
        }
        let decide = |asked: Asked| {
            let done = things.handle(&asked.0, now.unix_ms, self.limits);
            (asked, Some(done))
        };
        Weighed { asked: orders.into_iter().map(decide).collect() }
    }

    /// After the commit: says and does what was decided, or refuses all of it.
    pub(super) fn conclude(&self, weighed: Weighed, failure: Option<&Refusal>) {
        for (asked, done) in weighed.asked {
            let (Some(done), None) = (done, failure) else {
                let is_busy = matches!(failure, Some(Refusal::StoreFull | Refusal::Stopping));
                self.refuse(
                    asked,
                    if is_busy { Rejected::Unavailable } else { Rejected::Internal },
                );
                continue;
            };
            done.effects.into_iter().for_each(|effect| self.carry(effect));
            self.finish(asked.1, done.answer);
        }
    }

    /// Refuses an order about which nothing could be decided.
    pub(super) fn refuse(&self, (order, reply): Asked, why: Rejected) {
        if let Order::Shadow(id, request, Origin::Mqtt) = order {
            let at = self.parts.clock.now().unix_ms / 1000;
            let body = rejected(&why, request.token(), at);
            let topic = ThingTopic::of(id, request.operation(), Response::Rejected);
            self.carry(Effect::Publish(topic, body));
        }
        self.finish(reply, Err(why));
    }

    fn carry(&self, effect: Effect) {
        match effect {
            Effect::Publish(topic, body) => {
                let (operation, bytes) = (Some(topic.operation), body.len());
                self.parts.metrics.thing_message(Direction::Sent, operation, bytes);
                self.parts.link.publish_thing(&topic, body);
            }
            Effect::Admit(thing, serials) => self.parts.link.admit_thing(&thing, &serials),
        }
    }

    fn finish(&self, reply: Option<ThingReply>, answer: Result<Vec<u8>, Rejected>) {
        match &answer {
            Ok(_) => self.parts.metrics.accepted(),
            Err(why) => self.parts.metrics.refused(why.kind()),
        }
        if let Some(reply) = reply {
            // Whoever asked may have gone.
            drop(reply.send(answer));
        }
    }
}

async fn read(store: Arc<dyn Store>, needs: Needs) -> Result<Things, ReadThingsError> {
    let read = move || {
        Things::read(
            &needs,
            |key| store.get(key).map_err(ReadThingsError::from),
            |prefix| store.scan(prefix).map_err(ReadThingsError::from),
        )
    };
    tokio::task::spawn_blocking(read).await?
}

impl CoreHandle {
    /// Carries out an order about a thing, and remembers who gave it; once this returns `Ok`, it
    /// is durable.
    pub async fn order(&self, order: Order, deed: Option<Deed>) -> Result<Vec<u8>, Rejected> {
        let (reply, answer) = oneshot::channel();
        let sent = self.send(Input::Thing(order, Some(reply), deed)).await;
        sent.map_err(|_| Rejected::Unavailable)?;
        answer.await.unwrap_or(Err(Rejected::Unavailable))
    }

    /// The same for one who waits for messages only.
    pub async fn tell_order(&self, order: Order, deed: Option<Deed>) -> Result<(), Refusal> {
        self.send(Input::Thing(order, None, deed)).await
    }
}

impl Deed {
    /// What a request about a shadow does, if that is to be remembered: what somebody writes, and
    /// not what the thing itself reports.
    pub(crate) fn of_request(
        id: &ShadowId,
        request: &Request,
        is_of_the_thing: bool,
        by: impl FnOnce() -> Author,
    ) -> Option<Self> {
        let action = match request {
            Request::Get { .. } => return None,
            Request::Update(update) if is_of_the_thing && update.is_report() => return None,
            Request::Update(_) => "thing.update",
            Request::Delete { .. } => "thing.delete",
        };
        let target = match &id.shadow {
            Some(shadow) => format!("{}/{shadow}", id.thing),
            None => id.thing.to_string(),
        };
        Some(Self::done(by(), action, target))
    }
}
