//! The `deploy` section of a service: copies, how they are replaced, and resources.

use super::context::{Context, Item};
use super::units;
use crate::app::{Reservations, ResourceLimits, ServiceSpec, UpdateOrder};

pub(super) fn read(item: &Item<'_>, service: &mut ServiceSpec, context: &mut Context<'_>) {
    let Some(mut fields) = context.mapping(item) else { return };
    if let Some(replicas) = fields.take("replicas") {
        let parent = item.path.strip_suffix("deploy").unwrap_or_default();
        context.place(format!("{parent}replicas"), &replicas);
        service.replicas = context.whole(&replicas).unwrap_or(service.replicas);
    }
    if let Some(update) = fields.take("update_config")
        && let Some(mut parts) = context.mapping(&update)
    {
        if let Some(order) = parts.take("order") {
            let parent = item.path.strip_suffix("deploy").unwrap_or_default();
            context.place(format!("{parent}update"), &order);
            let read = |text: &str| match text {
                "stop-first" => Some(UpdateOrder::StopFirst),
                "start-first" => Some(UpdateOrder::StartFirst),
                _ => None,
            };
            let order = context.value(&order, "`stop-first` or `start-first`", read);
            service.update = order.unwrap_or_default();
        }
        context.finish(parts);
    }
    if let Some(resources) = fields.take("resources")
        && let Some(mut parts) = context.mapping(&resources)
    {
        if let Some(limits) = parts.take("limits") {
            let Amounts { cpu_millis, memory_bytes, pids } = amounts(&limits, true, context);
            service.resources.limits = ResourceLimits { cpu_millis, memory_bytes, pids };
        }
        if let Some(reservations) = parts.take("reservations") {
            let Amounts { cpu_millis, memory_bytes, .. } = amounts(&reservations, false, context);
            service.resources.reservations = Reservations { cpu_millis, memory_bytes };
        }
        context.finish(parts);
    }
    context.finish(fields);
}

#[derive(Default)]
struct Amounts {
    cpu_millis: Option<u64>,
    memory_bytes: Option<u64>,
    pids: Option<u32>,
}

fn amounts(item: &Item<'_>, with_pids: bool, context: &mut Context<'_>) -> Amounts {
    let mut amounts = Amounts::default();
    let Some(mut fields) = context.mapping(item) else { return amounts };
    let path = item.path.replacen(".deploy.", ".", 1);
    if let Some(cpus) = fields.take("cpus") {
        context.place(format!("{path}.cpu_millis"), &cpus);
        let expected = "a number of processors such as `0.5`, to the thousandth";
        amounts.cpu_millis = context.value(&cpus, expected, units::cpu_millis);
    }
    if let Some(memory) = fields.take("memory") {
        context.place(format!("{path}.memory_bytes"), &memory);
        amounts.memory_bytes = context.size(&memory);
    }
    if with_pids && let Some(pids) = fields.take("pids") {
        context.place(format!("{path}.pids"), &pids);
        amounts.pids = context.whole(&pids);
    }
    context.finish(fields);
    amounts
}
