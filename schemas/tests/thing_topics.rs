//! What holds for every topic of a shadow of a thing, and for every text that is none.

use gnomon_schemas::topic::{
    FROM_ALL_THINGS, Operation, Response, ShadowId, THING_PUBLISHES, ThingTopic,
};
use proptest::prelude::*;

fn id() -> impl Strategy<Value = ShadowId> {
    // Words of the topics themselves are legal names.
    let words =
        || prop::sample::select(vec!["shadow", "name", "get", "update", "delete", "accepted"]);
    let thing = prop_oneof!["[a-zA-Z0-9:_-]{1,128}", words().prop_map(str::to_owned)];
    let shadow = prop_oneof!["[$a-zA-Z0-9:_-]{1,64}", words().prop_map(str::to_owned)];
    (thing, prop::option::of(shadow)).prop_map(|(thing, shadow)| ShadowId {
        thing: thing.parse().expect("is a name"),
        shadow: shadow.map(|shadow| shadow.parse().expect("is a name")),
    })
}

fn topic() -> impl Strategy<Value = ThingTopic> {
    let operations = vec![Operation::Get, Operation::Update, Operation::Delete];
    let responses =
        vec![Response::Accepted, Response::Rejected, Response::Delta, Response::Documents];
    let parts =
        (id(), prop::sample::select(operations), prop::option::of(prop::sample::select(responses)));
    parts.prop_map(|(id, operation, response)| {
        let only_updates = matches!(response, Some(Response::Delta | Response::Documents));
        let operation = if only_updates { Operation::Update } else { operation };
        ThingTopic { id, operation, response }
    })
}

/// Whether a filter with `+` matches a topic, level by level.
fn matches(filter: &str, topic: &str) -> bool {
    let (filter, topic): (Vec<_>, Vec<_>) =
        (filter.split('/').collect(), topic.split('/').collect());
    let fits = |(wanted, level): (&&str, &&str)| *wanted == "+" || wanted == level;
    filter.len() == topic.len() && filter.iter().zip(&topic).all(fits)
}

proptest! {
    #[test]
    fn a_topic_is_read_as_it_was_written(topic in topic()) {
        let text = topic.to_string();
        prop_assert_eq!(text.parse::<ThingTopic>().unwrap(), topic, "{}", text);
    }

    #[test]
    fn a_text_that_is_a_topic_is_the_only_one_of_its_meaning(
        levels in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "$aws", "things", "shadow", "name", "get", "update", "delete", "accepted",
                    "rejected", "delta", "documents", "pump-7", "",
                ]).prop_map(str::to_owned),
                "[ -~]{0,6}",
            ],
            0..10,
        )
    ) {
        let text = levels.join("/");
        if let Ok(topic) = text.parse::<ThingTopic>() {
            prop_assert_eq!(topic.to_string(), text);
        }
    }

    #[test]
    fn no_text_makes_it_stumble(text in ".{0,200}") {
        if let Ok(topic) = text.parse::<ThingTopic>() {
            prop_assert_eq!(topic.to_string(), text);
        }
    }

    #[test]
    fn the_cloud_hears_every_request_and_a_thing_may_make_it_for_itself_only(
        topic in topic(), other in id(),
    ) {
        let text = topic.to_string();
        let is_heard = FROM_ALL_THINGS.iter().any(|filter| matches(filter, &text));
        let may = |thing: &str| {
            THING_PUBLISHES.iter().any(|it| matches(&it.replace("{name}", thing), &text))
        };
        prop_assert_eq!(is_heard, topic.response.is_none(), "{}", text);
        prop_assert_eq!(may(topic.id.thing.as_str()), topic.response.is_none(), "{}", text);
        prop_assume!(other.thing != topic.id.thing);
        prop_assert!(!may(other.thing.as_str()), "{} may ask on {text}", other.thing);
    }
}
