//! Images that cannot be had, or take for ever, disturb nothing but what needs them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use gnomon_tests::eventually;

use super::{Stage, compose};
use crate::app::PATIENCE;

/// An app of one service with this image.
fn app(name: &str, image: &str) -> String {
    let service = format!("image: {image:?}, restart: always, command: [sleep, \"1000\"]");
    format!("name: {name}\nservices:\n  only: {{ {service}, stop_grace_period: 0s }}\n")
}

#[test]
fn an_image_that_does_not_exist_is_reported_and_used_once_it_appears() {
    let stage = Stage::set("image");
    let before = stage.deploy(1);
    // Nobody listens at port 1.
    let image = format!("127.0.0.1:1/late-{}:1", std::process::id());
    assert!(stage.apply_text(&app("late", &image)));
    stage.shows("late", &["pulling", &image, "retrying"]);
    stage.shows("probe", &["running", "3/3"]);
    assert_eq!(stage.runs(1), before, "the other app was not touched");
    stage.docker.run(&["tag", "gnomon-demo:1", &image]);
    stage.shows("late", &["running", "1/1"]);
    stage.docker.run(&["rmi", &image]);
}

/// A registry of one image, of which the layer begins to come and never ends.
struct Tarpit {
    address: SocketAddr,
    /// The downloads of the layer that were not given up.
    open: Arc<AtomicU32>,
}

const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000000"]}}"#;
const CONFIG_DIGEST: &str =
    "sha256:5d427e55edc2fc55904308cfacd88194b0cb7624c3193f2eae8f928d79970a9b";
const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";

impl Tarpit {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&open);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                thread::spawn(move || serve(stream, &count));
            }
        });
        Self { address, open }
    }

    fn waits_for(&self, open: u32) {
        eventually(&format!("{open} pulls under way"), PATIENCE, || {
            let seen = self.open.load(Ordering::SeqCst);
            if seen == open { Ok(()) } else { Err(seen) }
        });
    }
}

fn manifest() -> String {
    let layer = format!("sha256:{}", "1".repeat(64));
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": CONFIG.len(),
            "digest": CONFIG_DIGEST,
        },
        "layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "size": 1_000_000,
            "digest": layer,
        }],
    })
    .to_string()
}

/// Plain HTTP, a request at a time; the daemon tries TLS before.
fn serve(mut stream: TcpStream, open: &AtomicU32) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
        let (kind, length, body) = if request.starts_with("GET /v2/ ") {
            ("application/json", 2, "{}".to_owned())
        } else if request.contains("/manifests/") {
            let manifest = manifest();
            (MANIFEST_TYPE, manifest.len(), manifest)
        } else if request.contains(CONFIG_DIGEST) {
            ("application/octet-stream", CONFIG.len(), CONFIG.to_owned())
        } else if request.contains("/blobs/") {
            ("application/octet-stream", 1_000_000, "x".to_owned())
        } else {
            return;
        };
        let is_layer = length == 1_000_000;
        let body = if request.starts_with("HEAD") { String::new() } else { body };
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
        if is_layer {
            open.fetch_add(1, Ordering::SeqCst);
            trickle(&mut stream);
            open.fetch_sub(1, Ordering::SeqCst);
            return;
        }
    }
}

/// A byte at a time, until the other end hangs up.
fn trickle(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    loop {
        let is_open = match stream.read(&mut [0]) {
            Ok(read) => read > 0,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        if !is_open || stream.write_all(b"x").is_err() {
            return;
        }
    }
}

#[test]
fn an_app_is_repaired_while_an_image_of_its_update_is_pulled_and_the_pull_can_be_called_off() {
    let stage = Stage::set("pull");
    let before = stage.deploy(1);
    let registry = Tarpit::start();
    let image = format!("{}/big:1", registry.address);
    assert!(stage.apply_text(&compose(2, &image)));
    registry.waits_for(1);
    stage.shows("probe", &["pulling", &image]);
    stage.docker.run(&["rm", "-f", &before["first"].id]);
    stage.docker.run(&["kill", &before["second"].id]);
    eventually(&format!("a repair: {}", stage.site.tail()), PATIENCE, || {
        let all = stage.containers();
        let all_run = all.len() == 3 && all.iter().all(|(_, it)| it.runs);
        if all_run { Ok(()) } else { Err(all) }
    });
    registry.waits_for(1);
    let after = stage.deploy(1);
    assert_eq!(after["third"], before["third"], "what is healthy was never touched");
    registry.waits_for(0);
}
