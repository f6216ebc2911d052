//! The secrets of apps: readers get a placeholder for what they hold, and a writer who gives the
//! placeholder back means what is there.

use std::borrow::Cow;

use gnomon_schemas::document::{Document, InvalidDocument};
use serde_json::{Map, Value};

use super::pointer::Pointer;

/// Stands for the content of a secret.
pub const HIDDEN: &str = "[redacted]";

const SECRETS: &str = "secrets";
const CONTENT: &str = "content";

/// Whether a place is in, or has in it, what secrets hold.
pub(super) fn is_near(pointer: &Pointer) -> bool {
    pointer.steps().first().is_none_or(|step| step == SECRETS)
}

/// A copy of an app's document without what its secrets hold; the document itself if it has none.
pub fn hide(document: &Map<String, Value>) -> Cow<'_, Map<String, Value>> {
    if !document.contains_key(SECRETS) {
        return Cow::Borrowed(document);
    }
    let mut document = document.clone();
    for (_, content) in contents(&mut document) {
        *content = Value::from(HIDDEN);
    }
    Cow::Owned(document)
}

/// Puts what the secrets of `old` hold where `new` has the placeholder.
pub(super) fn restore(new: Document, old: Option<&Document>) -> Result<Document, Unrestored> {
    if !new.as_object().contains_key(SECRETS) {
        return Ok(new);
    }
    let mut object = new.as_object().clone();
    for (name, content) in contents(&mut object) {
        if content.as_str() == Some(HIDDEN) {
            let before = old.and_then(|old| old.as_object().get(SECRETS)?.get(name)?.get(CONTENT));
            *content = before.ok_or_else(|| Unrestored::Unknown(name.clone()))?.clone();
        }
    }
    Ok(Document::from_value(object.into())?)
}

/// Why the placeholder could not be replaced.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unrestored {
    /// The app has no such secret.
    #[error("{HIDDEN:?} stands for what the secret holds, and there is none yet; send its content")]
    Unknown(String),
    /// With the contents the document is too large.
    #[error(transparent)]
    Document(#[from] InvalidDocument),
}

fn contents(document: &mut Map<String, Value>) -> impl Iterator<Item = (&String, &mut Value)> {
    let secrets = document.get_mut(SECRETS).and_then(Value::as_object_mut);
    let secrets = secrets.into_iter().flatten();
    secrets.filter_map(|(name, secret)| Some((name, secret.get_mut(CONTENT)?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(value: Value) -> Document {
        Document::from_value(value).unwrap()
    }

    #[test]
    fn what_was_hidden_comes_back_unchanged() {
        let old = document(json!({
            "services": { "web": { "image": "nginx:1" } },
            "secrets": { "key": { "content": "hunter2" }, "other": { "content": "swordfish" } },
        }));
        let shown = hide(old.as_object()).into_owned();
        let text = serde_json::to_string(&shown).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("swordfish"), "{text}");
        assert_eq!(restore(document(shown.into()), Some(&old)).unwrap(), old);
    }

    #[test]
    fn a_new_content_stays_and_a_placeholder_for_nothing_is_refused() {
        let secret =
            |content: &str| document(json!({ "secrets": { "key": { "content": content } } }));
        assert_eq!(restore(secret("new"), Some(&secret("old"))).unwrap(), secret("new"));
        assert_eq!(restore(secret(HIDDEN), None), Err(Unrestored::Unknown("key".to_owned())));
    }
}
