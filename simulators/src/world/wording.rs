//! Messages and deliveries in a few words, for the story of a run.

use gnomon_schemas::version::Epoch;
use gnomon_schemas::wire::{Body, Entry, Message};
use gnomon_sync::Delivery;

/// A message on one line.
pub(super) fn message(message: &Message) -> String {
    match message {
        Message::Hello(it) => {
            format!("hello {}:{} window {}", epoch(it.epoch), it.seq, it.window)
        }
        Message::Ack(it) => format!("ack {}:{}", epoch(it.epoch), it.seq),
        Message::Fetch(it) => {
            let keys: Vec<_> = it.keys.iter().map(ToString::to_string).collect();
            format!("fetch {}:{} {}", epoch(it.epoch), it.seq, keys.join(" "))
        }
        Message::Batch(it) => {
            let entries: Vec<_> = it.changes.iter().map(entry).collect();
            format!("batch {}:{}..{} [{}]", epoch(it.epoch), it.after, it.seq, entries.join(", "))
        }
        Message::Manifest(it) => {
            let entries = it.entries.iter().map(|it| format!("{} v{}", it.key, it.version));
            let entries: Vec<_> = entries.collect();
            let (own, theirs) = (epoch(it.epoch), epoch(it.answers));
            let (seq, part, parts) = (it.seq, it.part, it.parts);
            format!("manifest {own}:{seq} for {theirs}, {part} of {parts} [{}]", entries.join(", "))
        }
    }
}

/// A delivery on one line.
pub(super) fn delivery(news: &Delivery) -> String {
    match &news.document {
        Some(document) => format!("{} v{} {document}", news.key, news.version),
        None => format!("{} v{} gone", news.key, news.version),
    }
}

fn entry(entry: &Entry) -> String {
    let Entry { key, base, version, body } = entry;
    match body {
        Body::Patch(patch, _) => match patch.to_value() {
            Some(patch) => format!("{key} v{base}->v{version} {patch}"),
            None => format!("{key} v{base}->v{version} {:?}", patch.changes()),
        },
        Body::Full(document, _) => format!("{key} v{version} {document}"),
        Body::Gone => format!("{key} v{version} gone"),
    }
}

fn epoch(epoch: Epoch) -> String {
    epoch.to_string().chars().take(4).collect()
}
