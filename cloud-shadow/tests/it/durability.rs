//! What was acknowledged is there after a `kill -9`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gnomon_cloud::store::{JournaledStore, Op, Store as _};

const PATH: &str = "GNOMON_TEST_STORE";

/// Commits counters and says which are durable, while another thread brings them to the base.
#[test]
#[ignore = "it is the process that everything_acknowledged_survives_kill_9 starts and kills"]
fn child_commits_until_it_is_killed() {
    let Ok(path) = std::env::var(PATH) else { return };
    let store = Arc::new(JournaledStore::open(Path::new(&path)).unwrap());
    let settling = Arc::clone(&store);
    std::thread::spawn(move || {
        while settling.settle().is_ok() {
            std::thread::park_timeout(Duration::from_millis(2));
        }
    });
    let mut out = std::io::stdout();
    for n in store.scan(b"").unwrap().len().. {
        let key = u64::try_from(n).unwrap().to_be_bytes().to_vec();
        let value = vec![u8::try_from(n % 251).unwrap(); 300];
        store.commit(&[Op::Put { key, value }]).unwrap();
        writeln!(out, "acked {n}").unwrap();
    }
}

fn spawn(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "durability::child_commits_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn everything_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut acked: Option<usize> = None;
    for round in 0..10 {
        let mut child = spawn(&path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers = |line: std::io::Result<String>| {
            line.unwrap().strip_prefix("acked ").map(|n| n.parse().unwrap())
        };
        let wanted = 20 + round * 7;
        acked = lines.by_ref().filter_map(numbers).nth(wanted).or(acked);
        child.kill().unwrap();
        acked = lines.filter_map(numbers).last().or(acked);
        child.wait().unwrap();
        let rows = JournaledStore::open(&path).unwrap().scan(b"").unwrap();
        assert!(rows.len() > acked.unwrap(), "{} rows, {acked:?} acknowledged", rows.len());
        for (n, (key, value)) in rows.iter().enumerate() {
            assert_eq!(*key, u64::try_from(n).unwrap().to_be_bytes());
            assert_eq!(*value, vec![u8::try_from(n % 251).unwrap(); 300]);
        }
    }
}
