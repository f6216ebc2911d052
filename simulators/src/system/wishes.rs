//! What the operator wishes, and what the operator was answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use gnomon_schemas::document::Document;
use gnomon_schemas::key::ShadowKey;
use serde_json::json;

pub(super) const APPS: [&str; 3] = ["web", "db", "meter"];

/// How many variants of an app there are; the image of the last cannot be had.
pub(super) const VARIANTS: u8 = 4;

/// Whose image cannot be had.
pub(super) const BAD_IMAGE: &str = "nowhere:1";

pub(super) fn key(app: u8) -> ShadowKey {
    let name = APPS[usize::from(app) % APPS.len()];
    ShadowKey::App(name.parse().expect("a well-formed name"))
}

/// A variant of an app: odd ones have a second service, which the first one needs.
pub(super) fn document(variant: u8) -> Document {
    let image = |name: &str| json!({ "image": name, "restart": "always" });
    let services = match variant % VARIANTS {
        0 => json!({ "main": image("main:0") }),
        1 => {
            let mut main = image("main:1");
            main["depends_on"] = json!({ "side": { "condition": "service_started" } });
            json!({ "main": main, "side": image("side:1") })
        }
        2 => json!({ "main": image("main:2"), "side": image("side:1") }),
        _ => json!({ "main": image(BAD_IMAGE) }),
    };
    Document::from_value(json!({ "services": services })).expect("a well-formed app")
}

pub(super) fn is_bad(document: &Document) -> bool {
    document.to_string().contains(BAD_IMAGE)
}

/// What the operator of one site asked for and was answered, by key.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<ShadowKey, Account>);

/// What may be: what was answered last, or something that was asked for after that.
#[derive(Debug, Default)]
struct Account {
    answered: Desired,
    open: Vec<Desired>,
}

/// A desired half; `None`: there is none.
pub(super) type Desired = Option<Arc<Document>>;

impl Ledger {
    pub(super) fn asked(&mut self, key: &ShadowKey, desired: Desired) {
        self.0.entry(key.clone()).or_default().open.push(desired);
    }

    /// The answer to the oldest question that it fits; those before it were lost.
    pub(super) fn answered(&mut self, key: &ShadowKey, desired: Desired) {
        let account = self.0.entry(key.clone()).or_default();
        if let Some(at) = account.open.iter().position(|open| *open == desired) {
            account.open.drain(..=at);
        }
        account.answered = desired;
    }

    /// The keys of which `desired` is none of what it may be.
    pub(super) fn lost(
        &self,
        mut desired: impl FnMut(&ShadowKey) -> Desired,
    ) -> Option<&ShadowKey> {
        let is_lost = |(key, account): &(&ShadowKey, &Account)| {
            let desired = desired(key);
            account.answered != desired && !account.open.contains(&desired)
        };
        self.0.iter().find(is_lost).map(|(key, _)| key)
    }
}

/// How many services an app has.
pub(super) fn services(document: &Document) -> usize {
    let services = document.as_object().get("services").and_then(serde_json::Value::as_object);
    services.map_or(0, serde_json::Map::len)
}
