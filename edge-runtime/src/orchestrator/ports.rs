//! The ports of the node on which something listens, as the kernel tells. Reads `/proc/net` and
//! nothing else; where that cannot be read, nothing is known to listen.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use gnomon_schemas::app::{Port, Protocol};

/// The tables of the kernel, and the state in which a socket holds its port for itself.
const TABLES: [(&str, Protocol, &str); 4] = [
    ("/proc/net/tcp", Protocol::Tcp, "0A"),
    ("/proc/net/tcp6", Protocol::Tcp, "0A"),
    ("/proc/net/udp", Protocol::Udp, "07"),
    ("/proc/net/udp6", Protocol::Udp, "07"),
];

/// A socket that holds a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listener {
    pub(super) port: Port,
    pub(super) inode: u64,
}

/// Every socket that holds a port now.
pub(super) fn listeners() -> BTreeSet<Listener> {
    let mut found = BTreeSet::new();
    for (path, protocol, state) in TABLES {
        let text = fs::read_to_string(path).unwrap_or_default();
        found.extend(text.lines().skip(1).filter_map(|line| read(line, protocol, state)));
    }
    found
}

/// What listened before a look at one's own, and still does after it: what came or went meanwhile
/// may well have been one's own.
pub(super) fn steady(before: &BTreeSet<Listener>) -> impl Iterator<Item = Listener> {
    let now = listeners();
    before.iter().copied().filter(move |listener| now.contains(listener))
}

/// The inodes of the sockets that processes have open.
pub(super) fn sockets(pids: impl IntoIterator<Item = i32>) -> BTreeSet<u64> {
    let mut inodes = BTreeSet::new();
    for pid in pids {
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        inodes.extend(links.filter_map(|link| {
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
        }));
    }
    inodes
}

/// A line such as `0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 4242 1 ...`.
fn read(line: &str, protocol: Protocol, wanted: &str) -> Option<Listener> {
    let mut fields = line.split_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    if state != wanted {
        return None;
    }
    let port = NonZeroU16::new(u16::from_str_radix(port, 16).ok()?)?;
    let ip = ip(address)?;
    let host_ip = (!ip.is_unspecified()).then_some(ip);
    Some(Listener { port: Port { container: port, host: Some(port), host_ip, protocol }, inode })
}

/// The kernel writes addresses as words in the order of the machine's bytes.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok();
    let bytes = |word: u32| word.to_ne_bytes();
    match hex.len() {
        8 => Some(Ipv4Addr::from(bytes(word(0)?)).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].map(bytes);
            let all: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(all).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read_and_connections_are_no_listeners() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0";
        let found = read(line, Protocol::Tcp, "0A").unwrap();
        assert_eq!((found.inode, found.port.host.unwrap().get()), (4242, 8080));
        assert_eq!(found.port.host_ip, Some("127.0.0.1".parse().unwrap()));
        assert_eq!(read(&line.replace(" 0A ", " 01 "), Protocol::Tcp, "0A"), None);
        let six = line.replace("0100007F:", "00000000000000000000000000000000:");
        assert_eq!(read(&six, Protocol::Tcp, "0A").unwrap().port.host_ip, None);
        assert_eq!(read("rubbish", Protocol::Tcp, "0A"), None);
    }

    #[test]
    fn a_socket_of_this_process_is_seen_as_its_own_and_only_while_it_is_there() {
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
        let (tcp, udp) = (tcp.unwrap(), udp.unwrap());
        let is_at = |listener: &Listener, port: u16, protocol| {
            listener.port.host.map(NonZeroU16::get) == Some(port)
                && listener.port.protocol == protocol
        };
        let before = listeners();
        let own = sockets([i32::try_from(std::process::id()).unwrap()]);
        for (port, protocol) in [
            (tcp.local_addr().unwrap().port(), Protocol::Tcp),
            (udp.local_addr().unwrap().port(), Protocol::Udp),
        ] {
            let found = before.iter().find(|it| is_at(it, port, protocol)).unwrap();
            assert!(own.contains(&found.inode));
            assert!(steady(&before).any(|it| it == *found));
        }
        let port = tcp.local_addr().unwrap().port();
        drop(tcp);
        assert!(!steady(&before).any(|it| is_at(&it, port, Protocol::Tcp)));
    }
}
