//! Walks the tree of a Compose file: keeps paths, fills in variables, collects errors.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::error::{ComposeError, ComposeErrorKind as Kind, Position};
use super::interpolate::{self, InterpolateError};
use super::yaml::{Data, Entry, Node};
use super::{Environment, Files};

/// The most errors that one reading names.
const ERRORS: usize = 32;
/// The most bytes that variables may add.
const INTERPOLATED_BYTES: usize = 4 << 20;
/// The most characters of a value that an error shows.
const SHOWN: usize = 60;

/// What a reading needs and what it has found so far.
pub(super) struct Context<'a> {
    environment: &'a Environment<'a>,
    pub(super) files: &'a Files<'a>,
    errors: Vec<ComposeError>,
    more: usize,
    /// Where the parts of the normal form stand in the file, by the path that validation uses.
    places: BTreeMap<String, (String, Position)>,
    budget: usize,
}

/// A value with its path and the place to point at when it is wrong.
#[derive(Debug, Clone)]
pub(super) struct Item<'n> {
    pub(super) path: String,
    pub(super) at: Position,
    /// Where its key stands; for an element, the element itself.
    key_at: Position,
    pub(super) node: &'n Node,
}

/// The members of a mapping that were not asked for yet.
pub(super) struct Fields<'n> {
    pub(super) path: String,
    pub(super) at: Position,
    members: Vec<(&'n str, Item<'n>)>,
}

impl<'n> Item<'n> {
    /// The whole file.
    pub(super) fn root(node: &'n Node) -> Self {
        Self { path: String::new(), at: node.at, key_at: node.at, node }
    }

    fn member(&self, entry: &'n Entry) -> Self {
        let Entry { key, at: key_at, value, .. } = entry;
        let at = if value.is_null() { *key_at } else { value.at };
        Self { path: member(&self.path, key), at, key_at: *key_at, node: value }
    }

    fn element(&self, index: usize, node: &'n Rc<Node>) -> Self {
        Self { path: element(&self.path, index), at: node.at, key_at: node.at, node }
    }

    pub(super) fn is_null(&self) -> bool {
        self.node.is_null()
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.data, Data::Sequence(_))
    }

    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.node.data, Data::Mapping(_))
    }
}

