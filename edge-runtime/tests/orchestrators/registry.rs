//! A registry of images on loopback (Debian's `docker-registry`), which may ask for a password.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::bench::eventually;
use crate::daemon::{IMAGE, docker};
use crate::tokens::{Tokens, outward};

/// Who may pull from a registry that asks.
pub(crate) const USER: &str = "site";
/// Its password; in the base64 of most clients it has characters that the daemon does not read.
pub(crate) const PASSWORD: &str = "a>b?c~d>?~";
/// Both as `htpasswd -B` writes them.
const HTPASSWD: &str = "site:$2y$05$RrnxuOQy2Q0kzoGSuSu.5u7B2bWQrMy1ilCUxOSJi5sHcu7Zaf6ZK\n";

pub(crate) struct Registry {
    open: Server,
    dir: TempDir,
}

/// One process that serves the registry's folder.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let open = Server::start(&dir, loopback(), "", "").await;
        Self { open, dir }
    }

    /// A second way in, with a password.
    pub(crate) async fn guarded(&self) -> Server {
        fs::write(self.dir.path().join("htpasswd"), HTPASSWD).unwrap();
        let root = self.dir.path().display();
        let auth = format!("auth: {{htpasswd: {{realm: r, path: {root}/htpasswd}}}}\n");
        Server::start(&self.dir, loopback(), "", &auth).await
    }

    /// A third way in, over HTTPS, with tokens.
    pub(crate) async fn with_tokens(&self, tokens: &Tokens) -> Server {
        let (tls, auth) = tokens.config(&self.dir);
        Server::start(&self.dir, outward(), &format!(", {tls}"), &auth).await
    }

    /// Makes an image of its own kind, pushes it, and takes it off the daemon; gives back its name
    /// in the registry without the address.
    pub(crate) fn push(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("team/app-{}-{count}:1", std::process::id());
        let image = format!("{}/{name}", self.open.address);
        let container = docker(&["create", "--net", "none", IMAGE, "true"]);
        let change = format!("LABEL count={name}");
        docker(&["commit", "--change", &change, container.trim(), &image]);
        docker(&["rm", container.trim()]);
        docker(&["push", "-q", &image]);
        docker(&["rmi", &image]);
        name
    }

    /// Where anybody may pull.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.open.address
    }

    /// An image that is there or not, where anybody may pull.
    pub(crate) fn here(&self, name: &str) -> String {
        format!("{}/{name}", self.open.address)
    }

    /// How many bytes of layers an image has, wherever it is pulled from.
    pub(crate) fn bytes_of(&self, image: &str) -> u64 {
        let (_, name) = image.split_once('/').unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&self.get(name).1).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["size"].as_u64().unwrap()).sum()
    }

    /// The digest of an image's manifest.
    pub(crate) fn digest_of(&self, name: &str) -> String {
        let (head, _) = self.get(name);
        let is_it = |line: &&str| line.to_lowercase().starts_with("docker-content-digest:");
        let line = head.lines().find(is_it).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    }

    /// The answer for a manifest: its head and its body.
    fn get(&self, name: &str) -> (String, String) {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        let mut stream = TcpStream::connect(self.open.address).unwrap();
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let asked = format!(
            "GET /v2/{repository}/manifests/{tag} HTTP/1.0\r\nHost: r\r\nAccept: {kind}\r\n\r\n"
        );
        stream.write_all(asked.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// An image of one file of so many MiB, which lies small in the registry.
    pub(crate) fn large_image(&self, mib: u64) -> String {
        fs::File::create(self.dir.path().join("file")).unwrap().set_len(mib << 20).unwrap();
        self.here(&self.push_file())
    }

    /// Pushes an image of one file of so many KiB, all of which have to come; gives back its name
    /// without the address.
    pub(crate) fn push_noise(&self, kib: u64) -> String {
        let noise = fs::File::open("/dev/urandom").unwrap();
        let mut file = fs::File::create(self.dir.path().join("file")).unwrap();
        std::io::copy(&mut noise.take(kib << 10), &mut file).unwrap();
        self.push_file()
    }

    fn push_file(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("team/file-{}-{count}:1", std::process::id());
        let image = self.here(&name);
        let tar = self.dir.path().join("file.tar");
        let (dir, tar) = (self.dir.path().to_str().unwrap(), tar.to_str().unwrap());
        let made = Command::new("tar").args(["-C", dir, "-cf", tar, "file"]).status().unwrap();
        assert!(made.success());
        docker(&["import", tar, &image]);
        docker(&["push", "-q", &image]);
        docker(&["rmi", &image]);
        name
    }

    /// An image that can be pulled without a password.
    pub(crate) fn image(&self) -> String {
        format!("{}/{}", self.open.address, self.push())
    }
}

fn loopback() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

impl Server {
    async fn start(dir: &TempDir, ip: IpAddr, tls: &str, auth: &str) -> Self {
        let address = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap();
        let root = dir.path().display();
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp: {{addr: \"{address}\"{tls}}}\n{auth}"
        );
        let at = dir.path().join(format!("{}.yml", address.port()));
        fs::write(&at, config).unwrap();
        let mut serve = Command::new("docker-registry");
        serve.arg("serve").arg(at).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = serve.spawn().expect("run: apt-get install -y docker-registry");
        let server = Self { child, address };
        eventually("the registry answers", || TcpStream::connect(address).is_ok()).await;
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
