//! Commits, crashes and replaced disks of one stream's machines.

use gnomon_sync::{Reader, Writer};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{Channel, Item, Truth, fresh_writer};
use crate::world::disk::Disk;
use crate::world::event::Role;
use crate::world::violation::{Invariant, Violation, ensure};

impl Channel {
    /// Makes durable what a machine wants written: its next write, or all of them at once.
    pub(in crate::world) fn commit(&mut self, role: Role, all: bool) -> Result<(), Violation> {
        let mut rows = Vec::new();
        let mut truths = Vec::new();
        let mut done = false;
        self.shell_mut(role).queue.retain_mut(|item| match item {
            Item::Write(changed, truth) if !done => {
                rows.append(changed);
                truths.extend(truth.take());
                done = !all;
                false
            }
            Item::Write(..) | Item::Send(_) | Item::Deliver(..) | Item::Answer(..) => true,
        });
        self.shell_mut(role).disk.commit(rows);
        for truth in truths {
            match truth {
                Truth::Writer(entry) => self.ledger.committed(entry)?,
                Truth::Reader(standing) => self.follower.committed(standing),
            }
        }
        Ok(())
    }

    /// The commit failed: the machine is dropped and started from the disk; what came before the
    /// write may still be done.
    pub(in crate::world) fn refuse(&mut self, role: Role) -> Result<(), Violation> {
        let mut refused = false;
        self.shell_mut(role).queue.retain(|item| {
            refused |= matches!(item, Item::Write(..));
            !refused
        });
        self.start(role)
    }

    /// The process dies and starts again from the disk.
    pub(in crate::world) fn restart(&mut self, role: Role) -> Result<(), Violation> {
        self.shell_mut(role).queue.clear();
        self.start(role)
    }

    fn start(&mut self, role: Role) -> Result<(), Violation> {
        let unreadable = |error: gnomon_sync::RestoreError| Violation {
            invariant: Invariant::NoLoss,
            what: format!("own rows cannot be read back: {error}"),
        };
        match role {
            Role::Writer => {
                self.conduct.restarted();
                let rng = StdRng::from_rng(&mut self.rng);
                let rows = self.writer_shell.disk.read();
                let restored = Writer::restore(rows, self.writer_config, rng);
                if let Some(writer) = restored.map_err(unreadable)? {
                    self.writer = writer;
                    self.ledger.restarted(&self.writer)
                } else {
                    self.start_fresh_writer()
                }
            }
            Role::Reader => {
                let restored = Reader::restore(self.reader_shell.disk.read(), self.reader_config);
                let reader = restored.map_err(unreadable)?;
                self.reader = reader.unwrap_or_else(|| Reader::new(self.reader_config));
                self.follower.restarted(&self.reader, &self.ledger)
            }
        }
    }

    fn start_fresh_writer(&mut self) -> Result<(), Violation> {
        ensure(self.ledger.durable_halves().next().is_none(), Invariant::NoLoss, || {
            "the disk has rows, and the writer starts without".to_owned()
        })?;
        self.writer = fresh_writer(&mut self.rng, self.writer_config);
        self.ledger.live.clear();
        let entry = self.ledger.noticed(&self.writer);
        self.collect(entry)
    }

    /// The machine's disk is replaced by an empty one.
    pub(in crate::world) fn wipe(&mut self, role: Role) -> Result<(), Violation> {
        self.shell_mut(role).disk = Disk::default();
        match role {
            Role::Writer => self.ledger.replaced(None),
            Role::Reader => {
                self.reader_was_replaced = true;
                self.follower.replaced(None);
            }
        }
        self.restart(role)
    }

    /// Someone copies the machine's disk.
    pub(in crate::world) fn back_up(&mut self, role: Role) {
        let disk = self.shell(role).disk.clone();
        match role {
            Role::Writer => self.backups.writer = Some((disk, self.ledger.copy())),
            Role::Reader => self.backups.reader = Some((disk, self.follower.durable.clone())),
        }
    }

    /// Someone puts the copy back; a writer then begins a new epoch, which is durable before
    /// anything else happens.
    pub(in crate::world) fn restore_backup(&mut self, role: Role) -> Result<(), Violation> {
        match role {
            Role::Writer => {
                let Some((disk, copy)) = self.backups.writer.clone() else { return Ok(()) };
                self.writer_shell.disk = disk;
                self.ledger.replaced(Some(&copy));
                self.restart(role)?;
                self.writer.begin_epoch();
                let entry = self.ledger.noticed(&self.writer);
                self.collect(entry)?;
                self.commit(role, true)
            }
            Role::Reader => {
                let Some((disk, standing)) = self.backups.reader.clone() else { return Ok(()) };
                self.reader_shell.disk = disk;
                self.reader_was_replaced = true;
                self.follower.replaced(Some(standing));
                self.restart(role)
            }
        }
    }
}
