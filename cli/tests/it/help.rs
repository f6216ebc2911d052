//! The help, as it is read on a terminal of 100 columns.

use crate::run::seen;

#[test]
fn the_help_of_every_command_reads_well() {
    let commands: [&[&str]; 27] = [
        &["--help"],
        &["apply", "--help"],
        &["get", "--help"],
        &["shadow", "--help"],
        &["shadow", "get", "--help"],
        &["shadow", "set", "--help"],
        &["shadow", "watch", "--help"],
        &["shadow", "delete", "--help"],
        &["node", "--help"],
        &["node", "create", "--help"],
        &["node", "token", "--help"],
        &["node", "delete", "--help"],
        &["node", "tokens", "--help"],
        &["node", "revoke-token", "--help"],
        &["node", "pending", "--help"],
        &["node", "approve", "--help"],
        &["node", "deny", "--help"],
        &["node", "revoke", "--help"],
        &["token", "--help"],
        &["token", "create", "--help"],
        &["token", "list", "--help"],
        &["token", "revoke", "--help"],
        &["audit", "--help"],
        &["delete", "--help"],
        &["delete", "app", "--help"],
        &["completions", "--help"],
        &["demo", "--help"],
    ];
    for command in commands {
        let (_, words) = command.split_last().unwrap();
        let name = ["help"].iter().chain(words).copied().collect::<Vec<_>>().join("-");
        insta::assert_snapshot!(name, seen("http://127.0.0.1:1", command));
    }
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = seen("http://127.0.0.1:1", &["completions", shell]);
        assert!(script.starts_with("exit: 0"), "{script}");
        assert!(script.contains("join") || script.contains("watch"), "{shell} lacks commands");
    }
}
