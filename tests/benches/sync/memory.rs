//! What an idle shadow takes in memory at either end, beyond its document.

use std::alloc::System;

use gnomon_schemas::document::{Document, Packed};
use gnomon_schemas::version::Epoch;
use gnomon_sync::{Moment, Output, Reader, ReaderConfig, Writer, WriterConfig};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::report::{Row, Target};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NOW: Moment = Moment::from_millis(0);

/// Bytes per shadow of a writer and a reader that are in sync over so many.
pub(crate) fn run(shadows: usize) -> Vec<Row> {
    let documents = || (0..shadows).map(document).map(Packed::from).collect::<Vec<_>>();
    let (documents, of_documents) = weigh(documents);
    let of_documents = of_documents.saturating_sub(size_of_val(documents.as_slice()));
    drop(documents);
    let ((writer, reader), both) = weigh(|| synced(shadows));
    drop(writer);
    let (copy, of_reader) = weigh(|| reader.clone());
    // A clone shares its documents with the original, so it weighs what the reader adds.
    drop(copy);
    let of_writer = both.saturating_sub(of_reader + 2 * of_documents);
    let row = |what: &str, bytes: usize, target| Row {
        what: format!("an idle shadow of {shadows}: {what}"),
        unit: "B of heap",
        ours: bytes as f64 / shadows as f64,
        peer: None,
        target,
    };
    vec![
        row("its document", of_documents, Target::None),
        row("beyond its document, at the writer", of_writer, Target::Under(300.0)),
        row("beyond its document, at the reader", of_reader, Target::Under(300.0)),
    ]
}

/// What was made, and how many bytes of the heap it holds.
fn weigh<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let region = Region::new(ALLOCATOR);
    let thing = make();
    let change = region.change();
    let held = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
    (thing, held)
}

fn document(number: usize) -> Document {
    let value = json!({ "number": number, "unit": "kWh", "limits": { "low": 1, "high": 9 } });
    Document::from_value(value).expect("a well-formed document")
}

/// Two ends that hold the same and have nothing more to say.
fn synced(shadows: usize) -> (Writer, Reader) {
    let rng = StdRng::seed_from_u64(1);
    let mut writer = Writer::new(Epoch(1), WriterConfig::default(), rng);
    let mut reader = Reader::new(ReaderConfig::default());
    for number in 0..shadows {
        let key = format!("device/meter-{number}").parse().expect("a well-formed key");
        writer.put(NOW, &key, document(number));
        while writer.poll_output().is_some() {}
    }
    writer.link_up(NOW);
    reader.link_up(NOW);
    loop {
        let mut is_quiet = true;
        while let Some(output) = reader.poll_output() {
            if let Output::Send(message) = output {
                writer.receive(NOW, &message);
                is_quiet = false;
            }
        }
        while let Some(output) = writer.poll_output() {
            if let Output::Send(message) = output {
                reader.receive(NOW, &message);
                is_quiet = false;
            }
        }
        if is_quiet {
            assert!(writer.is_in_sync(), "the ends have stopped talking before they are in sync");
            return (writer, reader);
        }
    }
}
