//! The scenarios: each is run over plain TCP (MQTT payload and framing) and over mutual TLS
//! (every byte of the socket), and beside it what whole documents and a relist would cost.

use gnomon_schemas::document::{Document, diff};
use serde_json::{Value, json};

use crate::ends::Ends;
use crate::report::{Row, Target};
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

/// Bytes of one scenario, both ways: ours, and what others would have sent instead.
#[derive(Clone, Copy)]
struct Figures {
    /// Payloads and framing of MQTT.
    mqtt: u64,
    /// The whole socket, with TLS.
    tls: u64,
    /// Whole documents.
    documents: Option<u64>,
    /// A list of everything.
    relist: u64,
}

impl Figures {
    fn rows(&self, what: &str, target: Target) -> Vec<Row> {
        let row = |what: String, ours, peer, target| bytes(what, ours, peer, target);
        let documents = |documents| {
            row(format!("{what}; peer: whole documents"), self.mqtt, Some(documents), Target::None)
        };
        let mut rows =
            vec![row(format!("{what}; peer: a relist"), self.mqtt, Some(self.relist), target)];
        rows.extend(self.documents.map(documents));
        rows.push(row(format!("{what}, with TLS"), self.tls, None, Target::None));
        rows
    }
}

fn bytes(what: String, ours: u64, peer: Option<u64>, target: Target) -> Row {
    Row { what, unit: "B", ours: ours as f64, peer: peer.map(|peer| peer as f64), target }
}

/// Measures all; the last number of `shadows` is beside the first.
pub(crate) async fn run(shadows: &[usize]) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut reconnects = Vec::new();
    for &shadows in shadows {
        let (mqtt, relist) = no_change(shadows, false).await?;
        let (tls, _) = no_change(shadows, true).await?;
        let what = format!("reconnect without a change, {shadows} shadows");
        let figures = Figures { mqtt, tls, documents: None, relist };
        rows.extend(figures.rows(&what, Target::Under(200.0)));
        reconnects.push((shadows, mqtt));
    }
    if let [(few, least), .., (many, most)] = *reconnects.as_slice() {
        let what = format!("reconnect without a change, {many} shadows; peer: {few} shadow");
        rows.push(bytes(what, most, Some(least), Target::AtMostPeerTimes(1.1)));
    }
    let what = "one field of a shadow of 1.5 KB";
    let (change, down) = one_change(settings(12), settings(13)).await?;
    rows.extend(change.rows(what, Target::None));
    rows.push(bytes(format!("{what}, down alone"), down, None, Target::Under(150.0)));
    let app = json!({ "services": { "web": { "image": "registry.example/web:1", "environment": {
        "CONFIG": "x".repeat(1_900) } } } });
    rows.extend(one_change(Value::Null, app).await?.0.rows("a new app of 2 KB", Target::None));
    rows.extend(offline().await?);
    Ok(rows)
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

/// One change on a connected link: ours, the whole document, a list of the site's 20 shadows; and
/// how many bytes of ours went down, without TLS.
async fn one_change(before: Value, after: Value) -> anyhow::Result<(Figures, u64)> {
    let mut figures = Vec::new();
    let mut ours_down = 0;
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
            ours_down = wire.down() - down;
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
    Ok((Figures { mqtt, tls, documents: Some(documents), relist }, ours_down))
}

/// A thousand changes to ten shadows, made while the link was down.
async fn offline() -> anyhow::Result<Vec<Row>> {
    let mut figures = Vec::new();
    let mut sent_batches = 0;
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
        sent_batches = ends.cloud_writer.counters().batches - batches;
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
    let what = "1,000 changes to 10 shadows, made offline";
    let figures = Figures { mqtt, tls, documents: Some(documents), relist };
    let mut rows = figures.rows(what, Target::None);
    let least = u64::try_from(final_diffs()?)?;
    let of_diffs = format!("{what}; peer: the final differences alone");
    rows.push(bytes(of_diffs, mqtt, Some(least), Target::AtMostPeerTimes(1.2)));
    rows.push(Row {
        what: format!("{what}: batches"),
        unit: "",
        ours: sent_batches as f64,
        peer: None,
        target: Target::Under(2.0),
    });
    Ok(rows)
}

/// The bytes of the ten patches and their keys alone: no versions, digests, acks or framing.
fn final_diffs() -> anyhow::Result<usize> {
    let (old, new) = (Document::from_value(settings(0))?, Document::from_value(settings(100))?);
    Ok(10 * (diff(&old, &new).to_cbor().len() + "device/d0".len()))
}
