//! Users and groups of the host.

use nix::unistd::{Gid, Group, Uid, User};
use serde::{Deserialize, Serialize};

use super::ProcessError;

/// The user and group that a service runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    /// Looks up `user[:group]`, each a name or a number. Without a group it is the user's, or for
    /// a number that the machine does not know, group 0 as in a container.
    pub(super) fn find(text: &str) -> Result<Self, ProcessError> {
        let unknown = |name: &str| ProcessError::NoSuchUser(name.to_owned());
        let (user, group) = text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g)));
        let known = match user.parse() {
            Ok(uid) => User::from_uid(Uid::from_raw(uid)),
            Err(_) => User::from_name(user),
        };
        let known = known.ok().flatten();
        let uid = user.parse().ok().or(known.as_ref().map(|user| user.uid.as_raw()));
        let gid = match group {
            None => Some(known.map_or(0, |user| user.gid.as_raw())),
            Some(group) => group.parse().ok().or_else(|| gid_of(group)),
        };
        let uid = uid.ok_or_else(|| unknown(user))?;
        Ok(Self { uid, gid: gid.ok_or_else(|| unknown(group.unwrap_or_default()))? })
    }
}

fn gid_of(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| Gid::as_raw(group.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found_and_strangers_are_not() {
        assert_eq!(Owner::find("root").unwrap(), Owner { uid: 0, gid: 0 });
        assert_eq!(Owner::find("4242:77").unwrap(), Owner { uid: 4242, gid: 77 });
        assert_eq!(Owner::find("4242").unwrap(), Owner { uid: 4242, gid: 0 });
        let error = Owner::find("nobody-at-all").unwrap_err().to_string();
        assert_eq!(error, "there is no user or group nobody-at-all on this machine");
        assert!(Owner::find("0:nothing-at-all").is_err());
    }
}
