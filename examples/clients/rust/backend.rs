//! A backend in Rust: `backend NODE`. `GNOMON_URL` and `GNOMON_TOKEN` say which cloud, and who calls.
//! Needs `reqwest` (`json`, `stream`), `tokio`, `serde_json` and `anyhow`.

#![expect(clippy::indexing_slicing, reason = "answers as the API documents them")]
#![expect(clippy::print_stdout, reason = "it is a program for people to read")]

use anyhow::{Context as _, Result, bail};
use reqwest::header::ETAG;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

struct Cloud {
    client: Client,
    url: String,
    token: String,
}

/// The events of `/v1/watch`.
struct Events {
    response: Response,
    text: String,
}

struct Event {
    id: String,
    name: String,
    data: Value,
}

impl Cloud {
    fn from_env() -> Result<Self> {
        let of = |name| std::env::var(name).with_context(|| format!("{name} is not set"));
        Ok(Self { client: Client::new(), url: of("GNOMON_URL")?, token: of("GNOMON_TOKEN")? })
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// Sets the price only if nobody changed the shadow since it was read; tries again if so.
    async fn set_price(&self, shadow: &str, price: f64) -> Result<StatusCode> {
        loop {
            let seen = self.call(Method::GET, shadow).send().await?.error_for_status()?;
            let etag = seen.headers().get(ETAG).context("there is no ETag")?.clone();
            let write = self.call(Method::PATCH, shadow).header("If-Match", etag);
            let status = write.json(&json!({ "price": price })).send().await?.status();
            if status != StatusCode::PRECONDITION_FAILED {
                return Ok(status);
            }
        }
    }

    /// The stream, from behind the event `last` on.
    async fn watch(&self, path: &str, last: Option<&str>) -> Result<Events> {
        let mut request = self.call(Method::GET, path);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await?.error_for_status()?;
        Ok(Events { response, text: String::new() })
    }
}

impl Events {
    /// The next event of a name.
    async fn next(&mut self, name: &str) -> Result<Event> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, seen) = (read(event)?, self.text.len() - rest.len());
                self.text.drain(..seen);
                if let Some(event) = event.filter(|event| event.name == name) {
                    return Ok(event);
                }
            }
            let Some(chunk) = self.response.chunk().await? else { bail!("the stream has ended") };
            self.text.push_str(std::str::from_utf8(&chunk)?);
        }
    }
}

/// Lines of `name: value`; a comment keeps the connection alive and is no event.
fn read(text: &str) -> Result<Option<Event>> {
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| *found == name).map_or("", |(_, value)| value.trim())
    };
    if value("event").is_empty() {
        return Ok(None);
    }
    let data = serde_json::from_str(value("data"))?;
    Ok(Some(Event { id: value("id").to_owned(), name: value("event").to_owned(), data }))
}

#[tokio::main]
async fn main() -> Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let node = std::env::args().nth(1).context("usage: backend NODE")?;
    let (cloud, shadow) = (Cloud::from_env()?, format!("/v1/nodes/{node}/shadows/device/pump-7"));
    let made = cloud.call(Method::PUT, &format!("/v1/nodes/{node}"));
    let made = made.json(&json!({ "labels": { "region": "north" } })).send().await?;
    println!("node: {}", made.status().as_u16());
    let write = cloud.call(Method::PATCH, &shadow).json(&json!({ "price": 1.75 }));
    println!("written: {}", write.send().await?.status().as_u16());

    let stale = cloud.call(Method::PATCH, &shadow).header("If-Match", "\"9\"");
    let stale = stale.json(&json!({ "price": 1.80 })).send().await?;
    let (status, refusal) = (stale.status(), stale.json::<Value>().await?);
    println!("a version that is out of date: {} {}", status.as_u16(), refusal["error"]["code"]);
    let status = cloud.set_price(&shadow, 1.79).await?;
    println!("the version that is there: {}", status.as_u16());

    // Everything that is there, then `synced` with an id to come back with.
    let watch = format!("/v1/watch?node={node}");
    let place = cloud.watch(&watch, None).await?.next("synced").await?.id;
    let write = cloud.call(Method::PATCH, &shadow).json(&json!({ "price": 1.81 }));
    write.send().await?.error_for_status()?;
    // Nothing is missed between the two connections.
    let missed = cloud.watch(&watch, Some(&place)).await?.next("shadow").await?;
    println!("changed meanwhile: {}", missed.data["patch"]);

    let history = cloud.call(Method::GET, &format!("/v1/nodes/{node}/history/device/pump-7"));
    let history: Value = history.send().await?.error_for_status()?.json().await?;
    let versions = history["versions"].as_array().context("the history has no versions")?;
    for entry in versions {
        println!("version {} by {}: {}", entry["version"], entry["by"], entry["patch"]);
    }
    Ok(())
}
