//! Snapshots of plans, one file per part of an app's life.

mod doubt;
mod failure;
mod refusal;
mod removal;
mod restart;
mod start;
mod update;

/// Two services: `web` needs `db` to be healthy.
const SHOP: &str = r#"{
    "db": {"image": "db:1", "restart": "always", "healthcheck": {"test": {"shell": "true"}}},
    "web": {"image": "web:1", "restart": "always", "depends_on": {"db": "healthy"}}
}"#;

/// The same with newer images.
const SHOP_2: &str = r#"{
    "db": {"image": "db:2", "restart": "always", "healthcheck": {"test": {"shell": "true"}}},
    "web": {"image": "web:2", "restart": "always", "depends_on": {"db": "healthy"}}
}"#;
