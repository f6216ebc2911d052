//! Makes a data folder with many shadows, in both halves, by the cloud's own domain: the rows are
//! those that the cloud would have written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use gnomon_cloud::domain::{
    Action, Author, Change, Command, Domain, DomainConfig, Effect, Now, Precondition, Session,
    Write,
};
use gnomon_cloud::identity::{Identity, TokenHash};
use gnomon_cloud::rows::CertificateRecord;
use gnomon_cloud::store::{Op, RedbStore, Store, check_schema};
use gnomon_schemas::document::{Document, Patch};
use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::Stream;
use gnomon_schemas::version::Epoch;
use gnomon_schemas::wire::Message;
use gnomon_sync::{Moment, Output, Reader, ReaderConfig, Writer, WriterConfig};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;

/// How many nodes, and how many shadows each has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    pub(crate) shadows: usize,
}

/// How many nodes one commit makes.
const CHUNK: usize = 200;

/// How long the certificates of its sites are good.
const LIFE: Duration = Duration::from_hours(24);

pub(crate) fn node(n: usize) -> String {
    format!("site-{n:05}")
}

pub(crate) fn shadow(n: usize) -> String {
    format!("device/pump-{n:03}")
}

/// A small document, of about 120 bytes as JSON.
pub(crate) fn document(seed: usize) -> anyhow::Result<Document> {
    let value = json!({
        "price": { "diesel": seed % 1000, "super": (seed * 7) % 1000, "currency": "EUR" },
        "enabled": seed.is_multiple_of(2),
        "limit": 120.5,
        "label": format!("island {}", seed % 50),
    });
    Ok(Document::from_value(value)?)
}

/// The certificates of the nodes in a data folder, and the key that belongs to all of them.
pub(crate) struct Nodes {
    ca: String,
    key: String,
    certificates: Vec<String>,
}

impl Nodes {
    /// How a node speaks TLS.
    pub(crate) fn config(&self, n: usize) -> anyhow::Result<ClientConfig> {
        let own = self.certificates.get(n).context("a node without a certificate")?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes())?)?;
        let certificate = CertificateDer::from_pem_slice(own.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)?)
    }
}

/// Fills a new data folder; the first `enrolled` nodes get a certificate.
pub(crate) fn fill(folder: &Path, shape: Shape, enrolled: usize) -> anyhow::Result<Nodes> {
    fs::create_dir_all(folder)?;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let identity = Identity::open(folder, &[], since_1970)?;
    // One key for all: ten thousand would take minutes.
    let key = KeyPair::generate()?;
    let store = RedbStore::open(&folder.join("store.redb"))?;
    check_schema(&store)?;
    let now = Now { moment: Moment::from_millis(0), unix_ms: since_1970.as_millis().try_into()? };
    let mut certificates = Vec::new();
    let numbers: Vec<usize> = (0..shape.nodes).collect();
    for chunk in numbers.chunks(CHUNK) {
        let mut maker =
            Maker { domain: Domain::new(DomainConfig::default(), rand::make_rng()), now };
        let mut ops = Vec::new();
        for &n in chunk {
            let name: NodeName = node(n).parse()?;
            ops.extend(maker.make(&name, n, shape.shadows)?);
            if n < enrolled {
                let request = CertificateParams::default().serialize_request(&key)?.pem()?;
                let signed = identity.authority.sign_node(&name, &request, since_1970, LIFE)?;
                let (serial, not_after_s) = (signed.serial, signed.not_after_s);
                let record = CertificateRecord { serial, not_after_s, replaces: None };
                ops.extend(maker.enrol(&name, record)?);
                certificates.push(signed.pem);
            }
        }
        store.commit(&ops)?;
    }
    let ca = identity.authority.certificate_pem().to_owned();
    Ok(Nodes { ca, key: key.serialize_pem(), certificates })
}

/// How many bytes the rows of a small write have.
pub(crate) fn bytes_of_write() -> anyhow::Result<usize> {
    let mut maker = Maker::new();
    let (name, key): (NodeName, ShadowKey) = (node(0).parse()?, shadow(0).parse()?);
    maker.make(&name, 0, 1)?;
    let patch = Patch::from_value(json!({ "price": { "diesel": 123_456 } }))?;
    let (change, when, fields) = (Change::Patch(patch), Precondition::Any, Vec::new());
    let mut ops = Vec::new();
    maker.act(&name, Action::Write(Write { key, change, when, fields }), &mut ops)?;
    Ok(size(&ops))
}

