//! The retained messages: replacing, deleting, bounds, and feeds against a plain filter.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::filter::laws;
use crate::packet::Qos;

const OPTIONS: SubscriptionOptions = SubscriptionOptions {
    qos: Qos::AtLeastOnce,
    no_local: false,
    retain_as_published: false,
    id: None,
};

fn message(topic: &str, payload: &'static str) -> Arc<Message> {
    let message = Message::new(topic.parse().unwrap(), payload.into(), Qos::ExactlyOnce);
    Arc::new(Message { retain: true, ..message })
}

fn kept(topics: &[(&str, &'static str)]) -> Retained {
    let mut retained = Retained::new(1_000, 1_000_000);
    for (topic, payload) in topics {
        retained.set(&message(topic, payload), Instant::now()).unwrap();
    }
    retained
}

fn all(retained: &Retained, feed: &mut Feed) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        match retained.next(feed, Instant::now()) {
            Fed::Message(queued) => {
                let payload = String::from_utf8_lossy(&queued.message.payload).into_owned();
                assert!(queued.retain && queued.qos == Qos::AtLeastOnce);
                found.push(format!("{}={payload}", queued.message.topic));
            }
            Fed::More => {}
            Fed::End => return found,
        }
    }
}

fn feed(retained: &Retained, filter: &str) -> Vec<String> {
    let feed = retained.feed(&filter.parse().unwrap(), OPTIONS);
    feed.map_or(Vec::new(), |mut feed| all(retained, &mut feed))
}

#[test]
fn the_last_message_of_a_topic_is_kept_and_an_empty_one_deletes_it() {
    let retained = kept(&[("a", "1"), ("b", "2"), ("a", "3"), ("b", "")]);
    assert_eq!(feed(&retained, "#"), ["a=3"]);
    assert_eq!(retained.len(), 1);
    let empty = kept(&[("a", "1"), ("a", "")]);
    assert_eq!((empty.bytes, empty.len()), (0, 0));
}

#[test]
fn a_prefix_is_looked_at_and_no_more() {
    let retained = kept(&[("a", "0"), ("a/b", "1"), ("a/c/d", "2"), ("ab", "3"), ("$x/a", "4")]);
    assert_eq!(feed(&retained, "a/#"), ["a=0", "a/b=1", "a/c/d=2"]);
    assert_eq!(feed(&retained, "a/+"), ["a/b=1"]);
    assert_eq!(feed(&retained, "+"), ["a=0", "ab=3"]);
    assert_eq!(feed(&retained, "$x/#"), ["$x/a=4"]);
    assert_eq!(feed(&retained, "ab"), ["ab=3"]);
}

#[test]
fn a_full_store_takes_replacements_and_what_fits_after_expiry() {
    let now = Instant::now();
    let mut retained = Retained::new(2, 1_000_000);
    let brief =
        Message { expires: Some(now + Duration::from_secs(1)), ..(*message("b", "x")).clone() };
    retained.set(&message("a", "1"), now).unwrap();
    retained.set(&Arc::new(brief), now).unwrap();
    assert_eq!(retained.set(&message("c", "3"), now), Err(Full));
    assert_eq!(retained.set(&message("a", "2"), now), Ok(()));
    assert_eq!(retained.set(&message("c", "3"), now + Duration::from_secs(1)), Ok(()));
    assert_eq!(feed(&retained, "#"), ["a=2", "c=3"]);
    let mut small = Retained::new(9, 200);
    small.set(&message("a", "1"), now).unwrap();
    assert_eq!(small.set(&message("b", "1"), now), Err(Full));
}

#[test]
fn what_is_kept_after_the_subscription_is_left_to_the_live_message() {
    let mut retained = kept(&[("a", "1"), ("b", "1")]);
    let mut feed = retained.feed(&"#".parse().unwrap(), OPTIONS).unwrap();
    retained.set(&message("b", "2"), Instant::now()).unwrap();
    retained.set(&message("c", "1"), Instant::now()).unwrap();
    assert_eq!(all(&retained, &mut feed), ["a=1"]);
}

#[test]
fn a_long_search_gives_others_a_turn() {
    let mut retained = Retained::new(10_000, 100_000_000);
    for n in 0..1_000 {
        retained.set(&message(&format!("a/{n}/x"), "1"), Instant::now()).unwrap();
    }
    let mut feed = retained.feed(&"a/+/y".parse().unwrap(), OPTIONS).unwrap();
    for _ in 0..3 {
        assert!(matches!(retained.next(&mut feed, Instant::now()), Fed::More));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_feed_finds_all_that_its_filter_matches(
        names in prop::collection::vec(laws::name(), 0..30),
        filter in laws::filter(),
    ) {
        let mut retained = Retained::new(1_000, 1_000_000);
        let mut model = BTreeMap::new();
        for name in names {
            retained.set(&message(name.as_str(), "x"), Instant::now()).unwrap();
            model.insert(name.to_string(), filter.matches(&name));
        }
        let expected: Vec<_> =
            model.into_iter().filter(|(_, m)| *m).map(|(n, _)| format!("{n}=x")).collect();
        prop_assert_eq!(feed(&retained, filter.as_str()), expected);
    }
}
