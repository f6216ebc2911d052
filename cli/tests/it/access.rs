//! Tokens, nodes that wait, the audit log.

use crate::cloud::Cloud;
use crate::run::seen;

#[test]
fn a_new_token_is_alone_on_stdout() {
    let cloud = Cloud::start();
    let args = ["token", "create", "ci", "--role", "publisher", "--ttl", "90d", "--pool", "pumps"];
    insta::assert_snapshot!(seen(&cloud.url, &args));
    let json = seen(&cloud.url, &[&args[..], &["-o", "json"]].concat());
    assert!(json.contains("\"pool\": \"pumps\"") && json.contains("\"ttl_s\": 7776000"), "{json}");
    let args = ["node", "token", "--uses", "50", "--label", "region=north"];
    insta::assert_snapshot!(seen(&cloud.url, &args));
}

#[test]
fn what_a_token_may_not_says_who_may() {
    let cloud = Cloud::start();
    insta::assert_snapshot!(seen(&cloud.url, &["token", "create", "x", "--role", "admin"]));
}

#[test]
fn tokens_are_listed_without_their_secrets() {
    let cloud = Cloud::start();
    insta::assert_snapshot!(seen(&cloud.url, &["token", "list"]));
    insta::assert_snapshot!(seen(&cloud.url, &["node", "tokens"]));
}

#[test]
fn what_is_revoked_is_named() {
    let cloud = Cloud::start();
    for (args, said) in [
        (["token", "revoke", "ci-5f0c1e2a"], "token/ci-5f0c1e2a revoked"),
        (["node", "revoke-token", "join-00000007"], "join-token/join-00000007 revoked"),
        (["node", "revoke", "site-1"], "node/site-1 revoked"),
        (["node", "deny", "a1b2c3d4e5f6"], "pending/a1b2c3d4e5f6 denied"),
        (["node", "approve", "a1b2c3d4e5f6"], "pending/a1b2c3d4e5f6 approved"),
    ] {
        assert_eq!(seen(&cloud.url, &args), format!("exit: 0\n--- stdout\n{said}\n--- stderr\n"));
    }
    insta::assert_snapshot!(seen(&cloud.url, &["token", "revoke", "nobody"]));
    insta::assert_snapshot!(seen(&cloud.url, &["node", "approve", "nobody"]));
}

#[test]
fn a_token_of_a_known_node_takes_no_scope() {
    let cloud = Cloud::start();
    let text = seen(&cloud.url, &["node", "token", "site-1", "--tenant", "acme"]);
    assert!(text.starts_with("exit: 2\n") && text.contains("leave them out"), "{text}");
    let text = seen(&cloud.url, &["node", "token", "site-1", "--uses", "2"]);
    assert!(text.starts_with("exit: 2\n"), "{text}");
}

#[test]
fn who_waits_is_shown_with_the_fingerprint_of_its_key() {
    let cloud = Cloud::start();
    let text = seen(&cloud.url, &["node", "pending"]);
    assert!(text.contains("a1b2c3d4e5f6") && text.contains(&"0f".repeat(32)), "{text}");
    assert!(text.contains("undecided") && text.contains("10.0.0.9"), "{text}");
}

#[test]
fn the_audit_log_is_read_page_by_page() {
    let cloud = Cloud::start();
    insta::assert_snapshot!(seen(&cloud.url, &["audit", "--target", "site-1"]));
    let one = seen(&cloud.url, &["audit", "--limit", "1", "-o", "json"]);
    assert_eq!(one.matches("\"number\"").count(), 1, "{one}");
}

#[test]
fn a_cloud_that_is_asked_for_too_much_is_asked_again_when_it_says_so() {
    let cloud = Cloud::start();
    cloud.with(|content| content.busy = 1);
    let text = seen(&cloud.url, &["audit", "--limit", "1"]);
    assert!(text.starts_with("exit: 0\n"), "{text}");
    cloud.with(|content| content.busy = 100);
    let text = seen(&cloud.url, &["audit", "--limit", "1"]);
    assert!(text.starts_with("exit: 1\n") && text.contains("[limits]"), "{text}");
}
