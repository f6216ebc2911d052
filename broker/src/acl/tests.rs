//! Tests of the access decision.

use proptest::prelude::*;

use super::*;
use crate::filter::laws;

fn acl() -> Acl {
    let pattern = |text: &str| text.parse().unwrap();
    Acl::new(vec![
        Rule {
            role: Role::Node,
            publish: vec![pattern("gnomon/1/{node}/u/+")],
            subscribe: vec![pattern("gnomon/1/{node}/d/+")],
        },
        Rule {
            role: Role::Device,
            publish: vec![pattern("$aws/things/{name}/shadow/#"), pattern("scratch/{client}")],
            subscribe: vec![pattern("$aws/things/{name}/shadow/#")],
        },
    ])
}

fn publish(principal: &Principal, client_id: &str, topic: &str) -> Decision {
    let topic = topic.parse().unwrap();
    acl().authorize(Subject { principal, client_id }, Action::Publish(&topic))
}

fn subscribe(principal: &Principal, filter: &str) -> Decision {
    let filter = filter.parse().unwrap();
    acl().authorize(Subject { principal, client_id: "c" }, Action::Subscribe(&filter))
}

#[test]
fn a_node_reaches_its_own_topics_only() {
    let node = Principal::new("site-1", Role::Node);
    assert_eq!(publish(&node, "c", "gnomon/1/site-1/u/batch"), Decision::Allow);
    assert_eq!(publish(&node, "c", "gnomon/1/site-2/u/batch"), Decision::Deny);
    assert_eq!(publish(&node, "c", "gnomon/1/site-1/d/batch"), Decision::Deny);
    assert_eq!(subscribe(&node, "gnomon/1/site-1/d/batch"), Decision::Allow);
    assert_eq!(subscribe(&node, "gnomon/1/site-1/d/+"), Decision::Allow);
}

#[test]
fn a_filter_wider_than_the_rule_is_denied() {
    let node = Principal::new("site-1", Role::Node);
    for wide in ["gnomon/1/+/d/+", "gnomon/1/site-1/d/#", "gnomon/1/site-1/#", "#", "+/#"] {
        assert_eq!(subscribe(&node, wide), Decision::Deny, "{wide}");
    }
}

#[test]
fn an_unknown_role_is_denied_everything() {
    for principal in [Principal::anonymous(), Principal::new("x", Role::Service)] {
        assert_eq!(publish(&principal, "c", "scratch/c"), Decision::Deny);
        assert_eq!(subscribe(&principal, "a"), Decision::Deny);
    }
}

#[test]
fn a_name_that_is_not_one_level_opens_nothing() {
    for (name, wanted) in [("+", "+"), ("#", "+"), ("a/b", "a/b"), ("", ""), ("$aws", "$aws")] {
        let device = Principal::new(name, Role::Device);
        assert_eq!(subscribe(&device, &format!("$aws/things/{wanted}/shadow/#")), Decision::Deny);
    }
    let device = Principal::new("d", Role::Device);
    assert_eq!(publish(&device, "me", "scratch/me"), Decision::Allow);
    assert_eq!(publish(&device, "me/x", "scratch/me/x"), Decision::Deny);
}

#[test]
fn only_a_node_is_a_node() {
    let device = Principal::new("site-1", Role::Device);
    let acl = Acl::new(vec![Rule {
        role: Role::Device,
        publish: vec!["gnomon/1/{node}/u/+".parse().unwrap()],
        subscribe: Vec::new(),
    }]);
    let topic = "gnomon/1/site-1/u/hello".parse().unwrap();
    let subject = Subject { principal: &device, client_id: "c" };
    assert_eq!(acl.authorize(subject, Action::Publish(&topic)), Decision::Deny);
}

#[test]
fn a_stray_brace_is_refused() {
    for bad in ["a/{nodes}", "a/{node}x", "a/}", "{}"] {
        assert!(bad.parse::<Pattern>().is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_granted_filter_matches_nothing_outside_the_allowed_patterns(
        allowed in prop::collection::vec(laws::filter(), 0..4),
        wanted in laws::filter(),
        name in laws::name(),
    ) {
        let patterns: Vec<Pattern> =
            allowed.iter().map(|filter| filter.as_str().parse().unwrap()).collect();
        let acl = Acl::new(vec![Rule {
            role: Role::Service,
            publish: patterns.clone(),
            subscribe: patterns,
        }]);
        let principal = Principal::new("s", Role::Service);
        let subject = Subject { principal: &principal, client_id: "c" };
        let granted = acl.authorize(subject, Action::Subscribe(&wanted)) == Decision::Allow;
        if granted && wanted.matches(&name) {
            prop_assert_eq!(acl.authorize(subject, Action::Publish(&name)), Decision::Allow);
        }
    }
}
