//! Things: orders about their shadows and certificates, against the rows that they need. What was
//! read lives for one commit only, so memory does not depend on how many things there are.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_schemas::id::DeviceName;
use gnomon_schemas::topic::{Response, ShadowId, ThingTopic};

use super::rows::{self, ReadThingError};
use super::{Rejected, Request, Slot, reply};
use crate::rows::{CertificateRecord, put};
use crate::store::Op;

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of `desired` and `reported` together.
    pub document_bytes: usize,
    /// The most shadows of one thing; deleted ones count until they are forgotten.
    pub shadows_per_thing: usize,
}

/// The most certificates of a thing that are good at a time.
const CERTIFICATES: usize = 8;

impl Default for Limits {
    fn default() -> Self {
        Self { document_bytes: 8 * 1024, shadows_per_thing: 1000 }
    }
}

/// Through which face a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// MQTT: answers and refusals are messages.
    Mqtt,
    /// REST: a refusal, or a document, is only for who asked.
    Rest,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// A request about a shadow.
    Shadow(ShadowId, Request, Origin),
    /// The deleted shadow is forgotten if its time is over.
    Forget(ShadowId),
    /// The thing has this certificate.
    Certify(DeviceName, CertificateRecord),
    /// The thing's certificate with this serial number is void.
    Revoke(DeviceName, String),
}

/// What an accepted order means beyond the store. In their order, after the commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Something is said.
    Publish(ThingTopic, Vec<u8>),
    /// The thing is let in with these certificates and with no others.
    Admit(DeviceName, Vec<String>),
}

/// An order, decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// What the store must hold before anything else happens.
    pub ops: Vec<Op>,
    /// What happens then; for a refused order, its refusal.
    pub effects: Vec<Effect>,
    /// What who asked gets.
    pub answer: Result<Vec<u8>, Rejected>,
}

/// What must be read for some orders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    shadows: BTreeSet<ShadowId>,
    certificates: BTreeSet<DeviceName>,
}

impl Needs {
    /// Of these orders.
    pub fn of<'a>(orders: impl IntoIterator<Item = &'a Order>) -> Self {
        let mut needs = Self::default();
        for order in orders {
            match order {
                Order::Shadow(id, ..) | Order::Forget(id) => needs.shadows.insert(id.clone()),
                Order::Certify(thing, _) | Order::Revoke(thing, _) => {
                    needs.certificates.insert(thing.clone())
                }
            };
        }
        needs
    }
}

/// What was read for some orders, as they change it.
#[derive(Debug, Default)]
pub struct Things {
    slots: BTreeMap<ShadowId, Slot>,
    counts: BTreeMap<DeviceName, usize>,
    certificates: BTreeMap<DeviceName, BTreeMap<String, u64>>,
    /// What could not be read; requests that need it are refused, others are not.
    unreadable: Vec<ReadThingError>,
}