/// How many bytes the rows of a small report have.
pub(crate) fn bytes_of_report() -> anyhow::Result<usize> {
    let mut maker = Maker::new();
    let name: NodeName = node(0).parse()?;
    let one = maker.make(&name, 0, 1)?;
    let mut maker = Maker::new();
    let two = maker.make(&name, 0, 2)?;
    // A second shadow is a write and a report, of about the same size.
    Ok((size(&two) - size(&one)) / 2)
}

fn size(ops: &[Op]) -> usize {
    let sizes = ops.iter().map(|op| match op {
        Op::Put { key, value } => key.len() + value.len(),
        Op::Delete { key } | Op::DeletePrefix { prefix: key } | Op::Trim { prefix: key, .. } => {
            key.len()
        }
    });
    sizes.sum()
}

struct Maker {
    domain: Domain,
    now: Now,
}

impl Maker {
    fn new() -> Self {
        let domain = Domain::new(DomainConfig::default(), rand::make_rng());
        Self { domain, now: Now { moment: Moment::from_millis(0), unix_ms: 1_700_000_000_000 } }
    }

    /// Makes a node with its shadows, and gives back the rows.
    fn make(&mut self, name: &NodeName, n: usize, shadows: usize) -> anyhow::Result<Vec<Op>> {
        let labels = BTreeMap::from([("region".to_owned(), format!("r{}", n % 10))]);
        let mut ops = Vec::new();
        self.act(name, Action::PutNode { labels, tenant: None, pool: None }, &mut ops)?;
        let rng = StdRng::seed_from_u64(n as u64);
        let mut writer = Writer::new(Epoch(n as u128 + 1), WriterConfig::default(), rng);
        for m in 0..shadows {
            let key: ShadowKey = shadow(m).parse()?;
            let change = Change::Put(document(n + m)?);
            let (when, fields) = (Precondition::Any, Vec::new());
            let write = Write { key: key.clone(), change, when, fields };
            self.act(name, Action::Write(write), &mut ops)?;
            writer.put(self.now.moment, &key, document(n + m + 1)?);
        }
        self.meet(name, writer, &mut ops)?;
        Ok(ops)
    }

    /// The site comes, both ends tell each other everything, and it goes.
    fn meet(&mut self, name: &NodeName, mut up: Writer, ops: &mut Vec<Op>) -> anyhow::Result<()> {
        let (session, moment) = (Session(1), self.now.moment);
        let mut down = Reader::new(ReaderConfig::default());
        let mut said = self.act(name, Action::Connected(session), ops)?;
        down.link_up(moment);
        up.link_up(moment);
        loop {
            for (stream, message) in said.drain(..) {
                match stream {
                    Stream::Down => down.receive(moment, &message),
                    Stream::Up => up.receive(moment, &message),
                }
            }
            let next = down.poll_output().map(|output| (Stream::Down, output));
            let next = next.or_else(|| up.poll_output().map(|output| (Stream::Up, output)));
            match next {
                Some((stream, Output::Send(message))) => {
                    let received = Action::Received { session, stream, message, bytes: 1 };
                    said = self.act(name, received, ops)?;
                }
                Some((_, Output::Persist(_) | Output::Deliver(_))) => {}
                None => break,
            }
        }
        if !up.is_in_sync() {
            bail!("the site {name} did not get through");
        }
        self.act(name, Action::Disconnected(session, "done".to_owned()), ops)?;
        Ok(())
    }

    fn enrol(
        &mut self,
        name: &NodeName,
        certificate: CertificateRecord,
    ) -> anyhow::Result<Vec<Op>> {
        let hash = TokenHash::of(&certificate.serial);
        let mut ops = Vec::new();
        let ttl = Duration::from_mins(1);
        self.act(name, Action::AddToken { hash, ttl }, &mut ops)?;
        self.act(name, Action::Enrol { hash, certificate }, &mut ops)?;
        Ok(ops)
    }

    fn act(
        &mut self,
        name: &NodeName,
        action: Action,
        ops: &mut Vec<Op>,
    ) -> anyhow::Result<Vec<(Stream, Message)>> {
        let command = Command { node: name.clone(), action, by: Author::cloud() };
        let done = self.domain.handle(command, self.now)?;
        let mut said = Vec::new();
        for effect in done.effects {
            match effect {
                Effect::Persist(own) => ops.extend(own),
                Effect::Send(topic, payload) => {
                    said.push((topic.stream(), Message::decode(topic.kind, &payload)?));
                }
                Effect::Close(_) | Effect::Admit(..) | Effect::Learnt(..) | Effect::Notify(_) => {}
            }
        }
        Ok(said)
    }
}
