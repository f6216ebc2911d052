//! When a node has come far enough.

use serde_json::{Value, json};

use super::*;

fn shadow(reported: &Value) -> Shadow {
    serde_json::from_value(json!({
        "node": "site-1", "key": "app/web", "version": 9, "delta": null,
        "desired": {"version": 4, "document": {}},
        "reported": if reported.is_null() { Value::Null } else { json!({"version": 5, "document": reported}) },
    }))
    .unwrap()
}

#[test]
fn running_counts_only_at_the_version_that_was_written() {
    let running = |version: u64| {
        shadow(&json!({"desired_version": version, "state": "running", "good": true}))
    };
    assert_eq!(progress(&running(3), 4), Progress::NotYet("still at v3".to_owned()));
    assert_eq!(progress(&running(4), 4), Progress::Running);
    assert_eq!(progress(&running(5), 4), Progress::Running);
}

#[test]
fn running_for_a_moment_is_not_enough() {
    let running = json!({"desired_version": 4, "state": "running"});
    let on_trial = Progress::NotYet("running, on trial".to_owned());
    assert_eq!(progress(&shadow(&running), 4), on_trial);
    let (old, new) = ("0".repeat(32), "1".repeat(32));
    let held = json!({"desired_version": 4, "state": "running", "good": true, "wanted": new});
    assert!(matches!(progress(&shadow(&held), 4), Progress::NotYet(_)));
    let back = json!({"desired_version": 4, "state": "failed", "good": true, "revision": old,
        "rolled_back_from": new, "reason": "rolled back: it fell over"});
    let expected = Progress::RolledBack("rolled back: it fell over".to_owned());
    assert_eq!(progress(&shadow(&back), 4), expected);
}

#[test]
fn the_reason_is_passed_on() {
    let failed = json!({"desired_version": 4, "state": "failed", "reason": "no such image"});
    let expected = Progress::NotYet("failed: no such image".to_owned());
    assert_eq!(progress(&shadow(&failed), 4), expected);
    let refused = json!({"desired_version": 4, "state": "refused", "reason": "no image"});
    assert_eq!(progress(&shadow(&refused), 4), Progress::Refused("no image".to_owned()));
    let silent = Progress::NotYet("nothing reported yet".to_owned());
    assert_eq!(progress(&shadow(&Value::Null), 4), silent);
}
