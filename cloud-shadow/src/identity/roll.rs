//! Which certificates let a node in: those that were given to it since it was made. So a node that
//! is deleted and made again under its name does not let its old certificate in. After a backup was
//! put back also those that were given since it was made, and that the store learns when they are
//! shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use gnomon_broker::{
    AuthError, Authenticator, CertificateAuthenticator, CertificateSubject, Credentials, Principal,
    Role,
};
use gnomon_schemas::hex;
use gnomon_schemas::id::NodeName;
use tokio::sync::Notify;

use super::authority::{pem_and_key, validity};
use super::window::{self, Windows};
use crate::domain::Admission;
use crate::quiet::Quiet;
use crate::rows::CertificateRecord;

/// The serial numbers, in hexadecimal, of every node's certificates; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Roll {
    // A lock, because the core writes what the broker's connections read; held for one look.
    nodes: Arc<RwLock<BTreeMap<NodeName, Entry>>>,
    /// What nodes that have several certificates have shown since somebody asked.
    shown: Arc<Mutex<BTreeMap<NodeName, String>>>,
    /// What nodes were let in with that the store does not know yet.
    unlisted: Arc<Mutex<BTreeMap<NodeName, Unlisted>>>,
    windows: Arc<Windows>,
    strangers: Arc<Strangers>,
}

/// Nodes that the backup does not know, and that have knocked.
#[derive(Debug, Default)]
struct Strangers {
    waiting: Mutex<BTreeMap<NodeName, Stranger>>,
    came: Notify,
    quiet: Mutex<Quiet>,
}

/// A node with a certificate of the own authority that was made after the backup was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// What its certificate calls it.
    pub node: NodeName,
    /// The SHA-256 of its key, in hexadecimal.
    pub key: String,
    /// Its certificate, in PEM.
    pub pem: String,
}

/// The most that are remembered until somebody asks.
const STRANGERS: usize = 100;

#[derive(Debug)]
struct Entry {
    serials: BTreeSet<String>,
    void_s: u64,
}

/// A certificate that is good although the store does not know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlisted {
    /// What the store is to learn.
    pub certificate: CertificateRecord,
    /// When it was made, in seconds since 1970.
    pub issued_s: u64,
}

/// Whose a certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognized {
    /// The node.
    pub node: NodeName,
    /// Its serial number.
    pub serial: String,
    /// If the store does not know it.
    pub unlisted: Option<Unlisted>,
}

impl Roll {
    /// A roll without nodes; certificates that were made in the windows are good also if it does
    /// not have them.
    pub fn new(windows: Windows) -> Self {
        Self { windows: Arc::new(windows), ..Self::default() }
    }

    /// From now on the node is let in with these certificates and with no others; whether one
    /// that was good is not any more.
    pub fn admit(&self, node: &NodeName, admission: &Admission) -> bool {
        let serials: BTreeSet<_> = admission.serials.iter().map(|serial| digits(serial)).collect();
        let mut all = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        if serials.is_empty() {
            self.take_shown(node);
        }
        let takes_away = all.get(node).is_some_and(|entry| {
            !entry.serials.is_subset(&serials) || Some(entry.void_s) != admission.void_s
        });
        match admission.void_s {
            Some(void_s) => drop(all.insert(node.clone(), Entry { serials, void_s })),
            None => drop(all.remove(node)),
        }
        takes_away
    }

    /// Whether the store knows this certificate of a node, by its serial number.
    pub fn lists(&self, node: &NodeName, serial: &[u8]) -> bool {
        let all = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        all.get(node).is_some_and(|entry| entry.serials.contains(&digits(&hex::of(serial))))
    }

    /// The node of a certificate that lets it in.
    pub fn recognize(&self, shown: &CertificateSubject) -> Option<Recognized> {
        let node: NodeName = shown.common_name.parse().ok().filter(|_| shown.unit == "node")?;
        let serial = digits(&hex::of(&shown.serial));
        let void_s = {
            let all = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
            let entry = all.get(&node);
            if entry.is_some_and(|entry| entry.serials.contains(&serial)) {
                return Some(Recognized { node, serial, unlisted: None });
            }
            entry.map(|entry| entry.void_s)
        };
        let unlisted = self.unlisted_of(shown, &serial, void_s.unwrap_or_default())?;
        if void_s.is_none() {
            self.stays_out(&node, shown);
            return None;
        }
        Some(Recognized { node, serial, unlisted: Some(unlisted) })
    }

