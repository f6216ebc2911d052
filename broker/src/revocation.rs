//! Identities that are not let in any more. Pure.

use std::collections::BTreeSet;

use crate::principal::Principal;

/// An identity that is no longer trusted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revocation {
    /// Whoever proves to be this principal, by whatever means.
    Principal(Principal),
    /// Whoever shows the certificate with this serial number (big-endian; leading zeros do not
    /// matter).
    Serial(Vec<u8>),
}

/// The revocations that hold.
#[derive(Debug, Default)]
pub(crate) struct DenyList {
    principals: BTreeSet<Principal>,
    serials: BTreeSet<Vec<u8>>,
}

impl Revocation {
    /// Whether it is about a client.
    pub(crate) fn concerns(&self, principal: &Principal, serial: Option<&[u8]>) -> bool {
        match self {
            Self::Principal(revoked) => revoked == principal,
            Self::Serial(revoked) => serial.is_some_and(|s| digits(s) == digits(revoked)),
        }
    }
}

impl DenyList {
    /// Adds a revocation.
    pub(crate) fn insert(&mut self, revocation: Revocation) {
        match revocation {
            Revocation::Principal(principal) => self.principals.insert(principal),
            Revocation::Serial(serial) => self.serials.insert(digits(&serial).to_vec()),
        };
    }

    /// Takes a revocation back; `false` if it did not hold.
    pub(crate) fn remove(&mut self, revocation: &Revocation) -> bool {
        match revocation {
            Revocation::Principal(principal) => self.principals.remove(principal),
            Revocation::Serial(serial) => self.serials.remove(digits(serial)),
        }
    }

    /// Whether a client is to be turned away.
    pub(crate) fn denies(&self, principal: &Principal, serial: Option<&[u8]>) -> bool {
        self.principals.contains(principal)
            || serial.is_some_and(|serial| self.serials.contains(digits(serial)))
    }
}

fn digits(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Role;

    #[test]
    fn a_revocation_is_about_one_principal_or_one_certificate() {
        let site = |name| Principal::new(name, Role::Node);
        let mut list = DenyList::default();
        assert!(!list.denies(&site("a"), Some(&[1])));
        list.insert(Revocation::Principal(site("a")));
        list.insert(Revocation::Serial(vec![0, 0x80, 1]));
        assert!(list.denies(&site("a"), None));
        assert!(!list.denies(&Principal::new("a", Role::Device), None));
        assert!(list.denies(&site("b"), Some(&[0x80, 1])));
        assert!(!list.denies(&site("b"), Some(&[0x80, 2])));
        assert!(!list.denies(&site("b"), None));
        assert!(list.remove(&Revocation::Principal(site("a"))));
        assert!(!list.denies(&site("a"), None));
    }
}
