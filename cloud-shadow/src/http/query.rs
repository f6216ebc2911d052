//! The part of an address after the question mark.

use std::collections::BTreeSet;

use axum::extract::Query;
use axum::http::Uri;
use gnomon_schemas::key::ShadowKey;

use super::{ApiError, error, path};
use crate::core::WatchFilter;

/// The most nodes that one request may name.
const NODES: usize = 1000;

/// Reads `node`, which may be repeated, and `key` where `keys` allows it.
pub(super) fn filter(uri: &Uri, keys: bool) -> Result<WatchFilter, ApiError> {
    let Query(pairs): Query<Vec<(String, String)>> =
        Query::try_from_uri(uri).map_err(|error| ApiError::bad("the query", &error))?;
    let mut nodes = BTreeSet::new();
    let mut key: Option<ShadowKey> = None;
    for (name, value) in pairs {
        match name.as_str() {
            "node" => {
                nodes.insert(path::node(&value)?);
            }
            "key" if keys && key.is_none() => key = Some(path::shadow(&value)?),
            "key" if keys => return Err(ApiError::bad_request("the query names `key` twice")),
            _ => return Err(unknown(&name, keys)),
        }
    }
    if nodes.len() > NODES {
        let message = format!("the query names more than {NODES} nodes; leave `node` out for all");
        return Err(ApiError::bad_request(message));
    }
    Ok(WatchFilter { nodes, key })
}

fn unknown(name: &str, keys: bool) -> ApiError {
    let name = error::brief(name);
    let known = if keys { "`node` and `key`" } else { "`node`" };
    ApiError::bad_request(format!("the query's {name:?} is not known here; known: {known}"))
}
