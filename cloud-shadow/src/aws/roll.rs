//! Which certificates let a thing in: those that were issued to it and not revoked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use gnomon_broker::{
    AuthError, Authenticator, CertificateAuthenticator, CertificateSubject, Credentials, Principal,
    Role,
};
use gnomon_schemas::id::DeviceName;

/// The serial numbers of every thing's certificates; clones share them. It decides about
/// certificates of things (OU `device`) and knows no other credentials.
#[derive(Debug, Clone, Default)]
pub struct ThingRoll {
    // A lock, because the core writes what the broker's connections read; held for one look.
    serials: Arc<RwLock<BTreeMap<DeviceName, BTreeSet<u128>>>>,
}

impl ThingRoll {
    /// From now on the thing is let in with these certificates and with no others; whether one
    /// that was good is not any more.
    pub fn admit<'a>(
        &self,
        thing: &DeviceName,
        serials: impl IntoIterator<Item = &'a str>,
    ) -> bool {
        let read = |serial: &str| u128::from_str_radix(serial, 16).ok();
        let serials: BTreeSet<_> = serials.into_iter().filter_map(read).collect();
        let mut all = self.serials.write().unwrap_or_else(PoisonError::into_inner);
        let takes_away = all.get(thing).is_some_and(|before| !before.is_subset(&serials));
        if serials.is_empty() {
            all.remove(thing);
        } else {
            all.insert(thing.clone(), serials);
        }
        takes_away
    }

    /// The thing whose certificate this is, if it is let in with it.
    pub fn recognize(&self, shown: &CertificateSubject) -> Option<DeviceName> {
        let certificate = Some(shown);
        let (username, password, client_id) = (None, None, "");
        let shown = Credentials { certificate, username, password, client_id };
        self.authenticate(&shown).ok()?.name.parse().ok()
    }

    /// Whether a thing is let in with the certificate that has this serial number.
    pub fn knows(&self, thing: &DeviceName, serial: &[u8]) -> bool {
        let zeros = serial.iter().take_while(|byte| **byte == 0).count();
        let digits = serial.get(zeros..).unwrap_or_default();
        if digits.len() > size_of::<u128>() {
            return false;
        }
        let number = digits.iter().fold(0, |number: u128, byte| number << 8 | u128::from(*byte));
        let all = self.serials.read().unwrap_or_else(PoisonError::into_inner);
        all.get(thing).is_some_and(|serials| serials.contains(&number))
    }
}

impl Authenticator for ThingRoll {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        let Some(shown) = credentials.certificate else { return Err(AuthError::Unknown) };
        match CertificateAuthenticator.authenticate(credentials) {
            Ok(thing) if thing.role == Role::Device => {
                let is_known = self.still_admits(&thing, Some(shown));
                if is_known { Ok(thing) } else { Err(AuthError::NotAuthorized) }
            }
            Ok(_) | Err(_) => Err(AuthError::Unknown),
        }
    }

    fn still_admits(
        &self,
        principal: &Principal,
        certificate: Option<&CertificateSubject>,
    ) -> bool {
        let name = (principal.role == Role::Device).then(|| principal.name.parse());
        match (name, certificate) {
            (Some(Ok(thing)), Some(shown)) => self.knows(&thing, &shown.serial),
            (Some(Err(_)), Some(_)) => false,
            (_, None) | (None, _) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_let_in_with_what_was_issued_to_it() {
        let (roll, thing) = (ThingRoll::default(), "pump:7".parse().unwrap());
        let shows = |unit: &str, serial: &[u8]| {
            let certificate = CertificateSubject {
                common_name: "pump:7".to_owned(),
                unit: unit.to_owned(),
                serial: serial.to_vec(),
                ..CertificateSubject::default()
            };
            let certificate = Some(&certificate);
            let username = Some("?SDK=PythonV2");
            roll.authenticate(&Credentials { certificate, username, password: None, client_id: "" })
        };
        assert_eq!(shows("device", &[0x0a]), Err(AuthError::NotAuthorized));
        assert!(!roll.admit(&thing, ["000a"]));
        assert_eq!(shows("device", &[0, 0x0a]), Ok(Principal::new("pump:7", Role::Device)));
        assert_eq!(shows("device", &[0x0b]), Err(AuthError::NotAuthorized));
        assert_eq!(shows("device", &[1; 40]), Err(AuthError::NotAuthorized));
        assert_eq!(shows("node", &[0x0a]), Err(AuthError::Unknown));
        assert!(roll.admit(&thing, []), "it took one away");
        assert_eq!(shows("device", &[0x0a]), Err(AuthError::NotAuthorized));
    }
}
