//! Measured values on their way into a report. One that differs from the last no more than its
//! dead-band is no news. While the hour's writes are used up, or the link's allowance for them,
//! the newest values wait in memory: older ones are overtaken, not queued.

use std::collections::BTreeMap;

use gnomon_schemas::document::Document;
use gnomon_schemas::key::ShadowKey;
use serde_json::Value;

/// By how much a member may differ without being news, by its dotted path (`tank.level`).
pub(super) type DeadBands = BTreeMap<String, f64>;

/// The documents that wait.
#[derive(Debug, Default)]
pub(super) struct Measured(BTreeMap<ShadowKey, Document>);

impl Measured {
    /// What waits for this shadow.
    pub(super) fn get(&self, key: &ShadowKey) -> Option<&Document> {
        self.0.get(key)
    }

    /// Lets a document wait; an older one of the same shadow goes.
    pub(super) fn hold(&mut self, key: ShadowKey, document: Document) {
        self.0.insert(key, document);
    }

    /// Takes all that waits.
    pub(super) fn take(&mut self) -> BTreeMap<ShadowKey, Document> {
        std::mem::take(&mut self.0)
    }

    /// A newer document of this shadow went: what waits is overtaken.
    pub(super) fn forget(&mut self, key: &ShadowKey) {
        self.0.remove(key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether a document says nothing new beside the dead-bands.
pub(super) fn is_no_news(held: &Value, new: &Document, bands: &DeadBands) -> bool {
    is_near(held, &new.to_value(), &mut String::new(), bands)
}

fn is_near(held: &Value, new: &Value, path: &mut String, bands: &DeadBands) -> bool {
    match (held, new) {
        (Value::Object(held), Value::Object(new)) => {
            let length = path.len();
            held.len() == new.len()
                && new.iter().all(|(name, new)| {
                    if length > 0 {
                        path.push('.');
                    }
                    path.push_str(name);
                    let is_near = held.get(name).is_some_and(|it| is_near(it, new, path, bands));
                    path.truncate(length);
                    is_near
                })
        }
        (Value::Number(held), Value::Number(new)) => {
            let band = bands.get(path.as_str()).copied().unwrap_or(0.0);
            let (a, b) = (held.as_f64(), new.as_f64());
            held == new || a.zip(b).is_some_and(|(a, b)| (a - b).abs() <= band && band > 0.0)
        }
        (held, new) => held == new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_value_within_its_dead_band_is_no_news_and_all_else_is() {
        let bands = DeadBands::from([("tank.level".to_owned(), 0.5), ("flow".to_owned(), 2.0)]);
        let held = document(r#"{"tank": {"level": 10.0, "name": "a"}, "flow": 100, "level": 1}"#);
        for (new, is_news) in [
            (r#"{"tank": {"level": 10.5, "name": "a"}, "flow": 98, "level": 1}"#, false),
            (r#"{"tank": {"level": 10.6, "name": "a"}, "flow": 98, "level": 1}"#, true),
            (r#"{"tank": {"level": 10, "name": "b"}, "flow": 100, "level": 1}"#, true),
            (r#"{"tank": {"level": 10, "name": "a"}, "flow": 100, "level": 1.1}"#, true),
            (r#"{"tank": {"level": "x", "name": "a"}, "flow": 100, "level": 1}"#, true),
            (r#"{"tank": {"level": 10, "name": "a"}, "flow": 100}"#, true),
            (r#"{"tank": {"level": 10, "name": "a"}, "flow": 100, "level": 1, "x": 1}"#, true),
        ] {
            assert_eq!(!is_no_news(&held.to_value(), &document(new), &bands), is_news, "{new}");
        }
    }

    #[test]
    fn a_slow_drift_is_told_when_it_has_left_the_band() {
        let bands = DeadBands::from([("level".to_owned(), 1.0)]);
        let mut held = document(r#"{"level": 0}"#);
        let mut told = 0;
        for tenth in 0..100 {
            let new = document(&format!(r#"{{"level": {}}}"#, f64::from(tenth) / 10.0));
            if !is_no_news(&held.to_value(), &new, &bands) {
                (held, told) = (new, told + 1);
            }
        }
        assert_eq!(told, 9);
    }
}
