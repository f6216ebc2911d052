//! The parser against streams cut at every place.

use super::*;

const STREAM: &str = ": hello\n\nevent: shadow\r\ndata: {\"a\":\r\ndata: 1}\r\nid: 3\r\n\r\nevent: synced\ndata:\n\n";

fn parse(chunks: &[&[u8]]) -> Vec<RawEvent> {
    let mut parser = Parser::default();
    let mut events = Vec::new();
    for chunk in chunks {
        parser.feed(chunk);
        while let Some(event) = parser.take() {
            events.push(event);
        }
    }
    events
}

#[test]
fn events_are_the_same_wherever_the_chunks_end() {
    let shadow = RawEvent { event: "shadow".into(), data: "{\"a\":\n1}".into() };
    let synced = RawEvent { event: "synced".into(), data: String::new() };
    let expected = vec![shadow, synced];
    for cut in 0..=STREAM.len() {
        let (head, tail) = STREAM.as_bytes().split_at(cut);
        assert_eq!(parse(&[head, tail]), expected, "cut at {cut}");
    }
}

#[test]
fn an_unknown_event_is_skipped_and_a_broken_one_is_an_error() {
    let unknown = RawEvent { event: "news".into(), data: "x".into() };
    assert!(read(&unknown, "http://cloud").unwrap().is_none());
    let broken = RawEvent { event: "shadow".into(), data: "{".into() };
    let error = read(&broken, "http://cloud").unwrap_err().to_string();
    assert!(error.contains("http://cloud/v1/watch"), "{error}");
}

#[test]
fn a_line_without_end_does_not_grow_without_bound() {
    let mut parser = Parser::default();
    for _ in 0..100 {
        parser.feed(&vec![b'x'; 100_000]);
    }
    assert!(parser.buffer.len() <= EVENT_BYTES);
}
