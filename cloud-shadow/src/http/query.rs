//! The part of an address after the question mark: every name in it is known, or it is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::str::FromStr;

use axum::extract::Query;
use axum::http::Uri;
use gnomon_schemas::version::Half;

use super::{ApiError, error, path};
use crate::access::Scope;
use crate::core::WatchFilter;
use crate::domain::Pointer;

/// The most nodes, and the most pointers, that one request may name.
const NODES: usize = 1000;
const POINTERS: usize = 100;

/// The names and values that were not looked at yet.
pub(super) struct Pairs {
    left: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Pairs {
    /// Reads the query.
    pub(super) fn of(uri: &Uri) -> Result<Self, ApiError> {
        let Query(left): Query<Vec<(String, String)>> =
            Query::try_from_uri(uri).map_err(|error| ApiError::bad("the query", &error))?;
        Ok(Self { left, known: Vec::new() })
    }

    /// Every value of a name.
    pub(super) fn all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        self.left.extract_if(.., |(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// The value of a name that may be there once.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        let mut values = self.all(name).into_iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(ApiError::bad_request(format!("the query names `{name}` twice"))),
        }
    }

    /// The same, read as what it should be.
    pub(super) fn one<T>(&mut self, name: &'static str) -> Result<Option<T>, ApiError>
    where
        T: FromStr,
        T::Err: Error,
    {
        let read = |text: String| {
            text.parse().map_err(|error| ApiError::bad(&format!("the query's `{name}`"), &error))
        };
        self.text(name)?.map(read).transpose()
    }

    /// Some of the nodes: those that fit in every respect that is given.
    pub(super) fn scope(&mut self) -> Result<Scope, ApiError> {
        let (tenant, pool) = (self.one("tenant")?, self.one("pool")?);
        let mut labels = BTreeMap::new();
        for text in self.all("label") {
            let (key, value) = pair("label", &text)?;
            if labels.get(&key).is_some_and(|other| *other != value) {
                let key = error::brief(&key);
                let message = format!("the query's `label` names {key} with two values");
                return Err(ApiError::bad_request(message));
            }
            labels.insert(key, value);
        }
        Ok(Scope { tenant, pool, labels })
    }

    /// A number from one to `most`.
    pub(super) fn limit(&mut self, usual: usize, most: usize) -> Result<usize, ApiError> {
        let Some(limit) = self.one("limit")? else { return Ok(usual) };
        if (1..=most).contains(&limit) {
            return Ok(limit);
        }
        Err(ApiError::bad_request(format!("the query's `limit` is {limit}; it is 1 to {most}")))
    }

    /// One of the halves.
    pub(super) fn half(&mut self) -> Result<Option<Half>, ApiError> {
        match self.text("half")?.as_deref() {
            None => Ok(None),
            Some("desired") => Ok(Some(Half::Desired)),
            Some("reported") => Ok(Some(Half::Reported)),
            Some(_) => Err(ApiError::bad_request("the query's `half` is `desired` or `reported`")),
        }
    }

    /// The places in a document that are wanted.
    pub(super) fn pointers(&mut self) -> Result<Vec<Pointer>, ApiError> {
        let texts = self.all("pointer");
        if texts.len() > POINTERS {
            let message = format!("the query names more than {POINTERS} pointers");
            return Err(ApiError::bad_request(message));
        }
        let read = |text: String| {
            text.parse().map_err(|error| ApiError::bad("the query's `pointer`", &error))
        };
        texts.into_iter().map(read).collect()
    }

    /// Refuses what is left.
    pub(super) fn end(self) -> Result<(), ApiError> {
        let Some((name, _)) = self.left.first() else { return Ok(()) };
        let name = error::brief(name);
        let known = match self.known.as_slice() {
            [] => "none".to_owned(),
            known => known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        };
        let message = format!("the query's {name:?} is not known here; known: {known}");
        Err(ApiError::bad_request(message))
    }
}

/// Reads `key=value`.
pub(super) fn pair(name: &str, text: &str) -> Result<(String, String), ApiError> {
    let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| ApiError::bad_request(format!("the query's `{name}` looks like key=value")))
}

/// Reads `node` and `label`, which may be repeated, `pool`, `tenant`, and `key` where `keys` allows
/// it.
pub(super) fn filter(uri: &Uri, keys: bool) -> Result<WatchFilter, ApiError> {
    let mut pairs = Pairs::of(uri)?;
    let nodes = pairs.all("node");
    let key = if keys { pairs.text("key")? } else { None };
    let selected = pairs.scope()?;
    pairs.end()?;
    let nodes = nodes.iter().map(|node| path::node(node)).collect::<Result<BTreeSet<_>, _>>()?;
    if nodes.len() > NODES {
        let message = format!("the query names more than {NODES} nodes; leave `node` out for all");
        return Err(ApiError::bad_request(message));
    }
    let key = key.map(|key| path::shadow(&key)).transpose()?;
    Ok(WatchFilter { nodes, key, selected, ..WatchFilter::default() })
}
