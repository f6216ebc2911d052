//! Things: orders about their shadows and certificates, against the rows that they need. What was
//! read lives for one commit only, so memory does not depend on how many things there are. A thing
//! of another tenant is for who asks as if it were not there.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_schemas::id::{DeviceName, TenantName};
use gnomon_schemas::topic::{Response, ShadowId, ThingTopic};

use super::past::{self, Written};
use super::rows::{self, ReadThingError, ThingRecord};
use super::{Rejected, Request, Slot, reply};
use crate::access::Home;
use crate::domain::Author;
use crate::rows::{CertificateRecord, put};
use crate::store::Op;

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of `desired` and `reported` together.
    pub document_bytes: usize,
    /// The most shadows of one thing; deleted ones count until they are forgotten.
    pub shadows_per_thing: usize,
    /// The most versions of a shadow that are remembered.
    pub versions: usize,
}

/// The most certificates of a thing that are good at a time.
const CERTIFICATES: usize = 8;

impl Default for Limits {
    fn default() -> Self {
        Self { document_bytes: 8 * 1024, shadows_per_thing: 1000, versions: 100 }
    }
}

/// Through which face a request came, and whose things there are for who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// MQTT, from the thing itself: answers and refusals are messages.
    Mqtt,
    /// REST: a refusal, or a document, is only for who asked.
    Rest(Author),
}

impl Origin {
    const fn author(&self) -> Option<&Author> {
        match self {
            Self::Mqtt => None,
            Self::Rest(by) => Some(by),
        }
    }
}

/// Who lets a thing in, and whose it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub by: Author,
    /// Whose; `None`: as it is, or the author's.
    pub tenant: Option<TenantName>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// A request about a shadow.
    Shadow(ShadowId, Request, Origin),
    /// The deleted shadow is forgotten if its time is over.
    Forget(ShadowId),
    /// The thing has this certificate.
    Certify(DeviceName, CertificateRecord, Claim),
    /// The thing's certificate with this serial number is void.
    Revoke(DeviceName, String, Author),
}

impl Order {
    /// Of which thing it is.
    pub const fn thing(&self) -> &DeviceName {
        match self {
            Self::Shadow(id, ..) | Self::Forget(id) => &id.thing,
            Self::Certify(thing, ..) | Self::Revoke(thing, ..) => thing,
        }
    }
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
    /// Whose the thing is, or was until now; `None`: there is none.
    pub tenant: Option<TenantName>,
}

/// What must be read for some orders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    things: BTreeSet<DeviceName>,
    shadows: BTreeSet<ShadowId>,
    certificates: BTreeSet<DeviceName>,
}

impl Needs {
    /// Of these orders.
    pub fn of<'a>(orders: impl IntoIterator<Item = &'a Order>) -> Self {
        let mut needs = Self::default();
        for order in orders {
            needs.things.insert(order.thing().clone());
            if let Order::Shadow(id, ..) | Order::Forget(id) = order {
                needs.shadows.insert(id.clone());
            }
            if !matches!(order, Order::Shadow(..)) {
                needs.certificates.insert(order.thing().clone());
            }
        }
        needs
    }
}

/// What was read for some orders, as they change it.
#[derive(Debug, Default)]
pub struct Things {
    /// `None`: there is no such thing.
    records: BTreeMap<DeviceName, Option<ThingRecord>>,
    slots: BTreeMap<ShadowId, Slot>,
    certificates: BTreeMap<DeviceName, BTreeMap<String, u64>>,
    /// What could not be read; requests that need it are refused, others are not.
    unreadable: Vec<ReadThingError>,
}

/// Why there is nothing of a thing for who asks.
enum Hidden {
    /// It cannot be read.
    Unread,
    /// It is of a tenant that is none of theirs.
    Foreign,
}