impl Things {
    /// Reads what is needed: `get` gives the value of a key, `scan` the values below a prefix. A row
    /// that cannot be read costs the requests that need it, and no others.
    pub fn read<E>(
        needs: &Needs,
        get: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, E>,
        scan: impl Fn(&[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, E>,
    ) -> Result<Self, E> {
        let mut things = Self::default();
        for id in &needs.shadows {
            let (live, dead, count) = (rows::shadow(id), rows::grave(id), rows::count(&id.thing));
            let (alive, count_row) = (get(&live)?, get(&count)?);
            let buried = if alive.is_some() { None } else { get(&dead)? };
            let slot = match (alive, buried) {
                (Some(value), _) => rows::shadow_of(&live, &value).map(|it| Slot::Present(it.1)),
                (None, Some(value)) => rows::grave_of(&dead, &value).map(|it| Slot::Deleted(it.1)),
                (None, None) => Ok(Slot::Absent),
            };
            let counted = count_row.map(|value| rows::thing_of(&count, &value)).transpose();
            match (slot, counted) {
                (Ok(slot), Ok(counted)) => {
                    things.slots.insert(id.clone(), slot);
                    things.counts.insert(id.thing.clone(), counted.map_or(0, |(_, count)| count));
                }
                (slot, counted) => {
                    things.unreadable.extend(slot.err());
                    things.unreadable.extend(counted.err());
                }
            }
        }
        for thing in &needs.certificates {
            let rows = scan(&rows::certificates_of(thing))?;
            let read = |(key, value): (Vec<u8>, Vec<u8>)| {
                let record = rows::certificate_of(&key, &value)?.1;
                Ok((record.serial, record.not_after_s))
            };
            match rows.into_iter().map(read).collect() {
                Ok(held) => drop(things.certificates.insert(thing.clone(), held)),
                Err(error) => things.unreadable.push(error),
            }
        }
        Ok(things)
    }

    /// What could not be read.
    pub fn unreadable(&self) -> &[ReadThingError] {
        &self.unreadable
    }

    /// Takes an order: all of it, or nothing and the reason why.
    pub fn handle(&mut self, order: &Order, now_s: u64, limits: Limits) -> Done {
        let (ops, effects, answer) = match order {
            Order::Shadow(id, request, origin) => {
                return self.request(id, request, *origin, now_s, limits);
            }
            Order::Forget(id) => (self.forget(id, now_s), Vec::new(), Ok(Vec::new())),
            Order::Certify(thing, certificate) => self.certify(thing, certificate, now_s),
            Order::Revoke(thing, serial) => self.revoke(thing, serial),
        };
        Done { ops, effects, answer }
    }

    fn request(
        &mut self,
        id: &ShadowId,
        request: &Request,
        origin: Origin,
        now_s: u64,
        limits: Limits,
    ) -> Done {
        let (operation, token) = (request.operation(), request.token());
        let publish =
            |response, body| Effect::Publish(ThingTopic::of(id.clone(), operation, response), body);
        match self.decide(id, request, now_s, limits) {
            Ok((ops, decided)) => {
                let mut effects: Vec<_> =
                    decided.said.into_iter().map(|(what, body)| publish(what, body)).collect();
                if origin == Origin::Mqtt || !matches!(request, Request::Get { .. }) {
                    effects.push(publish(Response::Accepted, decided.answer.clone()));
                }
                Done { ops, effects, answer: Ok(decided.answer) }
            }
            Err(rejected) => {
                let body = || reply::rejected(&rejected, token, now_s);
                let told = (origin == Origin::Mqtt).then(|| publish(Response::Rejected, body()));
                Done { ops: Vec::new(), effects: told.into_iter().collect(), answer: Err(rejected) }
            }
        }
    }

    fn decide(
        &mut self,
        id: &ShadowId,
        request: &Request,
        now_s: u64,
        limits: Limits,
    ) -> Result<(Vec<Op>, super::shadow::Decided), Rejected> {
        let slot = self.slots.get(id).ok_or(Rejected::Internal)?;
        let mut decided = slot.decide(id, request, now_s, limits.document_bytes)?;
        let Some(next) = decided.next.take() else { return Ok((Vec::new(), decided)) };
        let mut ops = Vec::new();
        if *slot == Slot::Absent {
            let count = self.counts.entry(id.thing.clone()).or_default();
            if *count >= limits.shadows_per_thing {
                return Err(Rejected::TooMany);
            }
            *count += 1;
            ops.push(put(rows::count(&id.thing), count));
        }
        let (live, dead) = (rows::shadow(id), rows::grave(id));
        match (slot, &next) {
            (Slot::Deleted(_), Slot::Present(shadow)) => {
                ops.extend([Op::Delete { key: dead }, put(live, shadow)]);
            }
            (_, Slot::Present(shadow)) => ops.push(put(live, shadow)),
            (_, Slot::Deleted(grave)) => {
                ops.extend([Op::Delete { key: live }, put(dead, grave)]);
            }
            (_, Slot::Absent) => {}
        }
        self.slots.insert(id.clone(), next);
        Ok((ops, decided))
    }

    fn forget(&mut self, id: &ShadowId, now_s: u64) -> Vec<Op> {
        let Some(Slot::Deleted(grave)) = self.slots.get(id) else { return Vec::new() };
        if !grave.is_over(now_s) {
            return Vec::new();
        }
        self.slots.insert(id.clone(), Slot::Absent);
        let count = self.counts.entry(id.thing.clone()).or_default();
        *count = count.saturating_sub(1);
        let key = rows::count(&id.thing);
        let counted = if *count == 0 { Op::Delete { key } } else { put(key, count) };
        vec![Op::Delete { key: rows::grave(id) }, counted]
    }

    fn certify(&mut self, thing: &DeviceName, new: &CertificateRecord, now_s: u64) -> Outcome {
        let Some(held) = self.certificates.get_mut(thing) else {
            return (Vec::new(), Vec::new(), Err(Rejected::Internal));
        };
        let mut ops = Vec::new();
        held.retain(|serial, not_after_s| {
            let is_good = *not_after_s > now_s;
            if !is_good {
                ops.push(Op::Delete { key: rows::certificate(thing, serial) });
            }
            is_good
        });
        if held.len() >= CERTIFICATES {
            return (Vec::new(), Vec::new(), Err(Rejected::TooManyCertificates));
        }
        held.insert(new.serial.clone(), new.not_after_s);
        ops.push(put(rows::certificate(thing, &new.serial), new));
        let admit = Effect::Admit(thing.clone(), held.keys().cloned().collect());
        (ops, vec![admit], Ok(Vec::new()))
    }

    fn revoke(&mut self, thing: &DeviceName, serial: &str) -> Outcome {
        let Some(held) = self.certificates.get_mut(thing) else {
            return (Vec::new(), Vec::new(), Err(Rejected::Internal));
        };
        if held.remove(serial).is_none() {
            return (Vec::new(), Vec::new(), Err(Rejected::NoCertificate));
        }
        let admit = Effect::Admit(thing.clone(), held.keys().cloned().collect());
        let gone = Op::Delete { key: rows::certificate(thing, serial) };
        (vec![gone], vec![admit], Ok(Vec::new()))
    }
}

type Outcome = (Vec<Op>, Vec<Effect>, Result<Vec<u8>, Rejected>);
