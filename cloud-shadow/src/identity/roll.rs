//! Which certificates let a node in: those that were given to it since it was made. So a node that
//! is deleted and made again under its name does not let its old certificate in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use gnomon_broker::{
    AuthError, Authenticator, CertificateAuthenticator, CertificateSubject, Credentials, Principal,
    Role,
};
use gnomon_schemas::hex;
use gnomon_schemas::id::NodeName;

/// The serial numbers, in hexadecimal, of every node's certificates; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Roll {
    // A lock, because the core writes what the broker's connections read; held for one look.
    serials: Arc<RwLock<BTreeMap<NodeName, BTreeSet<String>>>>,
    /// What nodes that have several certificates have shown since somebody asked.
    shown: Arc<Mutex<BTreeMap<NodeName, String>>>,
}

impl Roll {
    /// From now on the node is let in with these certificates and with no others.
    pub fn admit<'a>(&self, node: &NodeName, serials: impl IntoIterator<Item = &'a str>) {
        let serials: BTreeSet<_> = serials.into_iter().map(digits).collect();
        let mut all = self.serials.write().unwrap_or_else(PoisonError::into_inner);
        if serials.is_empty() {
            self.take_shown(node);
            all.remove(node);
        } else {
            all.insert(node.clone(), serials);
        }
    }

    /// The node, and its serial number, of a certificate that is on the roll.
    pub fn recognize(&self, shown: &CertificateSubject) -> Option<(NodeName, String)> {
        let is_nodes = shown.unit == "node" && self.knows(&shown.common_name, &shown.serial);
        let node = shown.common_name.parse().ok().filter(|_| is_nodes)?;
        Some((node, digits(&hex::of(&shown.serial))))
    }

    /// The certificate that a node has connected with, if it has several and this was not asked
    /// before.
    pub fn take_shown(&self, node: &NodeName) -> Option<String> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).remove(node)
    }

    /// Notes what a node with several certificates shows.
    fn note(&self, node: &str, serial: &[u8]) {
        let Ok(node) = node.parse::<NodeName>() else { return };
        let all = self.serials.read().unwrap_or_else(PoisonError::into_inner);
        if all.get(&node).is_some_and(|serials| serials.len() > 1) {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.insert(node, digits(&hex::of(serial)));
        }
    }

    fn knows(&self, node: &str, serial: &[u8]) -> bool {
        let all = self.serials.read().unwrap_or_else(PoisonError::into_inner);
        let serials = node.parse().ok().and_then(|node: NodeName| all.get(&node));
        serials.is_some_and(|serials| serials.contains(&digits(&hex::of(serial))))
    }
}

impl Authenticator for Roll {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        let principal = CertificateAuthenticator.authenticate(credentials)?;
        let shown = credentials.certificate.filter(|_| principal.role == Role::Node);
        match shown {
            Some(shown) if self.knows(&principal.name, &shown.serial) => {
                self.note(&principal.name, &shown.serial);
                Ok(principal)
            }
            Some(_) | None => Err(AuthError::NotAuthorized),
        }
    }
}

/// A serial number is a number: leading zeros do not count.
fn digits(serial: &str) -> String {
    serial.trim_start_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(roll: &Roll, unit: &str, serial: &[u8]) -> bool {
        let certificate = CertificateSubject {
            common_name: "site-1".to_owned(),
            unit: unit.to_owned(),
            serial: serial.to_vec(),
            ..CertificateSubject::default()
        };
        let certificate = Some(&certificate);
        let credentials =
            Credentials { certificate, username: None, password: None, client_id: "" };
        roll.authenticate(&credentials).is_ok()
    }

    #[test]
    fn only_certificates_on_the_roll_let_a_node_in() {
        let (roll, node) = (Roll::default(), "site-1".parse().unwrap());
        assert!(!shows(&roll, "node", &[0x0a, 0xbc]));
        roll.admit(&node, ["00000abc", "0def"]);
        assert!(shows(&roll, "node", &[0x0a, 0xbc]) && shows(&roll, "node", &[0, 0x0d, 0xef]));
        assert!(!shows(&roll, "node", &[0x0a, 0xbd]) && !shows(&roll, "service", &[0x0a, 0xbc]));
        roll.admit(&node, []);
        assert!(!shows(&roll, "node", &[0x0a, 0xbc]));
    }
}
