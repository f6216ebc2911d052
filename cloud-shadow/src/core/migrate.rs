//! From the rows of an older schema to those of this one.

use gnomon_schemas::id::NodeName;

use super::start::StartError;
use crate::domain::{Domain, Now};
use crate::store::{self, SCHEMA_VERSION, Store};

/// The schema that has a history.
const HISTORY: u32 = 2;

/// Brings a store to this schema. Of schema 1, its halves get a history that begins with what they
/// are. Cut short, it begins again at the next start. Where it was, an older build finds the new
/// version, too, and refuses.
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
    store.commit(&[store::schema_row()])?;
    Ok(store.settle()?)
}
