//! Groups: whose turn it is, and who is in them.

use super::*;

fn key(name: &str, filter: &str) -> GroupKey {
    (name.into(), filter.parse().unwrap())
}

fn member(session: u64) -> Member {
    Member { session: SessionId(session), options: ALL }
}

fn turn(groups: &Groups, topic: &str) -> Vec<u64> {
    let id = groups.matches(&topic.parse().unwrap()).next().unwrap();
    groups.candidates(id).map(|member| member.session.get()).collect()
}

#[test]
fn each_member_has_its_turn() {
    let mut groups = Groups::default();
    for session in 1..=3 {
        groups.join(&key("g", "a/+"), member(session));
    }
    groups.join(&key("g", "a/+"), member(2));
    assert_eq!(turn(&groups, "a/b"), [1, 2, 3]);
    assert_eq!(turn(&groups, "a/b"), [2, 3, 1]);
    assert_eq!(turn(&groups, "a/b"), [3, 1, 2]);
    groups.leave(&key("g", "a/+"), SessionId(1));
    let mut rest = turn(&groups, "a/b");
    rest.sort_unstable();
    assert_eq!(rest, [2, 3]);
}

#[test]
fn one_name_with_two_filters_is_two_groups() {
    let mut groups = Groups::default();
    groups.join(&key("g", "a/+"), member(1));
    groups.join(&key("g", "a/#"), member(2));
    groups.join(&key("h", "a/b"), member(3));
    assert_eq!(groups.matches(&"a/b".parse().unwrap()).count(), 3);
    assert_eq!(groups.matches(&"a/b/c".parse().unwrap()).count(), 1);
}

#[test]
fn a_group_ends_with_its_last_member() {
    let mut groups = Groups::default();
    groups.join(&key("g", "a"), member(1));
    groups.leave(&key("g", "a"), SessionId(2));
    assert_eq!(turn(&groups, "a"), [1]);
    groups.leave(&key("g", "a"), SessionId(1));
    assert_eq!(groups.matches(&"a".parse().unwrap()).count(), 0);
    assert!(groups.by_id.is_empty() && groups.by_key.is_empty());
}
