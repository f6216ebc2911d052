//! What a user is told when the cloud is away, closed to them, or says no.

use crate::cloud::Cloud;
use crate::run::{gnomon, seen, seen_of};

#[test]
fn a_cloud_that_is_not_there_says_how_to_get_one() {
    // Port 1 of loopback refuses connections.
    let text = seen("http://127.0.0.1:1", &["get", "nodes"]);
    insta::assert_snapshot!(text, @r"
    exit: 6
    --- stdout
    --- stderr
    error: the cloud at http://CLOUD cannot be reached: error sending request: client error (Connect): tcp connect error: Connection refused (os error 111)
    hint: start it with `gnomon-cloud serve --data DIR`, or name another with --server or GNOMON_SERVER
    ");
}

#[test]
fn a_wrong_token_says_where_the_right_one_is() {
    let cloud = Cloud::start();
    insta::assert_snapshot!(seen(&cloud.url, &["get", "nodes", "--token", "wrong"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: the token is missing or wrong
    hint: give a token with --token-file or GNOMON_TOKEN_FILE: that of `gnomon-cloud init`, one of `gnomon token create`, or the file DIR/admin-token of the cloud
    ");
}

#[test]
fn the_token_is_read_from_a_file() {
    let cloud = Cloud::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "secret\n").unwrap();
    let run = |file: &str| {
        let mut command = gnomon(&cloud.url, &["get", "nodes", "--token-file", file]);
        command.env("GNOMON_TOKEN", "wrong").current_dir(folder.path());
        seen_of(command, &cloud.url)
    };
    assert!(run("token").starts_with("exit: 0"));
    insta::assert_snapshot!(run("missing"), @r"
    exit: 1
    --- stdout
    --- stderr
    error: cannot read the token file missing: No such file or directory (os error 2)
    ");
}

#[test]
fn a_server_that_cannot_be_spoken_to_is_wrong_usage() {
    let text = seen("ftp://cloud.example", &["get", "nodes"]);
    assert!(text.starts_with("exit: 2\n"), "{text}");
    assert!(text.contains("https://"), "{text}");
}

#[test]
fn a_refused_app_lists_its_problems() {
    let cloud = Cloud::start();
    let text = seen(&cloud.url, &["shadow", "set", "site-1", "app/web", "bad=1"]);
    insta::assert_snapshot!(text, @r"
    exit: 5
    --- stdout
    --- stderr
    error: the app is refused
      - services.web: needs an image
    ");
}
