//! The volumes, configs and secrets that a service mounts, in the short and the long syntax.

use std::collections::BTreeMap;

use super::context::{Context, Item, shown};
use super::error::ComposeErrorKind as Kind;
use crate::app::{FileMount, Mount};
use crate::id::ResourceName;

pub(super) fn volumes(item: &Item<'_>, context: &mut Context<'_>) -> BTreeMap<String, Mount> {
    let mut places = Places::default();
    for element in context.sequence(item).unwrap_or_default() {
        let found = if element.is_mapping() {
            long_volume(&element, context)
        } else {
            short_volume(&element, context)
        };
        if let Some((target, mount)) = found {
            places.add(item, &element, target, mount, context);
        }
    }
    places.mounts
}

pub(super) fn configs(item: &Item<'_>, context: &mut Context<'_>) -> BTreeMap<String, FileMount> {
    files(item, "/", context)
}

pub(super) fn secrets(item: &Item<'_>, context: &mut Context<'_>) -> BTreeMap<String, FileMount> {
    files(item, "/run/secrets/", context)
}

/// The mounts of one list so far.
struct Places<T> {
    mounts: BTreeMap<String, T>,
    first: BTreeMap<String, super::Position>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { mounts: BTreeMap::new(), first: BTreeMap::new() }
    }
}

impl<T> Places<T> {
    fn add(
        &mut self,
        list: &Item<'_>,
        element: &Item<'_>,
        target: String,
        mount: T,
        context: &mut Context<'_>,
    ) {
        if let Some(first) = self.first.insert(target.clone(), element.at) {
            context.error(element, Kind::Duplicate { first });
        }
        context.place(format!("{}[{target}]", list.path), element);
        self.mounts.insert(target, mount);
    }
}

fn short_volume(item: &Item<'_>, context: &mut Context<'_>) -> Option<(String, Mount)> {
    let text = context.text(item)?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match *parts.as_slice() {
        [source, target] => (source, target, "rw"),
        [source, target, mode] => (source, target, mode),
        [_] => {
            context.error(item, Kind::AnonymousVolume);
            return None;
        }
        _ => {
            context.bad_value(item, "`source:target`, `source:target:ro` or the long form", &text);
            return None;
        }
    };
    let read_only = match mode {
        "ro" => true,
        "rw" => false,
        _ => {
            context.bad_value(item, "mounted `ro` or `rw`", mode);
            return None;
        }
    };
    let mount = if looks_like_a_path(source) {
        Mount::Bind { path: bind_source(source, item, context)?, read_only }
    } else {
        Mount::Volume { name: context.named(source, item)?, read_only }
    };
    Some((trimmed(target), mount))
}

fn long_volume(item: &Item<'_>, context: &mut Context<'_>) -> Option<(String, Mount)> {
    let mut fields = context.mapping(item)?;
    let kind = context.required(&mut fields, "type");
    let kind =
        kind.and_then(|item| context.value(&item, "`volume`, `bind` or `tmpfs`", Kinds::read));
    let target = context.required(&mut fields, "target");
    let target = target.and_then(|item| context.text(&item));
    let kind = kind?;
    let read_only = match kind {
        Kinds::Volume | Kinds::Bind => fields.take("read_only"),
        Kinds::Tmpfs => None,
    };
    let read_only = read_only.and_then(|item| context.boolean(&item)).unwrap_or(false);
    let mount = match kind {
        Kinds::Tmpfs => {
            let size_bytes = fields.take("tmpfs").and_then(|item| tmpfs_size(&item, context));
            Some(Mount::Tmpfs { size_bytes })
        }
        Kinds::Volume => {
            let Some(source) = fields.take("source") else {
                context.error(item, Kind::AnonymousVolume);
                return None;
            };
            context.name(&source).map(|name| Mount::Volume { name, read_only })
        }
        Kinds::Bind => {
            let source = context.required(&mut fields, "source");
            let path = source.and_then(|item| {
                let text = context.text(&item)?;
                bind_source(&text, &item, context)
            });
            path.map(|path| Mount::Bind { path, read_only })
        }
    };
    context.finish(fields);
    Some((trimmed(&target?), mount?))
}

enum Kinds {
    Volume,
    Bind,
    Tmpfs,
}

impl Kinds {
    fn read(text: &str) -> Option<Self> {
        match text {
            "volume" => Some(Self::Volume),
            "bind" => Some(Self::Bind),
            "tmpfs" => Some(Self::Tmpfs),
            _ => None,
        }
    }
}

fn tmpfs_size(item: &Item<'_>, context: &mut Context<'_>) -> Option<u64> {
    let mut fields = context.mapping(item)?;
    let size = fields.take("size").and_then(|item| context.size(&item));
    context.finish(fields);
    size
}

fn looks_like_a_path(source: &str) -> bool {
    source.starts_with(['/', '.', '~'])
}

fn bind_source(source: &str, item: &Item<'_>, context: &mut Context<'_>) -> Option<String> {
    if !source.starts_with('/') {
        context.error(item, Kind::RelativeSource(shown(source)));
        return None;
    }
    Some(trimmed(source))
}

/// A path without the slash at its end, which means nothing.
fn trimmed(path: &str) -> String {
    match path.strip_suffix('/') {
        Some("") | None => path.to_owned(),
        Some(path) => path.to_owned(),
    }
}

fn files(
    item: &Item<'_>,
    directory: &str,
    context: &mut Context<'_>,
) -> BTreeMap<String, FileMount> {
    let mut places = Places::default();
    for element in context.sequence(item).unwrap_or_default() {
        let found = if element.is_mapping() {
            long_file(&element, directory, context)
        } else {
            let name = context.name::<ResourceName>(&element);
            name.map(|name| (format!("{directory}{name}"), FileMount::new(name)))
        };
        if let Some((target, mount)) = found {
            places.add(item, &element, target, mount, context);
        }
    }
    places.mounts
}

fn long_file(
    item: &Item<'_>,
    directory: &str,
    context: &mut Context<'_>,
) -> Option<(String, FileMount)> {
    let mut fields = context.mapping(item)?;
    let source = context.required(&mut fields, "source");
    let source = source.and_then(|item| context.name::<ResourceName>(&item));
    let target = match fields.take("target") {
        Some(item) => context.text(&item).map(|text| below(directory, text)),
        None => source.as_ref().map(|name| format!("{directory}{name}")),
    };
    let mode = fields
        .take("mode")
        .and_then(|item| context.value(&item, "permission bits in octal, such as `0440`", octal));
    context.finish(fields);
    let mut mount = FileMount::new(source?);
    mount.mode = mode.unwrap_or(mount.mode);
    Some((target?, mount))
}

fn below(directory: &str, target: String) -> String {
    if target.starts_with('/') { target } else { format!("{directory}{target}") }
}

fn octal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0'))?;
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    u32::from_str_radix(digits, 8).ok().filter(|_| plain)
}
