//! The top-level volumes, configs and secrets.

use std::collections::BTreeMap;

use super::context::{Context, Fields, Item, shown};
use super::error::ComposeErrorKind as Kind;
use super::service::labels;
use crate::app::{ConfigSpec, SecretSpec, SecretText, VolumeSpec};
use crate::id::ResourceName;

pub(super) fn volumes(
    item: &Item<'_>,
    context: &mut Context<'_>,
) -> BTreeMap<ResourceName, VolumeSpec> {
    read(item, "volumes", context, |item, context| {
        let mut volume = VolumeSpec::default();
        if !item.is_null() {
            let mut fields = context.mapping(item)?;
            if let Some(item) = fields.take("labels") {
                volume.labels = labels(&item, context);
            }
            context.finish(fields);
        }
        Some(volume)
    })
}

pub(super) fn configs(
    item: &Item<'_>,
    context: &mut Context<'_>,
) -> BTreeMap<ResourceName, ConfigSpec> {
    read(item, "configs", context, |item, context| {
        content(item, context).map(|content| ConfigSpec { content })
    })
}

pub(super) fn secrets(
    item: &Item<'_>,
    context: &mut Context<'_>,
) -> BTreeMap<ResourceName, SecretSpec> {
    read(item, "secrets", context, |item, context| {
        content(item, context).map(|content| SecretSpec { content: SecretText::new(content) })
    })
}

fn read<T>(
    item: &Item<'_>,
    section: &str,
    context: &mut Context<'_>,
    one: impl Fn(&Item<'_>, &mut Context<'_>) -> Option<T>,
) -> BTreeMap<ResourceName, T> {
    context.place(section, item);
    if item.is_null() {
        return BTreeMap::new();
    }
    let members = context.mapping(item).map(|mut fields| fields.take_all()).unwrap_or_default();
    let mut resources = BTreeMap::new();
    for (key, item) in members {
        if key.starts_with("x-") {
            continue;
        }
        let name = context.named::<ResourceName>(key, &item);
        let value = one(&item, context);
        if let (Some(name), Some(value)) = (name, value) {
            context.place(format!("{section}.{name}"), &item);
            resources.insert(name, value);
        }
    }
    resources
}

/// What a config or secret holds: from the text itself, a file, or a variable.
fn content(item: &Item<'_>, context: &mut Context<'_>) -> Option<String> {
    let mut fields = context.mapping(item)?;
    let sources = [
        fields.take("content").map(|item| (item, Source::Inline)),
        fields.take("file").map(|item| (item, Source::File)),
        fields.take("environment").map(|item| (item, Source::Variable)),
    ];
    let mut given = sources.into_iter().flatten();
    let (Some((source, kind)), None) = (given.next(), given.next()) else {
        return exactly_one(item, fields, context);
    };
    context.finish(fields);
    match kind {
        Source::Inline if source.is_null() => Some(String::new()),
        Source::Inline => context.text(&source),
        Source::File => file(&source, context),
        Source::Variable => {
            let name = context.text(&source)?;
            context.variable(&source, &name)
        }
    }
}

enum Source {
    Inline,
    File,
    Variable,
}

fn exactly_one(item: &Item<'_>, fields: Fields<'_>, context: &mut Context<'_>) -> Option<String> {
    context.finish(fields);
    context.error(item, Kind::NotOne("`content`, `file` and `environment`"));
    None
}

fn file(item: &Item<'_>, context: &mut Context<'_>) -> Option<String> {
    let written = context.text(item)?;
    let Some(file) = below(&written) else {
        context.error(item, Kind::FileOutside(shown(&written)));
        return None;
    };
    match (context.files)(&file) {
        Ok(text) => Some(text),
        Err(error) => {
            context.error(item, Kind::File { file: shown(&file), reason: error.to_string() });
            None
        }
    }
}

/// The path in its shortest form, if it stays below the directory that it is relative to.
fn below(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| *part != ".").collect();
    let plain =
        |part: &&str| !part.is_empty() && *part != ".." && !part.contains(['\0', '\\', ':']);
    (!parts.is_empty() && parts.iter().all(plain)).then(|| parts.join("/"))
}
