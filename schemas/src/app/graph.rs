//! The order in which services depend on each other.

use std::collections::BTreeSet;

use super::AppSpec;
use crate::id::ServiceName;

/// A circle of services that wait for each other, with the first repeated at the end.
pub(super) fn cycle(app: &AppSpec) -> Option<Vec<ServiceName>> {
    let left = unordered(app, &start_order_of_acyclic(app));
    let first = left.first().copied()?;
    let mut walk = vec![first];
    loop {
        let last = walk.last().copied()?;
        // Every service that is left waits for another one that is left, so the walk goes on.
        let next = app.services.get(last)?.depends_on.keys().find(|name| left.contains(name))?;
        if let Some(start) = walk.iter().position(|name| *name == next) {
            let circle = walk.iter().skip(start).copied().chain([next]);
            return Some(circle.cloned().collect());
        }
        walk.push(next);
    }
}

/// Dependencies first; services in or behind a circle come last, by name.
pub(super) fn start_order(app: &AppSpec) -> Vec<&ServiceName> {
    let mut order = start_order_of_acyclic(app);
    let left = unordered(app, &order);
    order.extend(left);
    order
}

fn start_order_of_acyclic(app: &AppSpec) -> Vec<&ServiceName> {
    let mut order = Vec::with_capacity(app.services.len());
    let mut placed = BTreeSet::new();
    loop {
        let ready = app.services.iter().find(|(name, service)| {
            let known = |dependency: &&ServiceName| app.services.contains_key(*dependency);
            !placed.contains(name)
                && service.depends_on.keys().filter(known).all(|needed| placed.contains(needed))
        });
        let Some((name, _)) = ready else { return order };
        placed.insert(name);
        order.push(name);
    }
}

fn unordered<'a>(app: &'a AppSpec, order: &[&ServiceName]) -> BTreeSet<&'a ServiceName> {
    app.services.keys().filter(|name| !order.contains(name)).collect()
}
