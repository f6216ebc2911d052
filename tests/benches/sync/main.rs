//! What the sync protocol costs: bytes on a real socket, with MQTT framing and with TLS, beside
//! the same work done by sending whole JSON documents and by relisting; and CPU per message.
//! Writes target/bench/sync.json. Run: make bench BENCH=sync

#![expect(clippy::print_stdout, reason = "a benchmark talks")]
#![expect(clippy::cast_precision_loss, reason = "ratios for people")]

mod certificates;
mod cpu;
mod ends;
mod memory;
mod scenarios;
mod wire;

use anyhow::Context;
use serde_json::{Value, json};

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let results = runtime.block_on(scenarios::run())?;
    let cpu = cpu::run();
    let memory = memory::run();
    let report = json!({ "bytes": results, "cpu": cpu, "memory": memory });
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("sync.json");
    std::fs::write(&path, serde_json::to_string_pretty(&report)?).context("writing the report")?;
    print(&report);
    println!("report: {}", path.display());
    Ok(())
}

fn print(report: &Value) {
    println!(
        "{:<44}{:>9}{:>9}{:>12}{:>12}",
        "bytes, both ways", "MQTT", "TLS", "documents", "relist"
    );
    for row in report["bytes"].as_array().into_iter().flatten() {
        let number = |name: &str| row[name].as_u64().map_or("-".to_owned(), |n| n.to_string());
        println!(
            "{:<44}{:>9}{:>9}{:>12}{:>12}   {}",
            row["what"].as_str().unwrap_or_default(),
            number("mqtt"),
            number("tls"),
            number("documents"),
            number("relist"),
            row["note"].as_str().unwrap_or_default()
        );
    }
    println!("\nCPU per message, ns");
    for (what, ns) in report["cpu"].as_object().into_iter().flatten() {
        println!("{what:<44}{:>9}", ns.as_u64().unwrap_or_default());
    }
    println!("\nmemory per idle shadow, bytes of the heap beyond its document");
    for (what, bytes) in report["memory"].as_object().into_iter().flatten() {
        println!("{what:<44}{:>9}", bytes.as_u64().unwrap_or_default());
    }
}
