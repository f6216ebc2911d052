//! The agent updates itself: real programs, a real cloud, and files of which one is another build,
//! one cannot reach the cloud, one does not run, and one was not signed.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gnomon_tests::process::binary;
use gnomon_tests::{Cloud, Site, eventually};
use serde_json::Value;

use crate::app::{PATIENCE, apply, converged};

mod crashes;

/// Serves the files of a folder over HTTP, with ranges; breaks off in the middle when told to.
struct Files {
    folder: PathBuf,
    url: String,
    /// The ranges that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
    /// Whether the first answer for a file breaks off in the middle, as links do.
    breaks: Arc<AtomicBool>,
}

impl Files {
    fn serve(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let breaks = Arc::new(AtomicBool::new(true));
        let (root, ranges, is_bad) =
            (folder.to_path_buf(), Arc::clone(&asked), Arc::clone(&breaks));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _gone = answer(&root, &ranges, &is_bad, &stream.unwrap());
            }
        });
        Self { folder: folder.to_path_buf(), url, asked, breaks }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        let at = self.folder.join(name);
        fs::write(&at, bytes).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
        at.to_string_lossy().into_owned()
    }
}

fn answer(
    root: &Path,
    ranges: &Mutex<Vec<String>>,
    breaks: &AtomicBool,
    stream: &TcpStream,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let name = first.split_whitespace().nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
    let mut from = 0;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap();
            ranges.lock().unwrap().push(range.to_owned());
        }
        if line.is_empty() {
            break;
        }
    }
    let bytes = fs::read(root.join(name)).unwrap_or_default();
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    let body = &bytes[from..];
    let is_cut = from == 0 && breaks.load(Ordering::SeqCst);
    let sent = if is_cut { &body[..body.len() / 2] } else { body };
    let mut out = stream;
    write!(out, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len())?;
    out.write_all(sent)
}

fn gnomon(cloud: &Cloud, args: &[&str]) -> String {
    let output = crate::app::gnomon(cloud, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn update(cloud: &Cloud, files: &Files, file: &str, version: &str, key: &str) {
    let name = Path::new(file).file_name().unwrap().to_string_lossy().into_owned();
    let url = format!("{}/{name}", files.url);
    let args = ["node", "update", "site-1", "--version", version, "--file", file];
    gnomon(cloud, &[&args[..], &["--url", &url, "--key", key]].concat());
}

/// Waits until the node reports that an update stands so.
fn reported(cloud: &Cloud, site: &Site, version: &str, state: &str) -> Value {
    eventually(&format!("{version} to be {state}"), PATIENCE * 2, || {
        let (_, shadow) = cloud.api.get("/v1/nodes/site-1/shadows/node");
        let update = shadow["reported"]["document"]["agent"]["update"].clone();
        let is_it = update["version"] == version && update["state"] == state;
        if is_it { Ok(update) } else { Err((shadow["reported"].clone(), site.tail())) }
    })
}

/// Starts the agent while its program is held open for writing for a moment, which it waits for.
fn start_while_somebody_has(site: &mut Site, program: &str) {
    let file = site.data().join("update").join(program);
    let held = fs::OpenOptions::new().append(true).open(file).unwrap();
    let (_keeps, ends) = std::sync::mpsc::channel::<()>();
    let holder = std::thread::spawn(move || {
        let _ended = ends.recv_timeout(Duration::from_millis(700));
        drop(held);
    });
    site.start();
    holder.join().unwrap();
}

#[test]
fn a_signed_update_is_kept_when_it_reaches_the_cloud_and_taken_back_when_it_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::serve(folder.path());
    let mut cloud = Cloud::start(folder.path());
    let key = folder.path().join("release.key").to_string_lossy().into_owned();
    let other = folder.path().join("other.key").to_string_lossy().into_owned();
    let setting = gnomon(&cloud, &["node", "update-key", &key]);
    gnomon(&cloud, &["node", "update-key", &other]);
    let mut site = Site::join(&cloud, folder.path(), "site-1");
    site.stop();
    let config = folder.path().join("edge.toml");
    fs::write(&config, format!("{setting}\nupdate_within_s = 15\n")).unwrap();
    site.add_args(&["--config", &config.to_string_lossy()]);
    site.start();
    assert!(apply(&cloud, folder.path(), "site-1", 1));
    converged(&cloud, "site-1");
    let apps = site.instances();

    // Another build: the same program with bytes after its end has another digest, and runs.
    let mut second = fs::read(binary("gnomon-edge")).unwrap();
    second.extend(b"second");
    let second = files.put("second", &second);
    update(&cloud, &files, &second, "2.0", &key);
    reported(&cloud, &site, "2.0", "current");
    assert!(!files.asked.lock().unwrap().is_empty(), "it went on where it broke off");
    let good = site.program_file();
    assert!(good.starts_with("agent-"), "{good} runs");
    assert_eq!(site.instances(), apps, "no app was touched");

    site.kill9();
    start_while_somebody_has(&mut site, &good);
    reported(&cloud, &site, "2.0", "current");
    assert_eq!(site.program_file(), good, "it is the one that starts from now on");

    // A build that speaks of other topics: it runs, and the cloud does not let it in.
    let lost = other_topics(&fs::read(binary("gnomon-edge")).unwrap());
    let lost = files.put("lost", &lost);
    update(&cloud, &files, &lost, "3.0", &key);
    let failed = reported(&cloud, &site, "3.0", "failed");
    assert!(failed["reason"].as_str().unwrap().contains("did not reach the cloud"), "{failed}");
    assert_eq!(site.program_file(), good, "the last good one runs again");

    // It says its version, and dies when it is to work: whoever restarts the agent ends that.
    let dead = files.put("dead", b"#!/bin/sh\n[ \"$1\" = --version ] && exit 0\nexit 9\n");
    update(&cloud, &files, &dead, "4.0", &key);
    site.ended();
    for _ in 0..2 {
        site.start_and_die();
    }
    site.start();
    let failed = reported(&cloud, &site, "4.0", "failed");
    assert!(failed["reason"].as_str().unwrap().contains("started 3 times"), "{failed}");

    // It does not run at all, and it was signed by somebody else: neither is started.
    let broken = files.put("broken", b"\x7fELF and nothing more");
    update(&cloud, &files, &broken, "5.0", &key);
    let failed = reported(&cloud, &site, "5.0", "failed");
    assert!(failed["reason"].as_str().unwrap().contains("does not run here"), "{failed}");
    let third = [&fs::read(&second).unwrap()[..], b"third"].concat();
    let third = files.put("third", &third);
    update(&cloud, &files, &third, "6.0", &other);
    let refused = reported(&cloud, &site, "6.0", "refused");
    assert!(refused["reason"].as_str().unwrap().contains("signature"), "{refused}");
    assert_eq!(site.program_file(), good);
    assert_eq!(site.instances(), apps, "through all of it no app was touched");
    assert_eq!(site.stop(), Some(0));
    cloud.stop();
    let left: Vec<_> = fs::read_dir(site.data().join("update")).unwrap().collect();
    assert_eq!(left.len(), 2, "the program and what was decided: {left:?}");
}

/// The program with another prefix of its topics.
fn other_topics(program: &[u8]) -> Vec<u8> {
    let (old, new) = (b"gnomon/1/", b"gnomon/9/");
    let mut changed = program.to_vec();
    let places: Vec<_> =
        program.windows(old.len()).enumerate().filter(|(_, it)| it == old).map(|it| it.0).collect();
    assert!(!places.is_empty(), "the program names its topics");
    for at in places {
        changed[at..at + new.len()].copy_from_slice(new);
    }
    changed
}
