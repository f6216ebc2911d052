//! What a stranger on the machine gets from the registry of a pull: nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::*;

const MANIFEST_KIND: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A registry with one image of one layer; it tells each path that it was asked for.
fn registry(manifest: String, layer: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let paths = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // The first attempt is TLS.
            let mut first = [0];
            if stream.peek(&mut first).is_err() || first == [0x16] {
                continue;
            }
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(line)) = lines.next() else { continue };
            let Some(path) = line.split(' ').nth(1) else { continue };
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            paths.lock().unwrap().push(path.to_owned());
            let body: &[u8] = if path.contains("/manifests/") {
                manifest.as_bytes()
            } else if path.contains("/blobs/") {
                layer
            } else {
                b"{}"
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {MANIFEST_KIND}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)));
        }
    });
    (address, asked)
}

/// The status and the body of an answer.
fn ask(port: u16, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_being_pulled_is_there_and_only_for_who_knows_where() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let (layer, other) = (digest(b"layer"), digest(b"other"));
    let manifest = format!(r#"{{"layers": [{{"digest": "{layer}", "size": 5}}]}}"#);
    let (address, asked) = registry(manifest.clone(), b"layer");
    let manner = Manner::of(
        serde_json::from_str(r#"{"RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8"]}}"#)
            .unwrap(),
        std::path::Path::new("/none"),
    );
    let reference = Reference::read(&format!("{address}/team/app:1")).unwrap();
    let upstream = Upstream::connect(&manner, reference.clone(), None).await.unwrap();
    let (told, server) = (watch::Sender::default(), Server::bind().await.unwrap());
    let shared = Arc::new(Shared {
        upstream,
        place: format!("secret/{}", reference.repository),
        cache: None,
        bucket: Arc::default(),
        told: told.subscribe(),
        seen: Mutex::default(),
        reference,
    });
    let port = server.port();
    let serving = tokio::spawn(server.serve(shared));
    let get = |path: &str| ask(port, "GET", path);
    assert_eq!(get("/v2/").0, 200);
    for path in [
        "/",
        "/v2/team/app/manifests/1",
        "/v2/other/team/app/manifests/1",
        "/v2/secret/team/app",
        "/v2/secret/team/app/manifests/2",
        "/v2/secret/team/application/manifests/1",
        "/v2/secret/team/app/tags/list",
        "/v2/_catalog",
        &format!("/v2/secret/team/app/blobs/{layer}"),
        &format!("/v2/secret/team/app/manifests/{other}"),
    ] {
        assert_eq!(get(path).0, 404, "{path}");
    }
    assert_eq!(asked.lock().unwrap().as_slice(), ["/v2/"], "the registry heard of none of it");
    assert_eq!(get("/v2/secret/team/app/manifests/1"), (200, manifest.clone()));
    let (blob, foreign) = (
        format!("/v2/secret/team/app/blobs/{layer}"),
        format!("/v2/secret/team/app/blobs/{other}"),
    );
    assert_eq!(get(&blob), (200, "layer".to_owned()));
    assert_eq!(ask(port, "HEAD", &blob), (200, String::new()));
    assert_eq!((get(&foreign).0, ask(port, "PUT", &blob).0), (404, 405));
    let pinned = format!("/v2/secret/team/app/manifests/{}", digest(manifest.as_bytes()));
    assert_eq!(get(&pinned).0, 200, "by its digest, too");
    serving.abort();
}
