//! The ports of a service, in the short and the long syntax.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;

use super::context::{Context, Item};
use super::units;
use crate::app::limits::PORTS;
use crate::app::{Port, Protocol};

const SHORT: &str = "a port such as `80`, `8080:80`, `127.0.0.1:8080:80/udp` or `8080-8081:80-81`";

pub(super) fn read(item: &Item<'_>, context: &mut Context<'_>) -> BTreeSet<Port> {
    let mut ports = BTreeSet::new();
    for element in context.sequence(item).unwrap_or_default() {
        let found = if element.is_mapping() {
            long(&element, context).map(|port| vec![port])
        } else {
            context.value(&element, SHORT, short)
        };
        for port in found.into_iter().flatten() {
            if let Some(host) = port.host {
                context.place(format!("{}[{host}]", item.path), &element);
            }
            ports.insert(port);
        }
    }
    ports
}

fn long(item: &Item<'_>, context: &mut Context<'_>) -> Option<Port> {
    let mut fields = context.mapping(item)?;
    let target = context.required(&mut fields, "target");
    let target = target.and_then(|item| context.value(&item, "a port from 1 to 65535", port));
    let host = fields
        .take("published")
        .and_then(|item| context.value(&item, "one port from 1 to 65535", port));
    let host_ip =
        fields.take("host_ip").and_then(|item| context.value(&item, "an IP address", address));
    let protocol =
        fields.take("protocol").and_then(|item| context.value(&item, "`tcp` or `udp`", protocol));
    context.finish(fields);
    Some(Port { container: target?, host, host_ip, protocol: protocol.unwrap_or_default() })
}

fn short(text: &str) -> Option<Vec<Port>> {
    let (text, protocol) = match text.split_once('/') {
        Some((text, name)) => (text, protocol(name)?),
        None => (text, Protocol::default()),
    };
    let (rest, container) = match text.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), range(container)?),
        None => (None, range(text)?),
    };
    let (host_ip, host) = match rest.map(|rest| rest.rsplit_once(':').unwrap_or(("", rest))) {
        None => (None, None),
        Some(("", host)) if rest == Some(host) => (None, Some(range(host)?)),
        Some((ip, "")) => (Some(address(ip)?), None),
        Some((ip, host)) => (Some(address(ip)?), Some(range(host)?)),
    };
    let ports = |range: &RangeInclusive<u16>| range.clone().filter_map(NonZeroU16::new);
    match host {
        None => Some(
            ports(&container)
                .map(|container| Port { container, host: None, host_ip, protocol })
                .collect(),
        ),
        Some(host) if host.len() == container.len() => Some(
            ports(&container)
                .zip(ports(&host))
                .map(|(container, host)| Port { container, host: Some(host), host_ip, protocol })
                .collect(),
        ),
        Some(_) => None,
    }
}

/// One port, or the first and the last of a range.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?.get(), port(last)?.get());
    let range = first..=last;
    (!range.is_empty() && range.len() <= PORTS).then_some(range)
}

fn port(text: &str) -> Option<NonZeroU16> {
    units::whole(text).and_then(NonZeroU16::new)
}

fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok()
}

fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}
