//! Whose things are: what must hold of every order that anybody gives.

use std::collections::BTreeMap;

use gnomon_schemas::id::{DeviceName, TenantName};
use gnomon_schemas::topic::{Operation, ShadowId};
use proptest::prelude::*;

use super::tests::Bench;
use super::*;
use crate::access::Scope;
use crate::domain::Author;
use crate::rows::CertificateRecord;

const DAY: u64 = 24 * 60 * 60;

/// Who gives an order.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Acme,
    Umbra,
    Everybody,
    Itself,
}

impl Who {
    fn author(self) -> Author {
        match self {
            Self::Acme => of_tenant("acme"),
            Self::Umbra => of_tenant("umbra"),
            Self::Everybody | Self::Itself => Author::new("admin"),
        }
    }

    fn tenant(self) -> Option<TenantName> {
        self.author().scope().and_then(|scope| scope.tenant.clone())
    }
}

fn of_tenant(tenant: &str) -> Author {
    let tenant = Some(tenant.parse().unwrap());
    Author::new("token/x").within(&Scope { tenant, ..Scope::default() })
}

/// What somebody wants.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Get,
    Update,
    Delete,
    Forget,
    Certify(u8),
    Revoke(u8),
}

fn who() -> impl Strategy<Value = Who> {
    prop::sample::select(vec![Who::Acme, Who::Umbra, Who::Everybody, Who::Itself])
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        Just(Wish::Get),
        Just(Wish::Update),
        Just(Wish::Delete),
        Just(Wish::Forget),
        (0..3_u8).prop_map(Wish::Certify),
        (0..3_u8).prop_map(Wish::Revoke),
    ]
}

fn order(who: Who, thing: &str, wish: Wish, now_s: u64) -> Order {
    let thing: DeviceName = thing.parse().unwrap();
    let origin = if who == Who::Itself { Origin::Mqtt } else { Origin::Rest(who.author()) };
    let about = |operation, body: &[u8]| {
        let id = ShadowId { thing: thing.clone(), shadow: None };
        Order::Shadow(id, Request::read(operation, body).unwrap(), origin.clone())
    };
    match wish {
        Wish::Get => about(Operation::Get, b""),
        Wish::Update => about(Operation::Update, b"{\"state\":{\"desired\":{\"a\":1}}}"),
        Wish::Delete => about(Operation::Delete, b""),
        Wish::Forget => Order::Forget(ShadowId { thing: thing.clone(), shadow: None }),
        Wish::Certify(n) => {
            let (serial, not_after_s) = (format!("{n:x}"), now_s + 90 * DAY);
            let certificate = CertificateRecord { serial, not_after_s, replaces: None };
            let claim = Claim { by: who.author(), tenant: None };
            Order::Certify(thing, certificate, claim)
        }
        Wish::Revoke(n) => Order::Revoke(thing, format!("{n:x}"), who.author()),
    }
}

/// Whose each thing is, as the rows say.
fn owners(bench: &Bench) -> BTreeMap<String, TenantName> {
    let rows = bench.rows.iter().filter(|(key, _)| key.starts_with(THINGS));
    let owner = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let (thing, record) = thing_of(key, value).unwrap();
        (thing.to_string(), record.tenant)
    };
    rows.map(owner).collect()
}

/// The things of which there is anything but their own row, and how many shadows each has.
fn having(bench: &Bench) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::<String, usize>::new();
    for (key, value) in &bench.rows {
        let shadow = shadow_of(key, value).ok().filter(|_| key.starts_with(SHADOWS));
        let grave = grave_of(key, value).ok().filter(|_| key.starts_with(GRAVES));
        let ids = [shadow.map(|it| it.0), grave.map(|it| it.0)];
        ids.into_iter().flatten().for_each(|id| {
            *found.entry(id.thing.to_string()).or_default() += 1;
        });
        if let Some(thing) = holder_of(key) {
            found.entry(thing.to_string()).or_default();
        }
    }
    found
}

