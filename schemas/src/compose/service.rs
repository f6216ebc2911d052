//! One service of a Compose file.

use std::collections::BTreeMap;

use super::context::{Context, Item};
use super::error::ComposeErrorKind as Kind;
use super::{confine, deploy, gnomon, health, mounts, ports, units};
use crate::app::{Condition, HostProcess, RestartPolicy, ServiceSpec, StopSignal};
use crate::id::ServiceName;

pub(super) fn read_all(
    item: &Item<'_>,
    context: &mut Context<'_>,
) -> BTreeMap<ServiceName, ServiceSpec> {
    let members = context.mapping(item).map(|mut fields| fields.take_all()).unwrap_or_default();
    let mut services = BTreeMap::new();
    for (key, item) in members {
        if key.starts_with("x-") {
            continue;
        }
        let name = context.named::<ServiceName>(key, &item);
        let service = read(&item, context);
        if let (Some(name), Some(service)) = (name, service) {
            services.insert(name, service);
        }
    }
    services
}

fn read(item: &Item<'_>, context: &mut Context<'_>) -> Option<ServiceSpec> {
    let mut fields = context.mapping(item)?;
    let mut service = ServiceSpec::default();
    context.place(item.path.clone(), item);
    let path = |key: &str| format!("{}.{key}", item.path);
    for (key, field) in fields.take_all() {
        context.place(path(key), &field);
        match key {
            "image" => service.image = context.text(&field),
            "entrypoint" => service.entrypoint = argv(&field, context),
            "command" => service.command = argv(&field, context),
            "environment" => service.environment = environment(&field, context),
            "labels" => service.labels = labels(&field, context),
            "ports" => service.ports = ports::read(&field, context),
            "volumes" => service.volumes = mounts::volumes(&field, context),
            "configs" => service.configs = mounts::configs(&field, context),
            "secrets" => service.secrets = mounts::secrets(&field, context),
            "healthcheck" => service.healthcheck = health::read(&field, context),
            "depends_on" => service.depends_on = depends_on(&field, context),
            "working_dir" => service.working_dir = context.text(&field),
            "user" => service.user = context.text(&field),
            "x-gnomon" => {
                context.place(path("schedule"), &field);
                service.schedule = gnomon::service(&field, context);
            }
            "x-gnomon-process" => {
                context.place(path("process"), &field);
                service.process = process(&field, context);
            }
            "deploy" => {
                context.place(path("resources"), &field);
                deploy::read(&field, &mut service, context);
            }
            "restart" => {
                let expected = "`no`, `always`, `on-failure`, `on-failure:<retries>` or \
                                `unless-stopped`";
                service.restart = context.value(&field, expected, restart).unwrap_or_default();
            }
            "stop_signal" => {
                service.stop_signal =
                    context.value(&field, "a signal such as `SIGTERM` or `SIGINT`", signal);
            }
            "stop_grace_period" => {
                context.place(path("stop_grace_period_ms"), &field);
                if let Some(grace) = context.duration(&field) {
                    service.stop_grace_period_ms = grace;
                }
            }
            _ if confine::read(key, &field, &item.path, &mut service, context) => {}
            _ => context.unsupported(key, &field),
        }
    }
    Some(service)
}

/// A command: a list as it is, a text split as a shell would; an empty value is none.
fn argv(item: &Item<'_>, context: &mut Context<'_>) -> Option<Vec<String>> {
    if item.is_null() {
        return None;
    }
    if item.is_list() {
        return context.texts(item);
    }
    if item.is_mapping() {
        context.error(item, Kind::Expected { expected: "a text or a list" });
        return None;
    }
    context.value(item, "a command with its quotes closed", split)
}

fn split(text: &str) -> Option<Vec<String>> {
    // To the splitter a `#` begins a comment; in a command it is a character like any other.
    const STAND_IN: &str = "\u{e000}";
    if text.contains(STAND_IN) {
        return None;
    }
    let words = shlex::split(&text.replace('#', STAND_IN))?;
    Some(words.iter().map(|word| word.replace(STAND_IN, "#")).collect())
}

fn environment(item: &Item<'_>, context: &mut Context<'_>) -> BTreeMap<String, String> {
    pairs(item, context, |name, item, context| context.variable(item, name))
}

/// Labels; one without a value is empty.
pub(super) fn labels(item: &Item<'_>, context: &mut Context<'_>) -> BTreeMap<String, String> {
    pairs(item, context, |_, _, _| Some(String::new()))
}

/// A mapping, or a list of `name=value`; `missing` gives the value of a name that has none.
fn pairs(
    item: &Item<'_>,
    context: &mut Context<'_>,
    missing: impl Fn(&str, &Item<'_>, &mut Context<'_>) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    let mut first = BTreeMap::new();
    let mut add = |name: String, value: String, at: &Item<'_>, context: &mut Context<'_>| {
        if let Some(first) = first.insert(name.clone(), at.at) {
            context.error(at, Kind::Duplicate { first });
        }
        context.place(format!("{}.{name}", item.path), at);
        pairs.insert(name, value);
    };
    if item.is_list() {
        for element in context.sequence(item).unwrap_or_default() {
            let Some(text) = context.text(&element) else { continue };
            let pair = match text.split_once('=') {
                Some((name, value)) => Some((name.to_owned(), value.to_owned())),
                None => missing(&text, &element, context).map(|value| (text, value)),
            };
            if let Some((name, value)) = pair {
                add(name, value, &element, context);
            }
        }
        return pairs;
    }
    for (name, member) in context.members_or_list(item) {
        let value =
            if member.is_null() { missing(name, &member, context) } else { context.text(&member) };
        if let Some(value) = value {
            add(name.to_owned(), value, &member, context);
        }
    }
    pairs
}