impl<'n> Fields<'n> {
    /// Takes a member out.
    pub(super) fn take(&mut self, key: &str) -> Option<Item<'n>> {
        let index = self.members.iter().position(|(name, _)| *name == key)?;
        Some(self.members.swap_remove(index).1)
    }

    /// Takes all members out, with their keys.
    pub(super) fn take_all(&mut self) -> Vec<(&'n str, Item<'n>)> {
        std::mem::take(&mut self.members)
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(environment: &'a Environment<'a>, files: &'a Files<'a>) -> Self {
        Self {
            environment,
            files,
            errors: Vec::new(),
            more: 0,
            places: BTreeMap::new(),
            budget: INTERPOLATED_BYTES,
        }
    }

    /// The errors, and how many more there were.
    pub(super) fn into_errors(self) -> (Vec<ComposeError>, usize) {
        (self.errors, self.more)
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    pub(super) fn push(&mut self, error: ComposeError) {
        if self.errors.len() < ERRORS { self.errors.push(error) } else { self.more += 1 }
    }

    pub(super) fn error(&mut self, item: &Item<'_>, kind: Kind) {
        self.push(ComposeError { at: item.at, path: item.path.clone(), kind });
    }

    /// Says what is wrong with the key of a value.
    pub(super) fn key_error(&mut self, item: &Item<'_>, kind: Kind) {
        self.push(ComposeError { at: item.key_at, path: item.path.clone(), kind });
    }

    /// Refuses a key that has no meaning, unless it is somebody's extension.
    pub(super) fn unsupported(&mut self, key: &str, item: &Item<'_>) {
        if !key.starts_with("x-") || key.starts_with("x-gnomon-") {
            self.key_error(item, Kind::Unsupported { hint: hint(key) });
        }
    }

    /// Says that a text is not of the form that its key asks for.
    pub(super) fn bad_value(&mut self, item: &Item<'_>, expected: &'static str, found: &str) {
        let found = shown(found);
        self.error(item, Kind::BadValue { expected, found });
    }

    /// Remembers where a part of the normal form comes from.
    pub(super) fn place(&mut self, normal: impl Into<String>, item: &Item<'_>) {
        self.places.insert(normal.into(), (item.path.clone(), item.at));
    }

    /// Where a part of the normal form, or the nearest thing around it, stands in the file.
    pub(super) fn placed(&self, normal: &str) -> (String, Position) {
        if let Some(place) = self.places.get(normal) {
            return place.clone();
        }
        let mut rest = normal;
        while let Some(end) = rest.rfind(['.', '[']) {
            rest = rest.get(..end).unwrap_or_default();
            if let Some((_, at)) = self.places.get(rest) {
                return (normal.to_owned(), *at);
            }
        }
        (normal.to_owned(), Position { line: 1, column: 1 })
    }

    /// The members of a mapping.
    pub(super) fn mapping<'n>(&mut self, item: &Item<'n>) -> Option<Fields<'n>> {
        let Data::Mapping(entries) = &item.node.data else {
            self.error(item, Kind::Expected { expected: "a mapping" });
            return None;
        };
        let members = entries.iter().map(|entry| (entry.key.as_ref(), item.member(entry)));
        Some(Fields { path: item.path.clone(), at: item.at, members: members.collect() })
    }

    /// The elements of a list.
    pub(super) fn sequence<'n>(&mut self, item: &Item<'n>) -> Option<Vec<Item<'n>>> {
        let Data::Sequence(nodes) = &item.node.data else {
            self.error(item, Kind::Expected { expected: "a list" });
            return None;
        };
        Some(nodes.iter().enumerate().map(|(index, node)| item.element(index, node)).collect())
    }

    /// A text, a number or a truth value as text, with its variables filled in.
    pub(super) fn text(&mut self, item: &Item<'_>) -> Option<String> {
        let Data::Scalar { text, .. } = &item.node.data else {
            self.error(item, Kind::Expected { expected: "a text" });
            return None;
        };
        if item.is_null() {
            self.error(item, Kind::Expected { expected: "a text; it is empty" });
            return None;
        }
        match interpolate::fill(text, self.environment, self.budget) {
            Ok(filled) => {
                self.budget = self.budget.saturating_sub(filled.len().saturating_sub(text.len()));
                Some(filled)
            }
            Err(error) => {
                self.error(item, error.into());
                None
            }
        }
    }

    /// A text that `read` understands.
    pub(super) fn value<T>(
        &mut self,
        item: &Item<'_>,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(item)?;
        let value = read(&text);
        if value.is_none() {
            self.bad_value(item, expected, &text);
        }
        value
    }

    /// A truth value.
    pub(super) fn boolean(&mut self, item: &Item<'_>) -> Option<bool> {
        self.value(item, "`true` or `false`", |text| match text {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        })
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, item: &Item<'_>) -> Option<Vec<String>> {
        let items = self.sequence(item)?;
        let texts: Vec<_> = items.iter().map(|item| self.text(item)).collect();
        texts.into_iter().collect()
    }

    /// A variable of the machine that reads the file.
    pub(super) fn variable(&mut self, item: &Item<'_>, name: &str) -> Option<String> {
        let value = (self.environment)(name);
        match value {
            Some(value) if value.len() <= self.budget => {
                self.budget -= value.len();
                Some(value)
            }
            Some(_) => {
                self.error(item, Kind::TooMuchInterpolated);
                None
            }
            None => {
                self.error(item, Kind::VariableNotSet(shown(name)));
                None
            }
        }
    }

    /// A member that must be there.
    pub(super) fn required<'n>(
        &mut self,
        fields: &mut Fields<'n>,
        key: &'static str,
    ) -> Option<Item<'n>> {
        let found = fields.take(key);
        if found.is_none() {
            let (at, path) = (fields.at, fields.path.clone());
            self.push(ComposeError { at, path, kind: Kind::Missing(key) });
        }
        found
    }

    /// Refuses the members that nobody asked for, except extensions.
    pub(super) fn finish(&mut self, mut fields: Fields<'_>) {
        for (key, item) in fields.take_all() {
            self.unsupported(key, &item);
        }
    }
}

impl Context<'_> {
    /// Refuses the members that nobody asked for, extensions too: it is one of ours.
    pub(super) fn refuse_rest(&mut self, mut fields: Fields<'_>) {
        for (_, item) in fields.take_all() {
            self.key_error(&item, Kind::Unsupported { hint: None });
        }
    }
}

impl From<InterpolateError> for Kind {
    fn from(error: InterpolateError) -> Self {
        match error {
            InterpolateError::Malformed(text) => Self::BadExpression(shown(&text)),
            InterpolateError::NotSet(name) => Self::VariableNotSet(name),
            InterpolateError::Required { name, message } => {
                Self::VariableRequired { name, message: shown(&message) }
            }
            InterpolateError::TooLarge => Self::TooMuchInterpolated,
        }
    }
}

/// The path of a member.
pub(super) fn member(path: &str, key: &str) -> String {
    let key = shown(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// The path of an element.
pub(super) fn element(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// The beginning of a text, fit to be printed on one line.
pub(super) fn shown(text: &str) -> String {
    let mut out: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

fn hint(key: &str) -> Option<&'static str> {
    Some(match key {
        "build" => "build and push the image, then name it with `image`",
        "env_file" => "write the variables under `environment`",
        "networks" | "network_mode" | "links" => {
            "the services of an app reach each other by their names"
        }
        "extends" | "include" => "use an anchor and `<<`, or write it out",
        "profiles" => "make an app of its own",
        "scale" => "use `deploy.replicas`",
        "cpus" | "mem_limit" | "pids_limit" => "use `deploy.resources.limits`",
        "tmpfs" => "use `volumes` with `type: tmpfs`",
        _ => return None,
    })
}
