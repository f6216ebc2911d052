//! Messages and connections: what leaves, what arrives, who believes in which connection.

use gnomon_schemas::topic::{Heading, Stream};
use gnomon_schemas::wire::Message;

use super::channel::Item;
use super::event::{Machine, Pick, Role};
use super::network::Packet;
use super::violation::{Invariant, Violation, ensure};
use super::{Site, World, wording};

impl World {
    /// A shell carries out a machine's next effect.
    pub(super) fn effect(&mut self, machine: Machine) -> Result<(), Violation> {
        let Machine { site, stream, role } = machine;
        let channel = self.site(site).channel_mut(stream);
        match channel.next_effect(role) {
            None | Some(Item::Write(..)) => Ok(()),
            Some(Item::Answer(key, version)) => {
                channel.ledger.answered(&key, version)?;
                self.tally.answers += 1;
                self.tell(|| format!("    {machine} answers {key} v{version}"));
                Ok(())
            }
            Some(Item::Deliver(epoch, news)) => {
                channel.follower.told(epoch, &news)?;
                self.tally.deliveries += 1;
                self.tell(|| format!("    {machine} delivers {}", wording::delivery(&news)));
                Ok(())
            }
            Some(Item::Send(message)) => {
                channel.check_send(&message)?;
                self.send(machine, &message)
            }
        }
    }

    fn send(&mut self, machine: Machine, message: &Message) -> Result<(), Violation> {
        let heading = Packet::heading(machine.stream, message.kind());
        let is_its_own = match machine.role {
            Role::Writer => message.kind().is_from_writer(),
            Role::Reader => !message.kind().is_from_writer(),
        };
        ensure(is_its_own, Invariant::Cost, || format!("{machine} sends {message:?}"))?;
        self.tell(|| format!("    {machine} sends {}", wording::message(message)));
        let link = &mut self.site(machine.site).link;
        let Some(session) = link.way(heading) else {
            self.tally.lost += 1;
            return Ok(());
        };
        let packet = Packet::new(session, machine.stream, message);
        let length = packet.bytes.len();
        link.send(heading, packet.clone());
        self.log(packet);
        self.tally.messages += 1;
        self.tally.bytes += length as u64;
        Ok(())
    }

    /// The message that a pick means, if any is under way.
    fn pick(&mut self, pick: Pick) -> Option<usize> {
        let in_order = self.setup.in_order;
        let count = self.site(pick.site).link.packets(pick.heading).len();
        let at = if in_order { 0 } else { usize::from(pick.at) };
        (count > 0).then(|| at % count)
    }

    pub(super) fn lose(&mut self, pick: Pick) {
        if let Some(at) = self.pick(pick) {
            self.site(pick.site).link.packets_mut(pick.heading).remove(at);
            self.tally.lost += 1;
        }
    }

    pub(super) fn damage(&mut self, pick: Pick) {
        if let Some(at) = self.pick(pick) {
            self.site(pick.site).link.packets_mut(pick.heading)[at].damage();
            self.tally.damaged += 1;
        }
    }

    pub(super) fn arrive(&mut self, pick: Pick, stays: bool) -> Result<(), Violation> {
        let Some(at) = self.pick(pick) else { return Ok(()) };
        let packets = self.site(pick.site).link.packets_mut(pick.heading);
        let packet = if stays { packets[at].clone() } else { packets.remove(at) };
        self.tally.repeated += u64::from(stays);
        let decoded = Message::decode(packet.kind, &packet.bytes);
        let message = decoded.map_err(|error| Violation {
            invariant: Invariant::Convergence,
            what: format!("a machine's own message cannot be read: {error}"),
        })?;
        self.tell(|| format!("    arrives: {}", wording::message(&message)));
        if !self.accepts(pick, &packet)? {
            self.tally.lost += 1;
            return Ok(());
        }
        self.tally.arrived += 1;
        let role = if packet.kind.is_from_writer() { Role::Reader } else { Role::Writer };
        let machine = Machine { site: pick.site, stream: packet.stream, role };
        let now = self.clock(machine.node());
        self.site(pick.site).channel_mut(packet.stream).receive(now, &message)
    }

    /// Whether a shell gives the message to its machine; the first message of a new connection
    /// tells the cloud's reader that the link is up, as only then it can be heard.
    fn accepts(&mut self, pick: Pick, packet: &Packet) -> Result<bool, Violation> {
        let strays = self.setup.strays;
        let link = &self.site(pick.site).link;
        if pick.heading == Heading::ToSite {
            return Ok(link.site == Some(packet.session) || (strays && link.site.is_some()));
        }
        if link.broker != Some(packet.session) {
            return Ok(strays && link.cloud.is_some());
        }
        if link.cloud != Some(packet.session) {
            self.site(pick.site).link.cloud = Some(packet.session);
            self.raise(pick.site, (Stream::Up, Role::Reader))?;
        }
        Ok(true)
    }

    pub(super) fn connect(&mut self, site: u16, heard: bool) -> Result<(), Violation> {
        let link = &mut self.site(site).link;
        if link.site.is_some() || !link.is_whole() {
            return Ok(());
        }
        link.cloud = None;
        let session = link.connect();
        self.tally.connections += 1;
        self.lower(site, Heading::FromSite)?;
        self.raise(site, (Stream::Down, Role::Writer))?;
        if !heard {
            return Ok(());
        }
        self.site(site).link.site = Some(session);
        for machine in Site::machines_at(Heading::ToSite) {
            self.raise(site, machine)?;
        }
        Ok(())
    }

    pub(super) fn site_hangs_up(&mut self, site: u16) -> Result<(), Violation> {
        self.lower(site, Heading::ToSite)?;
        self.site(site).link.site = None;
        Ok(())
    }

    pub(super) fn broker_hangs_up(&mut self, site: u16) -> Result<(), Violation> {
        self.lower(site, Heading::FromSite)?;
        let link = &mut self.site(site).link;
        link.broker = None;
        link.cloud = None;
        Ok(())
    }

    pub(super) fn broker_restart(&mut self) -> Result<(), Violation> {
        for site in 0..self.setup.sites {
            self.broker_hangs_up(site)?;
            let strays = self.setup.strays;
            for heading in [Heading::ToSite, Heading::FromSite] {
                let packets = self.site(site).link.packets_mut(heading);
                if !strays {
                    packets.clear();
                }
            }
        }
        Ok(())
    }

    /// Tells a machine that the link is up.
    fn raise(&mut self, site: u16, (stream, role): (Stream, Role)) -> Result<(), Violation> {
        let now = self.clock(Machine { site, stream, role }.node());
        self.site(site).channel_mut(stream).link_up(role, now)
    }

    /// Tells the machines at one end that the link is down.
    fn lower(&mut self, site: u16, end: Heading) -> Result<(), Violation> {
        for (stream, role) in Site::machines_at(end) {
            self.site(site).channel_mut(stream).link_down(role)?;
        }
        Ok(())
    }
}
