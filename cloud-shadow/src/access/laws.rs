//! What must hold of every grant.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Viewer, Role::Publisher, Role::Operator, Role::Admin])
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = prop::sample::select(vec!["region", "kind"]).prop_map(str::to_owned);
    let value = prop::sample::select(vec!["north", "south"]).prop_map(str::to_owned);
    prop::collection::btree_map(key, value, 0..3)
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug> + Clone + std::fmt::Debug + 'static>()
-> impl Strategy<Value = T> {
    prop::sample::select(vec!["a", "b"]).prop_map(|name| name.parse().unwrap())
}

fn home() -> impl Strategy<Value = Home> {
    (name(), prop::option::of(name()), labels()).prop_map(|(tenant, pool, labels)| Home {
        tenant,
        pool,
        labels,
    })
}

fn scope() -> impl Strategy<Value = Scope> {
    (prop::option::of(name()), prop::option::of(name()), labels())
        .prop_map(|(tenant, pool, labels)| Scope { tenant, pool, labels })
}

fn grant() -> impl Strategy<Value = Grant> {
    (role(), scope()).prop_map(|(role, scope)| Grant { role, scope })
}

fn targets<'a>(home: &'a Home, scope: &'a Scope) -> [Target<'a>; 5] {
    [Target::EachItself, Target::Node(home), Target::Scope(scope), Target::Tenant, Target::Cloud]
}

fn may(grant: &Grant, action: Action, target: &Target<'_>) -> bool {
    authorize(grant, action, target) == Decision::Allowed
}

proptest! {
    #[test]
    fn a_scope_never_adds_to_what_the_role_may(grant in grant(), home in home(), other in scope()) {
        let unscoped = Grant { role: grant.role, scope: Scope::default() };
        for action in Action::ALL {
            for target in targets(&home, &other) {
                prop_assert!(!may(&grant, action, &target) || may(&unscoped, action, &target));
            }
        }
    }

    #[test]
    fn a_wider_grant_may_all_that_a_narrower_one_may(
        wide in grant(), extra in scope(), role in role(), home in home(), other in scope(),
    ) {
        let narrow = Grant { role: role.min(wide.role), scope: wide.scope.complete(extra) };
        // What the narrower one says already stays, so it may lie beside and not within.
        prop_assume!(wide.contains(&narrow));
        for action in Action::ALL {
            for target in targets(&home, &other) {
                prop_assert!(!may(&narrow, action, &target) || may(&wide, action, &target));
            }
        }
    }

    #[test]
    fn what_is_contained_covers_no_node_more(wide in scope(), narrow in scope(), home in home()) {
        if wide.contains(&narrow) {
            prop_assert!(!narrow.covers(&home) || wide.covers(&home));
        }
        prop_assert!(wide.contains(&wide) && Scope::default().contains(&wide));
        prop_assert!(wide.contains(&wide.complete(Scope::default())));
    }

    #[test]
    fn a_thing_is_for_whom_its_whole_tenant_is_and_for_nobody_else(grant in grant(), tenant in name()) {
        let is_of_theirs = grant.scope.tenant.as_ref().is_none_or(|own| *own == tenant);
        let home = Home { tenant, ..Home::default() };
        prop_assert_eq!(grant.scope.covers(&home), is_of_theirs && grant.scope.is_whole_tenant());
        for action in [Action::ReadThings, Action::WriteThings, Action::ManageThings] {
            // What the first look at a call lets through, the look at each thing decides.
            let may_call = may(&grant, action, &action.usual_target());
            prop_assert_eq!(may_call, grant.role >= action.needs() && grant.scope.is_whole_tenant());
            prop_assert!(!may(&grant, action, &Target::Node(&home)) || may_call);
        }
    }

    #[test]
    fn a_tenants_grant_knows_no_node_of_another(mut grant in grant(), home in home()) {
        let tenant = if home.tenant.as_str() == "a" { "b" } else { "a" };
        grant.scope.tenant = Some(tenant.parse().unwrap());
        for action in Action::ALL {
            prop_assert!(!may(&grant, action, &Target::Node(&home)));
            prop_assert!(!may(&grant, action, &Target::Cloud));
        }
    }
}
