//! Where the figures come from, and what the machine itself can do, measured in the same run.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// How many processes want a core: what else runs is in the figures too.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// The machine; `load` is that before the run.
pub(crate) fn facts(load: &str) -> Map<String, Value> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpus.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, value)| value)
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = fs::read_dir("/sys/devices/system/cpu")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("cpu"));
            number.is_some_and(|number| number.parse::<u16>().is_ok())
        })
        .count();
    let facts = [
        ("processor", json!(field("model name"))),
        ("cores", json!(cores)),
        ("kernel", json!(kernel.trim())),
        ("load before the run", json!(load)),
        ("64 bytes there and back on loopback", json!(told(loopback(2_000)))),
        ("4 KiB written and synced (fdatasync)", json!(told(sync(200)))),
    ];
    facts.map(|(name, fact)| (name.to_owned(), fact)).into_iter().collect()
}

fn told(median: io::Result<Duration>) -> String {
    match median {
        Ok(median) => format!("{:.1} us, the median", median.as_secs_f64() * 1e6),
        Err(error) => format!("not measured: {error}"),
    }
}

/// A round trip between two threads over TCP.
fn loopback(count: usize) -> io::Result<Duration> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let answering = std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while far.read_exact(&mut bytes).and_then(|()| far.write_all(&bytes)).is_ok() {}
    });
    let mut bytes = [7; 64];
    let times = median(count, || {
        near.write_all(&bytes)?;
        near.read_exact(&mut bytes)
    });
    drop(near);
    answering.join().map_err(|_| io::Error::other("the other thread panicked"))?;
    times
}

/// A sync of what was appended to a file on the disk that the benchmarks use.
fn sync(count: usize) -> io::Result<Duration> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    fs::create_dir_all(&folder)?;
    let path = folder.join("sync");
    let mut file = File::create(&path)?;
    let times = median(count, || {
        file.write_all(&[7; 4_096])?;
        file.sync_data()
    });
    fs::remove_file(path)?;
    times
}

fn median(count: usize, mut once: impl FnMut() -> io::Result<()>) -> io::Result<Duration> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        once()?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(count / 2).copied().unwrap_or_default())
}