impl Hidden {
    /// The refusal; `foreign`: what is said where there is no such thing.
    fn refuse(self, foreign: Rejected) -> Rejected {
        match self {
            Self::Unread => Rejected::Internal,
            Self::Foreign => foreign,
        }
    }
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
        for thing in &needs.things {
            let key = rows::thing(thing);
            match get(&key)?.map(|value| rows::thing_of(&key, &value)).transpose() {
                Ok(found) => {
                    drop(things.records.insert(thing.clone(), found.map(|(_, record)| record)));
                }
                Err(error) => things.unreadable.push(error),
            }
        }
        for id in &needs.shadows {
            match rows::read_slot(id, &get)? {
                Ok(slot) => drop(things.slots.insert(id.clone(), slot)),
                Err(error) => things.unreadable.push(error),
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
    pub fn handle(&mut self, order: &Order, now_ms: u64, limits: Limits) -> Done {
        let (owner, at_s) = (self.tenant_of(order.thing()), now_ms / 1000);
        let (ops, effects, answer) = match order {
            Order::Shadow(id, request, origin) => self.request(id, request, origin, now_ms, limits),
            Order::Forget(id) => (self.forget(id, at_s), Vec::new(), Ok(Vec::new())),
            Order::Certify(thing, new, claim) => self.certify(thing, new, claim, at_s),
            Order::Revoke(thing, serial, by) => self.revoke(thing, serial, by, at_s),
        };
        let tenant = self.tenant_of(order.thing()).or(owner);
        Done { ops, effects, answer, tenant }
    }

    fn tenant_of(&self, thing: &DeviceName) -> Option<TenantName> {
        Some(self.records.get(thing)?.as_ref()?.tenant.clone())
    }

    /// What is known of a thing, for who asks; of one that nobody has had, what it is then. Without
    /// an author it is the thing that asks.
    fn record(&self, thing: &DeviceName, by: Option<&Author>) -> Result<ThingRecord, Hidden> {
        let held = self.records.get(thing).ok_or(Hidden::Unread)?.clone();
        let record = held.unwrap_or_else(|| {
            let own = by.and_then(Author::scope).and_then(|scope| scope.tenant.clone());
            ThingRecord::of_tenant(own.unwrap_or_else(Home::usual_tenant))
        });
        let is_there = by.is_none_or(|by| by.covers(&record.home()));
        if is_there { Ok(record) } else { Err(Hidden::Foreign) }
    }

    /// Keeps what is known of a thing.
    fn keep(&mut self, thing: &DeviceName, record: ThingRecord) -> Option<Op> {
        let held = self.records.entry(thing.clone()).or_default();
        if held.as_ref() == Some(&record) {
            return None;
        }
        let op = put(rows::thing(thing), &record);
        *held = Some(record);
        Some(op)
    }

    /// The same of a thing that has lost something: with nothing left, it is nobody's again.
    fn keep_rest(&mut self, thing: &DeviceName, record: ThingRecord, now_s: u64) -> Vec<Op> {
        let held = self.certificates.get(thing);
        // What cannot be read may be good.
        let is_let_in = held.is_none_or(|held| held.values().any(|until_s| *until_s > now_s));
        if record.shadows > 0 || is_let_in {
            return self.keep(thing, record).into_iter().collect();
        }
        self.records.insert(thing.clone(), None);
        let held = self.certificates.remove(thing).unwrap_or_default();
        self.certificates.insert(thing.clone(), BTreeMap::new());
        let keys = held.keys().map(|serial| rows::certificate(thing, serial));
        keys.chain([rows::thing(thing)]).map(|key| Op::Delete { key }).collect()
    }

    fn request(
        &mut self,
        id: &ShadowId,
        request: &Request,
        origin: &Origin,
        now_ms: u64,
        limits: Limits,
    ) -> Outcome {
        let (operation, token) = (request.operation(), request.token());
        let publish =
            |response, body| Effect::Publish(ThingTopic::of(id.clone(), operation, response), body);
        let is_mqtt = *origin == Origin::Mqtt;
        match self.decide(id, request, origin.author(), now_ms, limits) {
            Ok((ops, decided)) => {
                let mut effects: Vec<_> =
                    decided.said.into_iter().map(|(what, body)| publish(what, body)).collect();
                if is_mqtt || !matches!(request, Request::Get { .. }) {
                    effects.push(publish(Response::Accepted, decided.answer.clone()));
                }
                (ops, effects, Ok(decided.answer))
            }
            Err(rejected) => {
                let body = || reply::rejected(&rejected, token, now_ms / 1000);
                let told = is_mqtt.then(|| publish(Response::Rejected, body()));
                (Vec::new(), told.into_iter().collect(), Err(rejected))
            }
        }
    }

    fn decide(
        &mut self,
        id: &ShadowId,
        request: &Request,
        by: Option<&Author>,
        now_ms: u64,
        limits: Limits,
    ) -> Result<(Vec<Op>, super::shadow::Decided), Rejected> {
        let record = self.record(&id.thing, by);
        let mut record = record.map_err(|why| why.refuse(Rejected::NoShadow(id.clone())))?;
        let slot = self.slots.get(id).ok_or(Rejected::Internal)?;
        let mut decided = slot.decide(id, request, now_ms / 1000, limits.document_bytes)?;
        let Some(next) = decided.next.take() else { return Ok((Vec::new(), decided)) };
        if *slot == Slot::Absent {
            if record.shadows >= limits.shadows_per_thing {
                return Err(Rejected::TooMany);
            }
            record.shadows += 1;
        }
        let mut ops = Vec::new();
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
        let by = by.cloned().unwrap_or_else(|| Author::thing(&id.thing));
        let written = Written { by: by.as_str(), at_ms: now_ms, keep: limits.versions };
        ops.extend(past::step(id, slot, &next, written));
        ops.extend(self.keep(&id.thing, record));
        self.slots.insert(id.clone(), next);
        Ok((ops, decided))
    }

    fn forget(&mut self, id: &ShadowId, now_s: u64) -> Vec<Op> {
        let Some(Slot::Deleted(grave)) = self.slots.get(id) else { return Vec::new() };
        if !grave.is_over(now_s) {
            return Vec::new();
        }
        let Ok(mut record) = self.record(&id.thing, None) else { return Vec::new() };
        self.slots.insert(id.clone(), Slot::Absent);
        record.shadows = record.shadows.saturating_sub(1);
        let mut ops = vec![Op::Delete { key: rows::grave(id) }, past::forget(id)];
        ops.extend(self.keep_rest(&id.thing, record, now_s));
        ops
    }

    fn certify(
        &mut self,
        thing: &DeviceName,
        new: &CertificateRecord,
        claim: &Claim,
        now_s: u64,
    ) -> Outcome {
        let refused = |why| (Vec::new(), Vec::new(), Err(why));
        let record = match self.claimed(thing, claim) {
            Ok(record) => record,
            Err(why) => return refused(why),
        };
        let Some(held) = self.certificates.get_mut(thing) else {
            return refused(Rejected::Internal);
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
            return refused(Rejected::TooManyCertificates);
        }
        held.insert(new.serial.clone(), new.not_after_s);
        ops.push(put(rows::certificate(thing, &new.serial), new));
        let admit = Effect::Admit(thing.clone(), held.keys().cloned().collect());
        ops.extend(self.keep(thing, record));
        (ops, vec![admit], Ok(Vec::new()))
    }

    /// What is known of a thing that somebody lets in. A tenant is named for one that nobody has
    /// had; nobody makes one that there would not be for who makes it.
    fn claimed(&self, thing: &DeviceName, claim: &Claim) -> Result<ThingRecord, Rejected> {
        let record = self.record(thing, Some(&claim.by));
        let mut record = record.map_err(|why| why.refuse(Rejected::NoThing(thing.clone())))?;
        let is_new = matches!(self.records.get(thing), Some(None));
        match &claim.tenant {
            Some(tenant) if is_new => record.tenant = tenant.clone(),
            Some(tenant) if *tenant != record.tenant => {
                return Err(Rejected::OtherTenant(record.tenant));
            }
            Some(_) | None => {}
        }
        if claim.by.covers(&record.home()) {
            Ok(record)
        } else {
            Err(Rejected::Forbidden("the token may only let in things of its own tenant"))
        }
    }

    fn revoke(&mut self, thing: &DeviceName, serial: &str, by: &Author, now_s: u64) -> Outcome {
        let refused = |why| (Vec::new(), Vec::new(), Err(why));
        let record = match self.record(thing, Some(by)) {
            Ok(record) => record,
            Err(why) => return refused(why.refuse(Rejected::NoCertificate)),
        };
        let Some(held) = self.certificates.get_mut(thing) else {
            return refused(Rejected::Internal);
        };
        if held.remove(serial).is_none() {
            return refused(Rejected::NoCertificate);
        }
        let admit = Effect::Admit(thing.clone(), held.keys().cloned().collect());
        let mut ops = vec![Op::Delete { key: rows::certificate(thing, serial) }];
        ops.extend(self.keep_rest(thing, record, now_s));
        (ops, vec![admit], Ok(Vec::new()))
    }
}

type Outcome = (Vec<Op>, Vec<Effect>, Result<Vec<u8>, Rejected>);
