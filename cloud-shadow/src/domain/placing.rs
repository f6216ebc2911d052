//! Where a node is put: whose it is, in which group, under which labels; and who may put it there.

use std::collections::BTreeMap;

use gnomon_schemas::id::{NodeName, PoolName, TenantName};

use super::command::Author;
use super::rejection::Rejection;
use crate::access::Home;

/// Where somebody wants a node.
pub(super) struct Placing {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) tenant: Option<TenantName>,
    pub(super) pool: Option<PoolName>,
}

impl Placing {
    /// Where the node comes to be. What is left open is as the author's scope has it; a tenant is
    /// for life; nobody puts a node where the own scope does not reach.
    pub(super) fn decide(
        self,
        name: &NodeName,
        present: Option<&Home>,
        by: &Author,
    ) -> Result<Home, Rejection> {
        if present.is_some_and(|home| !by.covers(home)) {
            return Err(Rejection::UnknownNode(name.clone()));
        }
        let scope = by.scope();
        let tenant = match present {
            Some(home) if self.tenant.as_ref().is_some_and(|tenant| *tenant != home.tenant) => {
                let tenant = home.tenant.clone();
                return Err(Rejection::OtherTenant { node: name.clone(), tenant });
            }
            Some(home) => Some(home.tenant.clone()),
            None => self.tenant.or_else(|| scope.and_then(|scope| scope.tenant.clone())),
        };
        let pool = self.pool.or_else(|| scope.and_then(|scope| scope.pool.clone()));
        let home =
            Home { tenant: tenant.unwrap_or_else(Home::usual_tenant), pool, labels: self.labels };
        if by.covers(&home) { Ok(home) } else { Err(Rejection::OutOfScope(name.clone())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Scope;

    fn scope(tenant: Option<&str>, pool: Option<&str>) -> Scope {
        let tenant = tenant.map(|name| name.parse().unwrap());
        Scope { tenant, pool: pool.map(|name| name.parse().unwrap()), labels: BTreeMap::new() }
    }

    fn home(tenant: &str, pool: Option<&str>) -> Home {
        let pool = pool.map(|name| name.parse().unwrap());
        Home { tenant: tenant.parse().unwrap(), pool, labels: BTreeMap::new() }
    }

    fn put(
        to: (Option<&str>, Option<&str>),
        present: Option<&Home>,
        by: &Scope,
    ) -> Result<Home, Rejection> {
        let Scope { tenant, pool, labels } = scope(to.0, to.1);
        let author = Author::new("token/x").within(by);
        Placing { labels, tenant, pool }.decide(&"site-1".parse().unwrap(), present, &author)
    }

    #[test]
    fn what_is_left_open_is_as_the_author_has_it() {
        assert_eq!(put((None, None), None, &Scope::default()).unwrap(), home("default", None));
        let mine = scope(Some("acme"), Some("pumps"));
        assert_eq!(put((None, None), None, &mine).unwrap(), home("acme", Some("pumps")));
    }

    #[test]
    fn a_foreign_node_is_unknown_and_a_tenant_is_for_life() {
        let acme = scope(Some("acme"), None);
        let foreign = put((None, None), Some(&home("other", None)), &acme);
        assert!(matches!(foreign, Err(Rejection::UnknownNode(_))), "{foreign:?}");
        let moved = put((Some("other"), None), Some(&home("acme", None)), &Scope::default());
        assert!(matches!(moved, Err(Rejection::OtherTenant { .. })), "{moved:?}");
    }

    #[test]
    fn nobody_puts_a_node_out_of_the_own_reach() {
        let pumps = scope(Some("acme"), Some("pumps"));
        for (tenant, pool) in [(Some("other"), None), (None, Some("tanks"))] {
            let out = put((tenant, pool), None, &pumps);
            assert!(matches!(out, Err(Rejection::OutOfScope(_))), "{out:?}");
        }
        let present = home("acme", Some("pumps"));
        let out = put((None, Some("tanks")), Some(&present), &pumps);
        assert!(matches!(out, Err(Rejection::OutOfScope(_))), "{out:?}");
    }
}