proptest! {
    #[test]
    fn a_foreign_thing_is_as_none_and_whose_a_thing_is_stays_while_it_has_anything(
        steps in prop::collection::vec((who(), 0..2_usize, wish(), 0..3 * DAY), 1..30),
    ) {
        let mut bench = Bench::default();
        for (who, thing, wish, wait_s) in steps {
            bench.now += wait_s;
            let thing = ["a", "b"][thing];
            let (before, had) = (owners(&bench), bench.rows.clone());
            let order = order(who, thing, wish, bench.now);
            let done = bench.order(&order);
            let after = owners(&bench);
            let is_foreign = before.get(thing).is_some_and(|owner| {
                who.tenant().is_some_and(|own| own != *owner)
            });
            if is_foreign && !matches!(wish, Wish::Forget) {
                prop_assert_eq!(&bench.rows, &had, "{:?} has changed what is another\'s", &order);
                prop_assert_eq!(&done.effects, &[]);
                let mut empty = Bench { now: bench.now, ..Bench::default() };
                let of_none = empty.order(&order).answer;
                let expected = match wish {
                    Wish::Get | Wish::Delete | Wish::Revoke(_) => of_none.unwrap_err(),
                    Wish::Certify(_) => Rejected::NoThing(thing.parse().unwrap()),
                    Wish::Update | Wish::Forget => Rejected::NoShadow(ShadowId { thing: thing.parse().unwrap(), shadow: None }),
                };
                prop_assert_eq!(done.answer, Err(expected));
            }
            let having = having(&bench);
            prop_assert_eq!(having.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
            for (key, value) in bench.rows.iter().filter(|(key, _)| key.starts_with(THINGS)) {
                let (thing, record) = thing_of(key, value).unwrap();
                prop_assert_eq!(having[thing.as_str()], record.shadows);
            }
            for (name, owner) in &after {
                let owned = before.get(name).cloned();
                let expected = owned.or_else(|| who.tenant());
                let expected = expected.unwrap_or_else(crate::access::Home::usual_tenant);
                prop_assert_eq!(owner, &expected);
            }
        }
    }
}

fn certificate(n: u8) -> CertificateRecord {
    CertificateRecord { serial: format!("{n:x}"), not_after_s: 100 * DAY, replaces: None }
}

#[test]
fn a_tenant_is_named_for_a_thing_that_nobody_has_had_and_never_changed() {
    let mut bench = Bench::default();
    let mut certify = |by: Author, thing: &str, tenant: Option<&str>| {
        let claim = Claim { by, tenant: tenant.map(|name| name.parse().unwrap()) };
        bench.order(&Order::Certify(thing.parse().unwrap(), certificate(1), claim))
    };
    let admin = || Author::new("admin");
    let done = certify(admin(), "pump", Some("acme"));
    assert_eq!((done.answer, done.tenant), (Ok(Vec::new()), Some("acme".parse().unwrap())));
    let moved = certify(admin(), "pump", Some("umbra"));
    assert_eq!(moved.answer, Err(Rejected::OtherTenant("acme".parse().unwrap())));
    assert!(certify(admin(), "pump", None).answer.is_ok());
    assert!(certify(of_tenant("acme"), "pump", Some("acme")).answer.is_ok());
    let foreign = certify(of_tenant("umbra"), "pump", None);
    assert_eq!(foreign.answer, Err(Rejected::NoThing("pump".parse().unwrap())));
    let beyond = certify(of_tenant("umbra"), "new", Some("acme"));
    assert_eq!(beyond.answer.unwrap_err().code(), 403);
    assert_eq!(beyond.ops, []);
    assert_eq!(certify(admin(), "other", None).tenant, Some("default".parse().unwrap()));
}

#[test]
fn a_thing_with_nothing_left_is_nobodys_again() {
    let mut bench = Bench::default();
    let give = |bench: &mut Bench, who, wish| bench.order(&order(who, "a", wish, 0)).answer;
    give(&mut bench, Who::Acme, Wish::Certify(1)).unwrap();
    give(&mut bench, Who::Itself, Wish::Update).unwrap();
    give(&mut bench, Who::Acme, Wish::Revoke(1)).unwrap();
    give(&mut bench, Who::Acme, Wish::Delete).unwrap();
    bench.now = 2 * DAY - 1;
    give(&mut bench, Who::Itself, Wish::Forget).unwrap();
    assert!(
        give(&mut bench, Who::Umbra, Wish::Update).is_err(),
        "a deleted shadow is still acme\'s"
    );
    bench.now = 2 * DAY;
    give(&mut bench, Who::Itself, Wish::Forget).unwrap();
    assert_eq!(bench.rows, BTreeMap::new());
    give(&mut bench, Who::Umbra, Wish::Update).unwrap();
    assert_eq!(owners(&bench)["a"], "umbra".parse().unwrap());
}

#[test]
fn a_row_of_an_older_store_is_the_usual_tenants() {
    let (_, old) = thing_of(b"aws/t/a", b"7").unwrap();
    assert_eq!(old, ThingRecord { shadows: 7, tenant: "default".parse().unwrap() });
    for record in [old, ThingRecord { shadows: 0, tenant: "acme".parse().unwrap() }] {
        let value = serde_json::to_vec(&record).unwrap();
        assert_eq!(thing_of(b"aws/t/a", &value).unwrap().1, record);
    }
    assert!(thing_of(b"aws/t/a", b"\"7\"").is_err());
}
