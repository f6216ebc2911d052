//! Requests against real links without a socket between.

use std::net::SocketAddr;

use super::*;
use crate::link::LinkConfig;

#[tokio::test]
async fn every_malformed_line_gets_a_typed_error_and_changes_nothing() {
    let links = one_link();
    let before = links.answer(Request::List {});
    for line in [
        &b""[..],
        b"\n",
        b"down",
        b"[]",
        b"\xff\xfe",
        b"{\"do\":\"down\"}",
        b"{\"link\":\"site-1\"}",
        b"{\"link\":\"site-1\",\"do\":\"explode\"}",
        b"{\"link\":7,\"do\":\"down\"}",
        b"{\"link\":\"site-1\",\"do\":\"down\",\"for\":3}",
        b"{\"link\":\"site-1\",\"do\":\"profile\"}",
        &b"[".repeat(10_000),
    ] {
        assert_eq!(code(&links, line), ErrorCode::Malformed, "{line:?}");
    }
    let line = br#"{"link":"site-2","do":"down"}"#;
    assert_eq!(code(&links, line), ErrorCode::UnknownLink);
    let line = br#"{"link":"site-1","do":"profile","profile":"6g"}"#;
    assert_eq!(code(&links, line), ErrorCode::UnknownProfile);
    for profile in [r#"{"delay":1}"#, r#"{"loss_per_kib":2}"#, r#"{"delay_ms":-1}"#, "3"] {
        let line = format!(r#"{{"link":"site-1","do":"profile","profile":{profile}}}"#);
        assert_eq!(code(&links, line.as_bytes()), ErrorCode::InvalidProfile, "{profile}");
    }
    assert_eq!(links.answer(Request::List {}), before);
}

#[tokio::test]
async fn orders_are_carried_out_and_show_in_the_list() {
    let links = one_link();
    let done = Response::Done { link: "site-1".to_owned() };
    assert_eq!(links.answer_line(br#"{"link":"site-1","do":"down"}"#), done);
    let line = br#"{"link":"site-1","do":"profile","profile":"2g-edge"}"#;
    assert_eq!(links.answer_line(line), done);
    let steered = links.get("site-1").unwrap();
    assert!(steered.is_down());
    assert_eq!(steered.profile(), Profile::shipped("2g-edge").unwrap());
    let line = br#"{"link":"site-1","do":"profile","profile":{"delay_ms":7}}"#;
    assert_eq!(links.answer_line(line), done);
    assert_eq!(links.answer_line(br#"{"link":"site-1","do":"up"}"#), done);
    let Response::List { links: all } = links.answer_line(br#"{"do":"list"}"#) else {
        panic!("no list")
    };
    assert_eq!(all.len(), 1);
    assert!(!all[0].down);
    assert_eq!(all[0].profile.delay_ms, 7);
}

#[tokio::test]
async fn a_second_link_of_a_name_is_refused() {
    let mut links = one_link();
    let error = links.insert("site-1".to_owned(), link()).unwrap_err();
    assert_eq!(error.name, "site-1");
}

fn code(links: &Links, line: &[u8]) -> ErrorCode {
    match links.answer_line(line) {
        Response::Error { code, message } => {
            assert!(!message.is_empty());
            code
        }
        other @ (Response::Done { .. } | Response::Counters { .. } | Response::List { .. }) => {
            panic!("{other:?}")
        }
    }
}

fn one_link() -> Links {
    let mut links = Links::default();
    links.insert("site-1".to_owned(), link()).unwrap();
    links
}

fn link() -> Link {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = LinkConfig { listen, target: listen, profile: Profile::perfect(), seed: 1 };
    Link::start(config).unwrap()
}
