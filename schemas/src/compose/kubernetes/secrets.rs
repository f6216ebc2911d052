//! Takes what Secrets hold out of their objects, into secrets of the app, which nothing prints.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::app::{ManifestFlaw, SecretSpec, SecretText};
use crate::id::ResourceName;

/// The `data` of an object, if it is a Secret, with its `stringData`; they are taken out of it.
pub(super) fn take(object: &mut Value) -> Result<BTreeMap<String, String>, ManifestFlaw> {
    let is = |part: &str, what: &str| object.get(part).and_then(Value::as_str) == Some(what);
    if !is("kind", "Secret") || !is("apiVersion", "v1") {
        return Ok(BTreeMap::new());
    }
    let Some(fields) = object.as_object_mut() else { return Err(ManifestFlaw::NoObject) };
    let mut data = BTreeMap::new();
    for part in ["data", "stringData"] {
        let texts = match fields.remove(part) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(texts)) => texts,
            Some(_) => return Err(ManifestFlaw::BadSecret),
        };
        for (name, text) in texts {
            let text = text.as_str().ok_or(ManifestFlaw::BadSecret)?;
            // Line breaks are for people.
            let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            let text = match part {
                "data" if BASE64_STANDARD.decode(&packed).is_ok() => packed,
                "data" => return Err(ManifestFlaw::BadSecret),
                _ => BASE64_STANDARD.encode(text),
            };
            data.insert(name, text);
        }
    }
    Ok(data)
}

/// The secrets of an app, and which of them each Secret holds.
pub(super) fn seal(
    data: &BTreeMap<String, BTreeMap<String, String>>,
) -> (BTreeMap<ResourceName, SecretSpec>, BTreeMap<String, ResourceName>) {
    let (mut secrets, mut names) = (BTreeMap::new(), BTreeMap::new());
    let mut taken = BTreeSet::new();
    for (key, data) in data {
        let own: String = key.rsplit('/').next().unwrap_or_default().chars().take(50).collect();
        let numbered =
            (1..).map(|number| if number == 1 { own.clone() } else { format!("{own}-{number}") });
        let mut free = numbered.filter(|name| !taken.contains(name));
        let text = free.next().unwrap_or_default();
        let fallback = || format!("secret-{}", names.len()).parse();
        let Ok(name) = text.parse::<ResourceName>().or_else(|_| fallback()) else { continue };
        taken.insert(text);
        let content = SecretText::new(json!(data).to_string());
        secrets.insert(name.clone(), SecretSpec { content });
        names.insert(key.clone(), name);
    }
    (secrets, names)
}
