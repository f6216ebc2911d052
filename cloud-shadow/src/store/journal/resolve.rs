//! From the changes of a commit to rows: which keys a prefix takes, and which ones a trim leaves,
//! is decided once, when the commit is made.

use super::Shared;
use super::overlay::{Over, Rows, merged};
use crate::store::{Op, StoreError, after_prefix, lower, upper};

impl Shared {
    /// What every key of a commit becomes.
    pub(super) fn resolve(&self, ops: Vec<Op>) -> Result<Rows, StoreError> {
        let mut rows = Rows::new();
        for op in ops {
            match op {
                Op::Put { key, value } => {
                    rows.insert(key, Some(value));
                }
                Op::Delete { key } => {
                    rows.insert(key, None);
                }
                Op::DeletePrefix { prefix } => {
                    let keys = self.keys(&prefix, &rows)?;
                    rows.extend(keys.into_iter().map(|key| (key, None)));
                }
                Op::Trim { prefix, keep } => {
                    let keys = self.keys(&prefix, &rows)?;
                    let surplus = keys.len().saturating_sub(keep);
                    rows.extend(keys.into_iter().take(surplus).map(|key| (key, None)));
                }
            }
        }
        Ok(rows)
    }

    /// The keys that are there below a prefix, `top` included.
    fn keys(&self, prefix: &[u8], top: &Rows) -> Result<Vec<Vec<u8>>, StoreError> {
        let end = after_prefix(prefix);
        let range = (lower(prefix, None), upper(end.as_deref()));
        let layers = self.layers();
        let rows: Vec<&Rows> = std::iter::once(top).chain(layers.newest_first()).collect();
        let mut over = Over::new(merged(&rows, range));
        let mut keys = Vec::new();
        let mut each = |key: &[u8], _: &[u8]| {
            keys.push(key.to_vec());
            true
        };
        let moment = self.base.moment()?;
        moment.walk(range, &mut |key, value| over.base(key, value, &mut each))?;
        over.rest(&mut each);
        Ok(keys)
    }
}