    /// The certificate that a node has connected with, if it has several and this was not asked
    /// before.
    pub fn take_shown(&self, node: &NodeName) -> Option<String> {
        lock(&self.shown).remove(node)
    }

    /// The certificate that a node has connected with, if the store does not know it and this was
    /// not asked before.
    pub fn take_unlisted(&self, node: &NodeName) -> Option<Unlisted> {
        lock(&self.unlisted).remove(node)
    }

    fn unlisted_of(
        &self,
        shown: &CertificateSubject,
        serial: &str,
        void_s: u64,
    ) -> Option<Unlisted> {
        if self.windows.is_empty() {
            return None;
        }
        let (not_before_s, not_after_s) = validity(&shown.der)?;
        let issued_s = window::issued_s(not_before_s, not_after_s);
        let certificate =
            CertificateRecord { serial: format!("{serial:0>32}"), not_after_s, replaces: None };
        self.windows.admit(issued_s, void_s).then_some(Unlisted { certificate, issued_s })
    }

    /// Notes what a node shows of which the core wants to know.
    fn note(&self, recognized: Recognized) {
        let Recognized { node, serial, unlisted } = recognized;
        if let Some(unlisted) = unlisted {
            lock(&self.unlisted).insert(node, unlisted);
            return;
        }
        let all = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        if all.get(&node).is_some_and(|entry| entry.serials.len() > 1) {
            lock(&self.shown).insert(node, serial);
        }
    }

    /// The next node that was made after the backup, and knocks.
    pub async fn stranger(&self) -> Stranger {
        loop {
            if let Some((_, stranger)) = lock(&self.strangers.waiting).pop_first() {
                return stranger;
            }
            self.strangers.came.notified().await;
        }
    }

    fn stays_out(&self, node: &NodeName, shown: &CertificateSubject) {
        if let Some(unsaid) = lock(&self.strangers.quiet).speak() {
            tracing::warn!(%node, unsaid, "a node that the backup does not know stays out");
        }
        let Some((pem, key)) = pem_and_key(&shown.der) else { return };
        let mut waiting = lock(&self.strangers.waiting);
        if waiting.len() < STRANGERS {
            waiting.insert(node.clone(), Stranger { node: node.clone(), key, pem });
            self.strangers.came.notify_one();
        }
    }
}

