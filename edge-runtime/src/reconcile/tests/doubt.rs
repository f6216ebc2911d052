//! After the store went back to an older wish, until the cloud has spoken.

use std::collections::BTreeSet;

use insta::assert_snapshot;

use super::{SHOP, SHOP_2};
use crate::reconcile::Attempts;
use crate::reconcile::model::InstanceState;
use crate::reconcile::world::{Site, app};

/// A site that runs `shop` in its second revision, and whose store says that it is the first.
fn behind() -> Site {
    let mut site = Site::new();
    site.want("shop", 2, SHOP_2);
    site.converge();
    site.want("shop", 1, SHOP);
    site.desired.doubt(BTreeSet::from([app("shop")]));
    site.attempts = Attempts::default();
    site
}

#[test]
fn what_runs_stays_until_the_cloud_has_spoken() {
    let mut site = behind();
    assert_snapshot!(site.converge(), @"
    nothing to do
    shop v1 is pending: db: the store has lost its last commits; what runs stays until the cloud says what is desired
      db pending 1/1 healthy: the store has lost its last commits; what runs stays until the cloud says what is desired
      web pending 1/1: the store has lost its last commits; what runs stays until the cloud says what is desired
    ");
    site.want("shop", 2, SHOP_2);
    site.desired.doubt(BTreeSet::new());
    assert_snapshot!(site.trace(), @"");
}

#[test]
fn what_has_ended_is_started_again_as_it_was_and_what_is_sick_is_restarted() {
    let mut site = behind();
    for slot in ["shop/db.0", "shop/web.0"] {
        site.instance(slot).state = InstanceState::Exited { code: 255 };
    }
    assert_snapshot!(site.trace(), @"
    start shop/db.0 (i1)
    start shop/web.0 (i2)
    ");
    site.befall("shop/db.0", InstanceState::Running(crate::reconcile::model::Health::Unhealthy));
    site.pass(600);
    assert_snapshot!(site.trace(), @"
    stop shop/db.0 (i1) within 10000 ms
    start shop/db.0 (i1)
    ");
}

#[test]
fn what_is_missing_is_made_as_the_store_says() {
    let mut site = behind();
    site.vanish("shop/web.0");
    site.attempts = Attempts::default();
    assert_snapshot!(site.trace(), @"
    pull web:1 for shop
    create shop/web.0
    start shop/web.0 (i3)
    ");
}

#[test]
fn nothing_is_made_beside_what_the_store_does_not_know() {
    let mut site = behind();
    site.want("shop", 1, r#"{"old": {"image": "old:1", "restart": "always"}}"#);
    assert_snapshot!(site.converge(), @"
    nothing to do
    shop v1 is pending: old: the store has lost its last commits; what runs stays until the cloud says what is desired
      old pending 0/1: the store has lost its last commits; what runs stays until the cloud says what is desired
    ");
}

#[test]
fn without_doubt_it_is_an_update_like_any_other() {
    let mut site = behind();
    site.desired.doubt(BTreeSet::new());
    assert!(site.trace().contains("stop shop/db.0 (i1)"));
}
