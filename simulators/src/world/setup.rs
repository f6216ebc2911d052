//! What one seed draws before it starts: how large the world is, how its machines are tuned, and
//! which faults are on and how strong (swarm testing: no run has all of them).

use std::time::Duration;

use gnomon_schemas::key::ShadowKey;
use gnomon_sync::{Backoff, ReaderConfig, WriterConfig};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What a caller may fix; the rest is drawn from the seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// How many sites there are.
    pub sites: Option<u16>,
    /// How many events happen per site before the world is left in peace.
    pub steps: Option<u32>,
}

/// How often each thing happens, relative to the others; 0: never.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    pub(super) set: u32,
    pub(super) delete: u32,
    pub(super) churn: u32,
    pub(super) apply: u32,
    pub(super) commit: u32,
    pub(super) effect: u32,
    pub(super) timer: u32,
    pub(super) connect: u32,
    pub(super) half_connect: u32,
    pub(super) site_hangs_up: u32,
    pub(super) broker_hangs_up: u32,
    pub(super) broker_restart: u32,
    pub(super) cut: u32,
    pub(super) arrive: u32,
    pub(super) repeat: u32,
    pub(super) lose: u32,
    pub(super) damage: u32,
    pub(super) crash_site: u32,
    pub(super) crash_cloud: u32,
    pub(super) wipe: u32,
    pub(super) backup: u32,
    pub(super) full: u32,
    pub(super) wait: u32,
    pub(super) jump: u32,
}

/// A world before it starts.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) sites: u16,
    pub(super) steps: u32,
    pub(super) writer: WriterConfig,
    pub(super) reader: ReaderConfig,
    pub(super) keys: Vec<ShadowKey>,
    pub(super) padding: usize,
    /// Whether messages arrive in the order in which they were sent.
    pub(super) in_order: bool,
    /// Whether messages of dead connections may still arrive; no shell lets that happen, and the
    /// machines must bear it all the same.
    pub(super) strays: bool,
    /// Whether the world ends with many documents.
    pub(super) many: bool,
    pub(super) rates: Rates,
}

const KEYS: [&str; 6] =
    ["node", "app/web", "device/p1", "device/p1/limits", "app/db", "device/Pump:2"];

impl Setup {
    pub(super) fn draw(seed: u64, options: Options) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let sites = match rng.random_range(0..20) {
            0..15 => 1,
            15..19 => rng.random_range(2..=3),
            _ => rng.random_range(4..=8),
        };
        let keys = rng.random_range(1..=KEYS.len());
        let parse = |key: &&str| key.parse().expect("the world's own keys are well-formed");
        let backoff = Backoff { cap: Duration::from_secs(8), ..Backoff::default() };
        Self {
            seed,
            sites: options.sites.unwrap_or(sites).max(1),
            steps: options.steps.unwrap_or_else(|| rng.random_range(40..700)),
            writer: WriterConfig {
                window: rng.random_range(1..=4),
                max_batch: [48, 160, 16 * 1024][rng.random_range(0..3)],
                backoff,
            },
            reader: ReaderConfig { window: rng.random_range(1..=4) },
            keys: KEYS[..keys].iter().map(parse).collect(),
            padding: [0, 64][rng.random_range(0..2)],
            in_order: rng.random_bool(0.3),
            strays: rng.random_bool(0.4),
            many: rng.random_bool(0.04),
            rates: Rates::draw(&mut rng),
        }
    }
}

impl Rates {
    fn draw(rng: &mut StdRng) -> Self {
        let mut maybe = |highest: u32| {
            if rng.random_bool(0.5) { rng.random_range(1..=highest) } else { 0 }
        };
        let crashes = maybe(40);
        Self {
            delete: maybe(30),
            churn: if maybe(2) == 2 { maybe(6) } else { 0 },
            half_connect: maybe(10),
            site_hangs_up: maybe(20),
            broker_hangs_up: maybe(20),
            broker_restart: maybe(8),
            cut: maybe(20),
            repeat: maybe(60),
            lose: maybe(60),
            damage: maybe(50),
            crash_site: crashes,
            crash_cloud: crashes,
            wipe: maybe(12),
            backup: maybe(24),
            full: maybe(10),
            jump: maybe(10),
            apply: maybe(60),
            set: rng.random_range(5..80),
            commit: rng.random_range(40..200),
            effect: rng.random_range(100..300),
            timer: rng.random_range(10..100),
            connect: rng.random_range(20..80),
            arrive: rng.random_range(60..240),
            wait: rng.random_range(5..60),
        }
    }
}