impl Authenticator for Roll {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        let principal = CertificateAuthenticator.authenticate(credentials)?;
        let shown = credentials.certificate.filter(|_| principal.role == Role::Node);
        let recognized = shown.and_then(|shown| self.recognize(shown));
        self.note(recognized.ok_or(AuthError::NotAuthorized)?);
        Ok(principal)
    }

    fn still_admits(
        &self,
        principal: &Principal,
        certificate: Option<&CertificateSubject>,
    ) -> bool {
        principal.role != Role::Node
            || certificate.is_some_and(|shown| self.recognize(shown).is_some())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A serial number is a number: leading zeros do not count.
fn digits(serial: &str) -> String {
    serial.trim_start_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::super::Identity;
    use super::super::window::Window;
    use super::*;

    fn lets_in(roll: &Roll, shown: &CertificateSubject) -> bool {
        let certificate = Some(shown);
        let credentials =
            Credentials { certificate, username: None, password: None, client_id: "" };
        roll.authenticate(&credentials).is_ok()
    }

    fn shows(roll: &Roll, unit: &str, serial: &[u8]) -> bool {
        let certificate = CertificateSubject {
            common_name: "site-1".to_owned(),
            unit: unit.to_owned(),
            serial: serial.to_vec(),
            ..CertificateSubject::default()
        };
        lets_in(roll, &certificate)
    }

    fn with(serials: &[&str], void_s: Option<u64>) -> Admission {
        Admission { serials: serials.iter().map(|&serial| serial.to_owned()).collect(), void_s }
    }

    #[test]
    fn only_certificates_on_the_roll_let_a_node_in() {
        let (roll, node) = (Roll::default(), "site-1".parse().unwrap());
        assert!(!shows(&roll, "node", &[0x0a, 0xbc]));
        roll.admit(&node, &with(&["00000abc", "0def"], Some(0)));
        assert!(shows(&roll, "node", &[0x0a, 0xbc]) && shows(&roll, "node", &[0, 0x0d, 0xef]));
        assert!(!shows(&roll, "node", &[0x0a, 0xbd]) && !shows(&roll, "service", &[0x0a, 0xbc]));
        roll.admit(&node, &with(&[], Some(0)));
        assert!(!shows(&roll, "node", &[0x0a, 0xbc]));
        roll.admit(&node, &with(&[], None));
        assert!(!shows(&roll, "node", &[0x0a, 0xbc]));
    }

    #[test]
    fn who_was_let_in_a_moment_ago_is_let_in_no_more_once_it_is_shut_out() {
        let (roll, node) = (Roll::default(), "site-1".parse().unwrap());
        let shown = CertificateSubject {
            common_name: "site-1".to_owned(),
            unit: "node".to_owned(),
            serial: vec![0, 0x0a],
            ..CertificateSubject::default()
        };
        let (is_node, is_thing) =
            (Principal::new("site-1", Role::Node), Principal::new("site-1", Role::Device));
        assert!(!roll.admit(&node, &with(&["0a"], Some(0))), "nothing was good before");
        assert!(lets_in(&roll, &shown) && roll.still_admits(&is_node, Some(&shown)));
        assert!(!roll.admit(&node, &with(&["0a", "0b"], Some(0))));
        assert!(roll.admit(&node, &with(&["0b"], Some(0))) && !roll.lists(&node, &[0x0a]));
        assert!(!roll.still_admits(&is_node, Some(&shown)) && roll.lists(&node, &[0, 0x0b]));
        assert!(!roll.still_admits(&is_node, None) && roll.still_admits(&is_thing, None));
        assert!(roll.admit(&node, &with(&["0b"], Some(7))), "unlisted ones may be void by that");
        assert!(roll.admit(&node, &with(&[], None)) && !roll.lists(&node, &[0x0b]));
    }

    /// A certificate of `site-1` that is made at this second, for 90 days.
    fn made_at(identity: &Identity, now_s: u64) -> CertificateSubject {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let (now, life) = (Duration::from_secs(now_s), Duration::from_hours(90 * 24));
        let node = "site-1".parse().unwrap();
        let signed = identity.authority.sign_node(&node, &request, now, life).unwrap();
        let der = CertificateDer::from_pem_slice(signed.pem.as_bytes()).unwrap();
        CertificateSubject::from_der(&der).unwrap()
    }

    #[test]
    fn after_a_restore_a_node_is_let_in_with_what_it_got_since_the_backup() {
        const BACKUP: u64 = 1_800_000_000;
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::open(dir.path(), &[], Duration::from_secs(BACKUP)).unwrap();
        let mut windows = Windows::default();
        windows.add(Window { from_s: BACKUP, until_s: BACKUP + 1000 });
        let (roll, node) = (Roll::new(windows), "site-1".parse().unwrap());
        let renewed = made_at(&identity, BACKUP + 10);
        assert!(!lets_in(&roll, &renewed), "the backup does not know the node");
        roll.admit(&node, &with(&["0a"], Some(0)));
        assert!(lets_in(&roll, &renewed));
        let unlisted = roll.take_unlisted(&node).unwrap();
        assert_eq!(unlisted.issued_s, BACKUP + 10);
        assert_eq!(digits(&unlisted.certificate.serial), digits(&hex::of(&renewed.serial)));
        assert!(shows(&roll, "node", &[0x0a]) && roll.take_unlisted(&node).is_none());
        for earlier_or_later in [BACKUP - 1, BACKUP + 1001] {
            assert!(!lets_in(&roll, &made_at(&identity, earlier_or_later)));
        }
        let of_a_thing = CertificateSubject { unit: "device".to_owned(), ..renewed.clone() };
        assert!(!lets_in(&roll, &of_a_thing));
        roll.admit(&node, &with(&["0a"], Some(BACKUP + 10)));
        assert!(!lets_in(&roll, &renewed), "what was decided later makes it void");
    }
}
