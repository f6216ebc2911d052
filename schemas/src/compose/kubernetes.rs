//! Reads Kubernetes manifests in YAML, many documents in one text, into the normal form of an app
//! with one service. Pure. Nothing is filled in, and nothing that could mean two things is taken.

mod scalar;
mod secrets;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::context::{element, member};
use super::yaml::{self, Data, Node};
use super::{ComposeError, ComposeErrorKind as Kind, ComposeErrors, Position, TEXT_BYTES};
use crate::app::{AppSpec, Manifest, ServiceSpec};
use crate::limits::DOCUMENT_DEPTH;

/// The one service of such an app.
pub const SERVICE: &str = "manifests";
/// Where the objects lie in the app: `services.manifests.manifests.KEY`.
const ABOVE: usize = 4;
/// The most errors that one reading names.
const ERRORS: usize = 32;

/// Whether a text is meant to be Kubernetes manifests (or a part of a Helm chart), not a Compose file.
///
/// ```
/// use gnomon_schemas::compose::kubernetes;
/// assert!(kubernetes::is_meant("# A pod.\napiVersion: v1\nkind: Pod\n"));
/// assert!(!kubernetes::is_meant("services: { web: { image: apiVersion } }\n"));
/// ```
pub fn is_meant(text: &str) -> bool {
    let begins = |line: &str| {
        let line = line.trim_start_matches('\u{feff}').trim_start_matches(['{', '-', ' ']);
        ["apiVersion:", "\"apiVersion\":", "kind:", "\"kind\":"]
            .iter()
            .any(|key| line.starts_with(key))
    };
    // In JSON the first key may stand on a line of its own.
    let is_json = text.trim_start().starts_with('{');
    text.lines().any(|line| (is_json || !line.starts_with(' ')) && begins(line.trim_start()))
}

/// Reads the app out of the text.
pub fn read(text: &str) -> Result<AppSpec, ComposeErrors> {
    let start = Position { line: 1, column: 1 };
    let whole = |kind| ComposeErrors::from(ComposeError { at: start, path: String::new(), kind });
    if text.len() > TEXT_BYTES {
        return Err(whole(Kind::TooLarge { limit: TEXT_BYTES, found: text.len() }));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parsed = yaml::parse_all(text, DOCUMENT_DEPTH - ABOVE);
    let (documents, duplicates) = match parsed {
        // What templates are made of is rarely YAML.
        Err(ComposeError { at, .. }) if text.contains("{{") => {
            return Err(ComposeError { at, path: String::new(), kind: Kind::Helm }.into());
        }
        parsed => parsed?,
    };
    let mut reading = Reading { errors: duplicates, ..Reading::default() };
    for document in documents.iter().filter(|document| !document.is_null()) {
        reading.document(document);
    }
    if reading.errors.is_empty() && reading.found.is_empty() {
        return Err(whole(Kind::NoManifests));
    }
    reading.finish()
}

#[derive(Default)]
struct Reading {
    found: BTreeMap<String, (Manifest, Position)>,
    data: BTreeMap<String, BTreeMap<String, String>>,
    errors: Vec<ComposeError>,
}

impl Reading {
    fn document(&mut self, node: &Node) {
        let Some(value) = self.value(node, "") else { return };
        let items = match value.get("items") {
            Some(Value::Array(items)) if is_list(&value) => items.clone(),
            _ => vec![value],
        };
        for item in items {
            let path = label(&item);
            if let Err(kind) = self.object(item, node.at) {
                self.errors.push(ComposeError { at: node.at, path, kind });
            }
        }
    }

    fn object(&mut self, mut object: Value, at: Position) -> Result<(), Kind> {
        if is_chart(&object) {
            return Err(Kind::Helm);
        }
        let data = secrets::take(&mut object).map_err(Kind::Manifest)?;
        let manifest = Manifest::new(object).map_err(Kind::Manifest)?;
        let key = manifest.key();
        if let Some((_, first)) = self.found.get(&key) {
            return Err(Kind::SameObject { first: *first });
        }
        if !data.is_empty() {
            self.data.insert(key.clone(), data);
        }
        self.found.insert(key, (manifest, at));
        Ok(())
    }

    /// The value; `None` if something in it is wrong, which is noted.
    fn value(&mut self, node: &Node, path: &str) -> Option<Value> {
        match &node.data {
            Data::Scalar { text, plain } => match scalar::read(text, *plain) {
                Ok(value) => Some(value),
                Err(kind) => {
                    self.errors.push(ComposeError { at: node.at, path: path.to_owned(), kind });
                    None
                }
            },
            Data::Sequence(items) => {
                let items = items.iter().enumerate();
                let values: Vec<_> =
                    items.map(|(at, item)| self.value(item, &element(path, at))).collect();
                values.into_iter().collect()
            }
            Data::Mapping(entries) => {
                let mut members = Map::new();
                let mut is_whole = true;
                for entry in entries {
                    match self.value(&entry.value, &member(path, &entry.key)) {
                        Some(value) => drop(members.insert(entry.key.to_string(), value)),
                        None => is_whole = false,
                    }
                }
                is_whole.then_some(Value::Object(members))
            }
        }
    }

    fn finish(mut self) -> Result<AppSpec, ComposeErrors> {
        let places: BTreeMap<_, _> =
            self.found.iter().map(|(key, (_, at))| (key.clone(), *at)).collect();
        let mut app = AppSpec::default();
        let (secrets, names) = secrets::seal(&self.data);
        app.secrets = secrets;
        let manifests = std::mem::take(&mut self.found);
        let service = ServiceSpec {
            manifests: manifests.into_iter().map(|(key, (manifest, _))| (key, manifest)).collect(),
            manifest_secrets: names,
            ..ServiceSpec::default()
        };
        let name = SERVICE.parse().expect("it is a name of a service");
        app.services.insert(name, service);
        if self.errors.is_empty()
            && let Err(invalid) = app.validate()
        {
            for problem in invalid.problems() {
                let place = places.iter().find(|(key, _)| problem.path.contains(key.as_str()));
                let (path, at) = place.map_or_else(
                    || (String::new(), Position { line: 1, column: 1 }),
                    |(key, at)| (key.clone(), *at),
                );
                let kind = Kind::Invalid(problem.kind.clone());
                self.errors.push(ComposeError { at, path, kind });
            }
        }
        if self.errors.is_empty() {
            return Ok(app);
        }
        let more = self.errors.len().saturating_sub(ERRORS);
        self.errors.truncate(ERRORS);
        Err(ComposeErrors::new(self.errors, more))
    }
}

/// What people call an object.
fn label(object: &Value) -> String {
    let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    format!("{} {}", text("/kind"), text("/metadata/name")).trim().to_owned()
}

fn is_list(value: &Value) -> bool {
    value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"))
}

/// `Chart.yaml`, or a template that happens to be YAML.
fn is_chart(object: &Value) -> bool {
    let has = |part: &str| object.get(part).is_some();
    if !has("kind") && has("name") && has("version") {
        return true;
    }
    let mut parts =
        ["apiVersion", "kind", "metadata"].into_iter().filter_map(|part| object.get(part));
    parts.any(|part| part.to_string().contains("{{"))
}

#[cfg(test)]
mod tests;
