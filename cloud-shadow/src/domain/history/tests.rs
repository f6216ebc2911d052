//! Going back gives what was there.

use gnomon_schemas::version::Version;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn document(value: Value) -> Document {
    Document::from_value(value).unwrap()
}

/// The entries of a half that had these documents one after the other, newest first.
fn entries(documents: &[Option<Document>]) -> Vec<Entry> {
    let mut before: Option<&Document> = None;
    let mut entries = Vec::new();
    for (n, document) in documents.iter().enumerate() {
        let version = Version(u64::try_from(n).unwrap() + 1);
        entries.push(Entry {
            shadow_version: version,
            version,
            at_ms: 0,
            by: Author::new("someone"),
            digest: document.as_ref().map(Document::digest),
            undo: Entry::undo(before, document.as_ref()),
        });
        before = document.as_ref();
    }
    entries.reverse();
    entries
}

fn any_document() -> impl Strategy<Value = Option<Document>> {
    let value = prop_oneof![
        (0..3).prop_map(|n| json!({ "n": n })),
        (0..3).prop_map(|n| json!({ "m": { "n": n, "list": [n, 1] }, "k": "x" })),
        Just(json!({})),
        Just(json!({ "m": 1 })),
    ];
    prop::option::weighted(0.8, value.prop_map(document))
}

proptest! {
    #[test]
    fn every_version_is_reached_from_the_present(
        documents in prop::collection::vec(any_document(), 1..12)
    ) {
        let present = documents.last().unwrap().clone().map(Arc::new);
        let revisions: Vec<_> = unfold(present, entries(&documents)).collect();
        prop_assert_eq!(revisions.len(), documents.len());
        for (revision, document) in revisions.iter().zip(documents.iter().rev()) {
            prop_assert_eq!(revision.document.as_deref(), document.as_ref());
            if let Some(document) = document {
                let before = revision.before.as_deref().cloned().unwrap_or_default();
                prop_assert_eq!(&merge(&before, &revision.patch()), document);
            }
        }
    }
}

#[test]
fn nothing_is_told_beyond_an_entry_that_does_not_fit() {
    let documents: Vec<_> = (0..4).map(|n| Some(document(json!({ "n": n })))).collect();
    let mut entries = entries(&documents);
    entries.remove(1);
    let present = documents.last().unwrap().clone().map(Arc::new);
    assert_eq!(unfold(present, entries).count(), 1);
}
