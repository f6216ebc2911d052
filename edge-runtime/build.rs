//! Tells the agent when it was built: no time before that can be the present one.
//! `SOURCE_DATE_EPOCH` makes the build reproducible.

use std::env;
use std::time::SystemTime;

fn main() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let given = env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse::<u64>().ok());
    let now = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    println!("cargo::rustc-env=GNOMON_BUILT_S={}", given.unwrap_or_else(now));
}
