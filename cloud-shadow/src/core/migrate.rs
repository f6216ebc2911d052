//! From the rows of an older schema to those of this one.

use std::collections::BTreeSet;

use gnomon_schemas::id::NodeName;

use super::start::StartError;
use crate::access::Home;
use crate::aws::domain::{CERTIFICATES, ThingRecord, holder_of, thing_row};
use crate::domain::{Domain, Now};
use crate::rows;
use crate::store::{self, SCHEMA_VERSION, Store, StoreError};

/// The schema that has a history.
const HISTORY: u32 = 2;

/// The schema in which every thing has a row of its own, which says whose it is.
const OWNED: u32 = 4;

/// How many rows share a commit.
const ROWS: usize = 2048;

/// Brings a store to this schema. Of schema 1, its halves get a history that begins with what they
/// are. Up to schema 3, things that have nothing but certificates get a row, and all are the usual
/// tenant's. Cut short, it begins again at the next start. Where it was, an older build finds the
/// new version, too, and refuses.
pub(super) fn migrate(
    store: &dyn Store,
    domain: &mut Domain,
    found: u32,
    now: Now,
) -> Result<(), StartError> {
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    tracing::info!(found, known = SCHEMA_VERSION, "the store is brought to this version's schema");
    if found < HISTORY {
        let names: Vec<NodeName> = domain.nodes().map(|node| node.name().clone()).collect();
        for name in names {
            let ops = domain.begin_history(&name, now);
            store.commit(&ops)?;
        }
    }
    if found < OWNED {
        own_things(store)?;
    }
    store.commit(&[store::schema_row()])?;
    Ok(store.settle()?)
}

/// Gives a row to each thing that has only certificates. A row that names no thing is left for the
/// check to find.
fn own_things(store: &dyn Store) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.page(CERTIFICATES, after.as_deref(), ROWS)?;
        let holders: BTreeSet<_> = page.iter().filter_map(|(key, _)| holder_of(key)).collect();
        let mut ops = Vec::new();
        for thing in holders {
            let key = thing_row(&thing);
            if store.get(&key)?.is_none() {
                ops.push(rows::put(key, &ThingRecord::of_tenant(Home::usual_tenant())));
            }
        }
        if !ops.is_empty() {
            store.commit(&ops)?;
        }
        if page.len() < ROWS {
            return Ok(());
        }
        after = page.into_iter().next_back().map(|(key, _)| key);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;
    use crate::aws::domain::thing_of;
    use crate::domain::DomainConfig;
    use crate::store::{MemoryStore, Op};

    #[test]
    fn things_of_an_older_store_are_the_usual_tenants() {
        let store = MemoryStore::new();
        let put = |key: &str, value: &str| Op::Put { key: key.into(), value: value.into() };
        let mut old = vec![
            put("schema", "3"),
            put("aws/s/pump-7/", r#"{"v":1}"#),
            put("aws/t/pump-7", "1"),
            put("aws/c/pump-7/0a", r#"{"serial":"0a","not_after_s":9}"#),
        ];
        old.extend(
            (0..ROWS + 2)
                .map(|n| put(&format!("aws/c/bare-{n}/0b"), r#"{"serial":"0b","not_after_s":9}"#)),
        );
        store.commit(&old).unwrap();
        let mut domain = Domain::new(DomainConfig::default(), StdRng::seed_from_u64(1));
        for found in [3, SCHEMA_VERSION] {
            migrate(&store, &mut domain, found, Now::default()).unwrap();
            let record = |thing: &str| {
                let key = format!("aws/t/{thing}").into_bytes();
                thing_of(&key, &store.get(&key).unwrap().unwrap()).unwrap().1
            };
            assert_eq!(record("pump-7").shadows, 1);
            assert_eq!(record(&format!("bare-{}", ROWS + 1)).shadows, 0);
            assert!(
                Home::is_usual(&record("pump-7").tenant)
                    && Home::is_usual(&record("bare-0").tenant)
            );
        }
        assert_eq!(store::check_schema(&store).unwrap(), SCHEMA_VERSION);
    }
}
