//! The calls about tokens, enrolment and the audit log.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiError, Client};
use crate::api::{AuditEntry, Pending, Token};

/// Which nodes a token is good for; what is not given is as the own token has it.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ScopeArgs {
    /// Only nodes of this tenant.
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
    /// Only nodes in this pool.
    #[arg(long, value_name = "NAME")]
    pub(crate) pool: Option<String>,
    /// Only nodes with this label; may be given more than once.
    #[arg(long = "label", short = 'l', value_name = "KEY=VALUE",
        value_parser = crate::names::label)]
    pub(crate) labels: Vec<(String, String)>,
}

impl ScopeArgs {
    /// Whether nothing is given.
    pub(crate) const fn is_empty(&self) -> bool {
        self.tenant.is_none() && self.pool.is_none() && self.labels.is_empty()
    }

    /// What is given, as the API takes it, into a body.
    fn add_to(&self, body: &mut Value) {
        let labels: std::collections::BTreeMap<_, _> = self.labels.iter().cloned().collect();
        let parts = [
            ("tenant", self.tenant.as_ref().map(|name| json!(name))),
            ("pool", self.pool.as_ref().map(|name| json!(name))),
            ("labels", (!labels.is_empty()).then(|| json!(labels))),
        ];
        let parts = parts.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
        if let Some(object) = body.as_object_mut() {
            object.extend(parts.map(|(name, value)| (name.to_owned(), value)));
        }
    }
}

#[derive(Deserialize)]
struct Tokens {
    tokens: Vec<Token>,
}

impl Client {
    /// Makes a token of the API.
    pub(crate) async fn create_token(
        &self,
        name: &str,
        role: &str,
        ttl: Option<Duration>,
        scope: &ScopeArgs,
    ) -> Result<Token, ApiError> {
        let mut body = json!({ "name": name, "role": role });
        if let (Some(ttl), Some(body)) = (ttl, body.as_object_mut()) {
            body.insert("ttl_s".to_owned(), json!(ttl.as_secs()));
        }
        scope.add_to(&mut body);
        self.call(self.request(Method::POST, &["tokens"]).json(&body)).await
    }

    /// The tokens that the own token may know of.
    pub(crate) async fn tokens(&self) -> Result<Vec<Token>, ApiError> {
        Ok(self.call::<Tokens>(self.request(Method::GET, &["tokens"])).await?.tokens)
    }

    /// Revokes a token.
    pub(crate) async fn revoke_token(&self, id: &str) -> Result<(), ApiError> {
        self.send(self.request(Method::DELETE, &["tokens", id])).await.map(drop)
    }

    /// Makes a join token for several nodes.
    pub(crate) async fn fleet_token(
        &self,
        uses: u32,
        ttl: Duration,
        scope: &ScopeArgs,
    ) -> Result<Token, ApiError> {
        let mut body = json!({ "uses": uses, "ttl_s": ttl.as_secs() });
        scope.add_to(&mut body);
        self.call(self.request(Method::POST, &["join-tokens"]).json(&body)).await
    }

    /// The join tokens for several nodes.
    pub(crate) async fn fleet_tokens(&self) -> Result<Vec<Token>, ApiError> {
        Ok(self.call::<Tokens>(self.request(Method::GET, &["join-tokens"])).await?.tokens)
    }

    /// Revokes a join token.
    pub(crate) async fn revoke_fleet_token(&self, id: &str) -> Result<(), ApiError> {
        self.send(self.request(Method::DELETE, &["join-tokens", id])).await.map(drop)
    }

    /// Shuts a node out.
    pub(crate) async fn revoke_node(&self, node: &str) -> Result<(), ApiError> {
        self.send(self.request(Method::POST, &["nodes", node, "revoke"])).await.map(drop)
    }

    /// The nodes that wait to be let in.
    pub(crate) async fn pending(&self) -> Result<Vec<Pending>, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            pending: Vec<Pending>,
        }
        Ok(self.call::<Answer>(self.request(Method::GET, &["pending"])).await?.pending)
    }

    /// Lets a node in that waits.
    pub(crate) async fn approve(&self, id: &str, home: &ScopeArgs) -> Result<(), ApiError> {
        let mut body = json!({});
        home.add_to(&mut body);
        let request = self.request(Method::POST, &["pending", id, "approve"]);
        self.send(request.json(&body)).await.map(drop)
    }

    /// Does not let a node in that waits.
    pub(crate) async fn deny(&self, id: &str) -> Result<(), ApiError> {
        self.send(self.request(Method::POST, &["pending", id, "deny"])).await.map(drop)
    }

    /// The newest entries of the audit log that fit the query.
    pub(crate) async fn audit(
        &self,
        query: &[(&str, String)],
        most: usize,
    ) -> Result<Vec<AuditEntry>, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            entries: Vec<AuditEntry>,
            next: Option<u64>,
        }
        let (mut entries, mut before) = (Vec::new(), None::<u64>);
        loop {
            let mut url = self.url(&["audit"]);
            url.query_pairs_mut().extend_pairs(query);
            let left = (most - entries.len()).min(1000).to_string();
            url.query_pairs_mut().append_pair("limit", &left);
            if let Some(before) = before {
                url.query_pairs_mut().append_pair("before", &before.to_string());
            }
            let answer: Answer = self.call(self.http.get(url)).await?;
            entries.extend(answer.entries);
            before = answer.next;
            if before.is_none() || entries.len() >= most {
                return Ok(entries);
            }
        }
    }
}
