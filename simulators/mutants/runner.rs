//! Runs worlds until one breaks an invariant; says which seed and which invariant on one line.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gnomon_sim::world::{Options, run};

fn main() {
    let most: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2_000);
    std::panic::set_hook(Box::new(|_| {}));
    let (next, stop) = (AtomicU64::new(1), AtomicBool::new(false));
    let first = Mutex::new(None::<(u64, String, String)>);
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > most {
                        return;
                    }
                    let Some(failure) = run(seed, Options::default()).failure else { continue };
                    stop.store(true, Ordering::Relaxed);
                    let violation = failure.violation;
                    let found = (seed, violation.invariant.to_string(), violation.what);
                    let mut first = first.lock().expect("no thread panics while it holds this");
                    if first.as_ref().is_none_or(|(lowest, ..)| seed < *lowest) {
                        *first = Some(found);
                    }
                }
            });
        }
    });
    match first.into_inner().expect("no thread panics while it holds this") {
        Some((seed, invariant, what)) => println!("caught\t{seed}\t{invariant}\t{what}"),
        None => println!("missed\t{most}"),
    }
}
