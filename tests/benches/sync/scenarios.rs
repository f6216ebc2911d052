//! The scenarios: each is run over plain TCP (MQTT payload and framing) and over mutual TLS
//! (every byte of the socket), and beside it what whole documents and a relist would cost.

use gnomon_schemas::document::{Document, diff};
use serde_json::{Value, json};

use crate::ends::Ends;
use crate::wire::Wire;

const NODE: &str = "site-0001";

/// A device's settings of about 1.5 KB of JSON, after a number of changes: each sets the price of
/// the next pump.
fn settings(changes: u64) -> Value {
    let pump = |pump: u64| {
        let set = (changes + 12 - pump) / 12;
        let price = 1.5 + set as f64 / 1_000.0;
        let tank = format!("tank-{}", pump % 4);
        let state = json!({
            "product": "diesel", "price": price, "limit_l": 120, "authorised": true,
            "tank": tank, "display": "eur", "unit": "l"
        });
        (format!("pump-{pump:02}"), state)
    };
    let pumps: serde_json::Map<_, _> = (0..12).map(pump).collect();
    json!({ "pumps": pumps, "heartbeat_s": 30, "zone": "north", "mode": "auto" })
}

/// A small document, so that ten thousand of them load quickly.
fn small(index: usize) -> Value {
    json!({ "price": 1.799, "index": index, "mode": "auto" })
}

struct Row {
    what: String,
    mqtt: u64,
    tls: u64,
    documents: Option<u64>,
    relist: Option<u64>,
    note: String,
}

impl Row {
    fn json(&self) -> Value {
        let ratio = |peer: Option<u64>| peer.map(|peer| peer as f64 / self.mqtt as f64);
        json!({
            "what": self.what, "mqtt": self.mqtt, "tls": self.tls, "documents": self.documents,
            "relist": self.relist, "documents_over_ours": ratio(self.documents),
            "relist_over_ours": ratio(self.relist), "note": self.note,
        })
    }
}

pub(crate) async fn run() -> anyhow::Result<Vec<Value>> {
    let mut rows = Vec::new();
    let mut one = 0;
    for shadows in [1, 100, 10_000] {
        let (mqtt, relist) = no_change(shadows, false).await?;
        let (tls, _) = no_change(shadows, true).await?;
        if shadows == 1 {
            one = mqtt;
        }
        let what = format!("reconnect, no change, {shadows} shadows");
        let note = format!(
            "target < 200 MQTT, {:.2} x that of 1 shadow (< 1.1)",
            mqtt as f64 / one as f64
        );
        rows.push(Row { what, mqtt, tls, documents: None, relist: Some(relist), note });
    }
    let what = "one field of a 1.5 KB shadow".to_owned();
    let mut change = one_change(what, settings(12), settings(13)).await?;
    change.note.push_str(" (< 150)");
    rows.push(change);
    let app = json!({ "services": { "web": { "image": "registry.example/web:1", "environment": {
        "CONFIG": "x".repeat(1_900) } } } });
    rows.push(one_change("a new 2 KB app".to_owned(), Value::Null, app).await?);
    rows.push(offline().await?);
    Ok(rows.iter().map(Row::json).collect())
}

/// A reconnect with nothing to say, and a relist over the same connection.
async fn no_change(shadows: usize, tls: bool) -> anyhow::Result<(u64, u64)> {
    let mut wire = Wire::start(NODE, tls).await?;
    let mut ends = Ends::new();
    let mut list = Vec::new();
    for index in 0..shadows {
        ends.desire(&format!("device/d{index}"), small(index))?;
        list.push(
            json!({ "key": format!("device/d{index}"), "version": 1, "desired": small(index) }),
        );
    }
    ends.settle();
    let mut session = wire.connect(&mut ends).await?;
    let ours = wire.bytes();
    wire.raw(&mut ends, &mut session, &pages(&list)).await?;
    Ok((ours, wire.bytes() - ours))
}

/// A list as JSON, in messages of at most about 64 KB.
fn pages(list: &[Value]) -> Vec<Vec<u8>> {
    list.chunks(500).map(|page| Value::from(page.to_vec()).to_string().into_bytes()).collect()
}