fn depends_on(item: &Item<'_>, context: &mut Context<'_>) -> BTreeMap<ServiceName, Condition> {
    let mut needed = BTreeMap::new();
    let mut add = |name: &str, condition, at: &Item<'_>, context: &mut Context<'_>| {
        if let (Some(name), Some(condition)) = (context.named::<ServiceName>(name, at), condition) {
            context.place(format!("{}.{name}", item.path), at);
            needed.insert(name, condition);
        }
    };
    if item.is_list() {
        for element in context.sequence(item).unwrap_or_default() {
            if let Some(name) = context.text(&element) {
                add(&name, Some(Condition::Started), &element, context);
            }
        }
        return needed;
    }
    for (name, member) in context.members_or_list(item) {
        let condition = dependency(&member, context);
        add(name, condition, &member, context);
    }
    needed
}

fn dependency(item: &Item<'_>, context: &mut Context<'_>) -> Option<Condition> {
    let mut fields = context.mapping(item)?;
    let condition = context.required(&mut fields, "condition");
    context.finish(fields);
    let expected = "`service_started`, `service_healthy` or `service_completed_successfully`";
    context.value(&condition?, expected, |text| match text {
        "service_started" => Some(Condition::Started),
        "service_healthy" => Some(Condition::Healthy),
        "service_completed_successfully" => Some(Condition::CompletedSuccessfully),
        _ => None,
    })
}

fn process(item: &Item<'_>, context: &mut Context<'_>) -> Option<HostProcess> {
    let mut fields = context.mapping(item)?;
    let normal = item.path.replace("x-gnomon-", "");
    let command = context.required(&mut fields, "command");
    let command = command.and_then(|item| {
        context.place(format!("{normal}.command"), &item);
        argv(&item, context)
    });
    let working_dir = fields.take("working_dir").and_then(|item| {
        context.place(format!("{normal}.working_dir"), &item);
        context.text(&item)
    });
    let health_test = fields.take("health_test").and_then(|item| {
        context.place(format!("{normal}.health_test"), &item);
        health::test(&item, context)
    });
    context.finish(fields);
    Some(HostProcess { command: command?, working_dir, health_test })
}

fn restart(text: &str) -> Option<RestartPolicy> {
    Some(match text {
        "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => RestartPolicy::OnFailure { max_retries: None },
        _ => {
            let retries = text.strip_prefix("on-failure:")?;
            RestartPolicy::OnFailure { max_retries: Some(units::whole(retries)?) }
        }
    })
}

fn signal(text: &str) -> Option<StopSignal> {
    let bare = text.strip_prefix("SIG").unwrap_or(text);
    StopSignal::ALL.iter().copied().find(|signal| signal.as_str().strip_prefix("SIG") == Some(bare))
}

impl Context<'_> {
    /// The members of a mapping that could as well have been a list.
    fn members_or_list<'n>(&mut self, item: &Item<'n>) -> Vec<(&'n str, Item<'n>)> {
        if !item.is_mapping() {
            self.error(item, Kind::Expected { expected: "a mapping or a list" });
            return Vec::new();
        }
        self.mapping(item).map(|mut fields| fields.take_all()).unwrap_or_default()
    }

    /// A name that stands as a key or in a list.
    pub(super) fn named<T>(&mut self, text: &str, item: &Item<'_>) -> Option<T>
    where
        T: std::str::FromStr<Err = crate::id::ParseIdError>,
    {
        text.parse().map_err(|error| self.key_error(item, Kind::BadName(error))).ok()
    }

    /// A name that stands as a value.
    pub(super) fn name<T>(&mut self, item: &Item<'_>) -> Option<T>
    where
        T: std::str::FromStr<Err = crate::id::ParseIdError>,
    {
        let text = self.text(item)?;
        text.parse().map_err(|error| self.error(item, Kind::BadName(error))).ok()
    }

    /// A duration in milliseconds.
    pub(super) fn duration(&mut self, item: &Item<'_>) -> Option<u64> {
        self.value(item, "a duration such as `1m30s` or `500ms`", units::duration_ms)
    }

    /// A size in bytes.
    pub(super) fn size(&mut self, item: &Item<'_>) -> Option<u64> {
        self.value(item, "a size such as `64m` or `1gb`", units::bytes)
    }

    /// A whole number.
    pub(super) fn whole<T: std::str::FromStr>(&mut self, item: &Item<'_>) -> Option<T> {
        self.value(item, "a whole number", units::whole)
    }
}
