//! How long one plan takes on a site of a hundred apps: where nothing is to do, and where every app
//! is between two states, so that no shortcut fits. Prints one line of JSON; part of
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
    let (desired, calm) = site();
    let mut busy = calm.clone();
    let rising = busy.instances.values_mut().filter(|it| it.slot.service.as_str() == "web");
    rising.for_each(|it| it.state = InstanceState::Running(Health::Starting));
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
    let time = |observed: &Observed| {
        let mut attempts = Attempts::default();
        attempts.observed(observed, now);
        let (desired, observed) = (black_box(&desired), black_box(observed));
        let once = || plan(desired, observed, &attempts, &capabilities, now);
        assert!(once().steps.is_empty(), "nothing is to do");
        percentiles(|| drop(black_box(once())))
    };
    let ([p50, p99], [busy_p50, busy_p99]) = (time(&calm), time(&busy));
    println!(
        "{{\"apps\":{APPS},\"p50_ns\":{p50},\"p99_ns\":{p99},\"busy_p50_ns\":{busy_p50},\
         \"busy_p99_ns\":{busy_p99}}}"
    );
}

fn percentiles(once: impl Fn()) -> [u128; 2] {
    let mut times = Vec::new();
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        let began = Instant::now();
        once();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    [50, 99].map(|part| times.get(times.len() * part / 100).unwrap().as_nanos())
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
            let id = id_of(&app, &service);
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
    observed.app_resources.sort();
    (desired, observed)
}

/// As Docker has them: what comes by ids comes in no order of apps.
fn id_of(app: &AppName, service: &ServiceName) -> InstanceId {
    let name = format!("{app}/{service}");
    let id = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    InstanceId(gnomon_schemas::hex::of(id.as_ref()).into())
}
