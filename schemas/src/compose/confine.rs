//! Capabilities, devices and limits of the kernel of one service.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{Context, Item};
use super::error::ComposeErrorKind as Kind;
use super::units;
use crate::app::{Access, Capability, Device, ServiceSpec, Ulimit, UlimitName};

/// Reads a key of a service if it is one of these.
pub(super) fn read(
    key: &str,
    item: &Item<'_>,
    parent: &str,
    service: &mut ServiceSpec,
    context: &mut Context<'_>,
) -> bool {
    let own = &mut service.confinement;
    let normal = format!("{parent}.confinement.{key}");
    match key {
        "cap_add" => own.cap_add = capabilities(item, &normal, context),
        "cap_drop" => own.cap_drop = capabilities(item, &normal, context),
        "read_only" => own.read_only = context.boolean(item).unwrap_or_default(),
        "security_opt" => own.no_new_privileges = security(item, context),
        "ulimits" => own.ulimits = ulimits(item, &normal, context),
        "devices" => service.devices = devices(item, context),
        _ => return false,
    }
    true
}

fn capabilities(item: &Item<'_>, normal: &str, context: &mut Context<'_>) -> BTreeSet<Capability> {
    let mut names = BTreeSet::new();
    let mut first = BTreeMap::new();
    for element in context.sequence(item).unwrap_or_default() {
        let expected = "a capability such as `NET_ADMIN`, or `ALL`";
        let Some(name) = context.value(&element, expected, |text| text.parse().ok()) else {
            continue;
        };
        context.place(format!("{normal}.{name}"), &element);
        if let Some(first) = first.insert(name, element.at) {
            context.error(&element, Kind::Duplicate { first });
        }
        names.insert(name);
    }
    names
}

/// Whether programs may have no more rights than the service; what else Docker knows under this
/// key is its own and means nothing elsewhere.
fn security(item: &Item<'_>, context: &mut Context<'_>) -> bool {
    let expected = "`no-new-privileges:true` or `no-new-privileges:false`";
    let mut is_on = false;
    for element in context.sequence(item).unwrap_or_default() {
        let read = |text: &str| match text.replace('=', ":").as_str() {
            "no-new-privileges" | "no-new-privileges:true" => Some(true),
            "no-new-privileges:false" => Some(false),
            _ => None,
        };
        is_on |= context.value(&element, expected, read).unwrap_or_default();
    }
    is_on
}

fn ulimits(
    item: &Item<'_>,
    normal: &str,
    context: &mut Context<'_>,
) -> BTreeMap<UlimitName, Ulimit> {
    let mut limits = BTreeMap::new();
    let members = context.mapping(item).map(|mut fields| fields.take_all()).unwrap_or_default();
    for (key, member) in members {
        let Ok(name) = key.parse::<UlimitName>() else {
            context.key_error(&member, Kind::Unsupported { hint: Some("see `man 2 getrlimit`") });
            continue;
        };
        context.place(format!("{normal}.{name}"), &member);
        if let Some(limit) = ulimit(&member, context) {
            limits.insert(name, limit);
        }
    }
    limits
}

/// One number for both, or a mapping of `soft` and `hard`; -1 is no limit.
fn ulimit(item: &Item<'_>, context: &mut Context<'_>) -> Option<Ulimit> {
    let number = |item: &Item<'_>, context: &mut Context<'_>| {
        context.value(item, "a whole number, or -1 for no limit", |text| match text {
            "-1" => Some(None),
            text => units::whole::<u64>(text).map(Some),
        })
    };
    if !item.is_mapping() {
        let both = number(item, context)?;
        return Some(Ulimit { soft: both, hard: both });
    }
    let mut fields = context.mapping(item)?;
    let soft = context.required(&mut fields, "soft");
    let hard = context.required(&mut fields, "hard");
    context.finish(fields);
    let (soft, hard) = (number(&soft?, context), number(&hard?, context));
    Some(Ulimit { soft: soft?, hard: hard? })
}

/// `PATH`, `PATH:TARGET` or `PATH:TARGET:rwm`, or the long form.
fn devices(item: &Item<'_>, context: &mut Context<'_>) -> BTreeMap<String, Device> {
    let mut devices = BTreeMap::new();
    let mut first = BTreeMap::new();
    for element in context.sequence(item).unwrap_or_default() {
        let read = if element.is_mapping() {
            long(&element, context)
        } else {
            context.value(&element, "a device such as `/dev/ttyUSB0:/dev/tty0:rw`", short)
        };
        let Some((target, device)) = read else { continue };
        context.place(format!("{}[{target}]", item.path), &element);
        if let Some(first) = first.insert(target.clone(), element.at) {
            context.error(&element, Kind::Duplicate { first });
        }
        devices.insert(target, device);
    }
    devices
}

fn short(text: &str) -> Option<(String, Device)> {
    let mut parts = text.split(':');
    let path = parts.next().filter(|path| path.starts_with('/'))?;
    let (target, access) = match (parts.next(), parts.next()) {
        (None, _) => (path, Access::ALL),
        // As with Docker, what follows may be the access alone.
        (Some(access), None) if !access.starts_with('/') => (path, access.parse().ok()?),
        (Some(target), None) => (target, Access::ALL),
        (Some(target), Some(access)) => (target, access.parse().ok()?),
    };
    let is_whole = parts.next().is_none() && target.starts_with('/');
    is_whole.then(|| (target.to_owned(), Device { path: path.to_owned(), access }))
}

fn long(item: &Item<'_>, context: &mut Context<'_>) -> Option<(String, Device)> {
    let mut fields = context.mapping(item)?;
    let source = context.required(&mut fields, "source");
    let (target, permissions) = (fields.take("target"), fields.take("permissions"));
    context.finish(fields);
    let path = context.text(&source?)?;
    let target = target.map_or_else(|| Some(path.clone()), |item| context.text(&item))?;
    let expected = "some of the letters `rwm`, each once";
    let access = permissions.map(|item| context.value(&item, expected, |text| text.parse().ok()));
    Some((target, Device { path, access: access.unwrap_or(Some(Access::ALL))? }))
}
