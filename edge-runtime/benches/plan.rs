//! How long one plan takes on a site where nothing is to do. Prints one line of JSON; part of
//! `make bench BENCH=edge`.

#![expect(clippy::print_stdout, reason = "a benchmark talks")]
#![expect(clippy::indexing_slicing, reason = "a benchmark fails by panicking")]
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use gnomon_edge::orchestrator::{Capabilities, Kind, LimitKinds};
use gnomon_edge::reconcile::model::{Health, Instance, InstanceId, InstanceState, Observed, Slot};
use gnomon_edge::reconcile::{Attempts, Desired, plan};
use gnomon_schemas::document::Document;
use gnomon_schemas::id::{AppName, ServiceName};
use gnomon_schemas::version::Version;
use gnomon_sync::Moment;

// That of the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const APPS: u32 = 100;
const TIME: Duration = Duration::from_secs(3);

fn main() {
    let (desired, observed) = site();
    let attempts = Attempts::default();
    let now = Moment::from_millis(1);
    let capabilities = Capabilities {
        kind: Kind::Docker,
        images: true,
        tmpfs: true,
        limits: LimitKinds::ALL,
        confines: true,
        hardens: true,
        nested_mounts: true,
        users: true,
        bind_prefixes: Vec::new(),
        device_prefixes: Vec::new(),
    };
    let once = || plan(black_box(&desired), black_box(&observed), &attempts, &capabilities, now);
    assert!(once().steps.is_empty(), "nothing is to do");
    let mut times = Vec::new();
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        let began = Instant::now();
        black_box(once());
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).unwrap().as_nanos();
    println!("{{\"apps\":{APPS},\"p50_ns\":{},\"p99_ns\":{}}}", at(50), at(99));
}

/// Apps of two services, one with a port, everything as desired.
fn site() -> (Desired, Observed) {
    let (mut desired, mut observed) = (Desired::default(), Observed::default());
    for number in 0..APPS {
        let app: AppName = format!("app-{number}").parse().unwrap();
        let port = 10_000 + number;
        let spec = format!(
            r#"{{"services": {{
                "db": {{"image": "db:1", "restart": "always"}},
                "web": {{"image": "web:1", "restart": "always", "environment": {{"N": "{number}"}},
                         "ports": [{{"container": 80, "host": {port}}}],
                         "depends_on": {{"db": "started"}}}}
            }}}}"#
        );
        desired.insert(app.clone(), Version(1), &Document::parse(spec.as_bytes()).unwrap());
        for service in ["db", "web"] {
            let service: ServiceName = service.parse().unwrap();
            let id = InstanceId(format!("{app}-{service}").into());
            let digest = desired.apps[&app].digest(&service).unwrap();
            let slot = Slot { app: app.clone(), service, replica: 0 };
            let state = InstanceState::Running(Health::Unchecked);
            let instance = Instance {
                id: id.clone(),
                slot,
                service_digest: digest,
                image: None,
                state,
                note: None,
                altered: None,
            };
            observed.instances.insert(id, instance);
        }
        observed.app_resources.push(app);
    }
    (desired, observed)
}