/// One change on a connected link: ours, the whole document, a list of the site's 20 shadows.
async fn one_change(what: String, before: Value, after: Value) -> anyhow::Result<Row> {
    let mut figures = Vec::new();
    let mut note = String::new();
    for tls in [false, true] {
        let mut wire = Wire::start(NODE, tls).await?;
        let mut ends = Ends::new();
        let mut list: Vec<_> = (0..19).map(small).collect();
        for (index, document) in list.iter().enumerate() {
            ends.desire(&format!("device/d{index}"), document.clone())?;
        }
        if !before.is_null() {
            ends.desire("app/bench", before.clone())?;
        }
        ends.settle();
        let mut session = wire.connect(&mut ends).await?;
        let (start, down) = (wire.bytes(), wire.down());
        ends.desire("app/bench", after.clone())?;
        wire.drive(&mut ends, &mut session).await?;
        let ours = wire.bytes();
        if !tls {
            note = format!("{} of them down, framing included", wire.down() - down);
        }
        let document = after.to_string().into_bytes();
        wire.raw(&mut ends, &mut session, &[document]).await?;
        let documents = wire.bytes();
        list.push(after.clone());
        wire.raw(&mut ends, &mut session, &pages(&list)).await?;
        figures.push((ours - start, documents - ours, wire.bytes() - documents));
        wire.disconnect(&mut ends, session).await;
    }
    let &[(mqtt, documents, relist), (tls, _, _)] = figures.as_slice() else {
        anyhow::bail!("two runs give two figures");
    };
    let (documents, relist) = (Some(documents), Some(relist));
    Ok(Row { what, mqtt, tls, documents, relist, note })
}

/// A thousand changes to ten shadows, made while the link was down.
async fn offline() -> anyhow::Result<Row> {
    let mut figures = Vec::new();
    let mut note = String::new();
    for tls in [false, true] {
        let mut wire = Wire::start(NODE, tls).await?;
        let mut ends = Ends::new();
        for shadow in 0..10 {
            ends.desire(&format!("device/d{shadow}"), settings(0))?;
        }
        ends.settle();
        let mut quiet = 0;
        for _ in 0..2 {
            let before = wire.bytes();
            let session = wire.connect(&mut ends).await?;
            quiet = wire.bytes() - before;
            wire.disconnect(&mut ends, session).await;
        }
        let mut written = Vec::new();
        for change in 1..=1_000_u64 {
            let document = settings(change.div_ceil(10));
            ends.desire(&format!("device/d{}", change % 10), document.clone())?;
            written.push(document.to_string().into_bytes());
        }
        let batches = ends.cloud_writer.counters().batches;
        let before = wire.bytes();
        let mut session = wire.connect(&mut ends).await?;
        let ours = (wire.bytes() - before).saturating_sub(quiet);
        let batches = ends.cloud_writer.counters().batches - batches;
        if !tls {
            let least = final_diffs()?;
            let ratio = ours as f64 / least as f64;
            note = format!("{batches} batch, {ratio:.2} x the final diffs of {least} B (< 1.2)");
        }
        let start = wire.bytes();
        wire.raw(&mut ends, &mut session, &written).await?;
        let documents = wire.bytes() - start;
        let list = vec![settings(100); 10];
        wire.raw(&mut ends, &mut session, &pages(&list)).await?;
        figures.push((ours, documents, wire.bytes() - start - documents));
    }
    let &[(mqtt, documents, relist), (tls, _, _)] = figures.as_slice() else {
        anyhow::bail!("two runs give two figures");
    };
    let what = "1,000 offline changes to 10 shadows".to_owned();
    Ok(Row { what, mqtt, tls, documents: Some(documents), relist: Some(relist), note })
}

/// The bytes of the ten patches and their keys alone: no versions, digests, acks or framing.
fn final_diffs() -> anyhow::Result<usize> {
    let (old, new) = (Document::from_value(settings(0))?, Document::from_value(settings(100))?);
    Ok(10 * (diff(&old, &new).to_cbor().len() + "device/d0".len()))
}
