//! An emulated wire between two network namespaces: a TAP device in each, and in between what decides
//! about every packet (`packet`). TCP is the kernel's own here, with real loss. Needs root. Moves
//! packets and time; decides nothing.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tun_rs::{AsyncDevice, DeviceBuilder, Layer};

use super::counters::{Counters, Tally};
use super::packet::{PacketFate, PacketWire};
use super::{Direction, InvalidProfile, Profile, Settings};

/// The largest frame: Ethernet without jumbo frames.
const FRAME: usize = 1_600;
/// Frames under way in one direction, whatever the profile's queue is.
const UNDER_WAY: usize = 16_384;

/// One end of a wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapEnd {
    /// The network namespace, as `ip netns` names it.
    pub namespace: String,
    /// What the device is called there; at most 15 characters.
    pub device: String,
    /// Its address there, such as `10.9.0.1/24`.
    pub address: String,
}

/// What a wire needs to start.
#[derive(Debug, Clone)]
pub struct TapConfig {
    /// The end whose packets go up.
    pub near: TapEnd,
    /// The other one.
    pub far: TapEnd,
    /// How the wire behaves at first.
    pub profile: Profile,
    /// Seeds everything that happens by chance.
    pub seed: u64,
}

/// Why a wire did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartTapError {
    /// The profile makes no link.
    #[error("the wire's profile has a wrong value")]
    Profile(#[from] InvalidProfile),
    /// A device cannot be made.
    #[error("the TAP device {device} cannot be made: are you root, and is there a /dev/net/tun?")]
    Device {
        /// Its name.
        device: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A device cannot be put where it belongs.
    #[error("`{command}` failed: {said}")]
    Ip {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
    /// The program `ip` is not there.
    #[error("the program `ip` cannot be run: install iproute2")]
    NoIp(#[source] io::Error),
}

/// A wire that is there. Dropping it removes it.
#[derive(Debug)]
pub struct TapLink {
    settings: watch::Sender<Settings>,
    tally: Arc<Tally>,
    stop: CancellationToken,
    /// They end with it.
    _tasks: JoinSet<()>,
}

/// What carries the packets of one direction.
struct Carrier {
    direction: Direction,
    from: Arc<AsyncDevice>,
    to: Arc<AsyncDevice>,
    settings: watch::Receiver<Settings>,
    tally: Arc<Tally>,
    wire: PacketWire,
    rng: StdRng,
    began: Instant,
    under_way: VecDeque<(Instant, Vec<u8>)>,
}

impl TapLink {
    /// Makes both devices, puts them into their namespaces and begins to carry packets.
    pub async fn start(config: TapConfig) -> Result<Self, StartTapError> {
        let TapConfig { near, far, profile, seed } = config;
        profile.check()?;
        let near = Arc::new(device(&near).await?);
        let far = Arc::new(device(&far).await?);
        let (settings, changes) = watch::channel(Settings { profile, down: false });
        let (tally, stop) = (Arc::<Tally>::default(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        for (direction, from, to) in
            [(Direction::Up, Arc::clone(&near), Arc::clone(&far)), (Direction::Down, far, near)]
        {
            let own = seed ^ u64::from(direction == Direction::Down);
            let carrier = Carrier {
                direction,
                from,
                to,
                settings: changes.clone(),
                tally: Arc::clone(&tally),
                wire: PacketWire::default(),
                rng: StdRng::seed_from_u64(own),
                began: Instant::now(),
                under_way: VecDeque::new(),
            };
            let stop = stop.clone();
            tasks.spawn(async move {
                if let Some(Err(error)) = stop.run_until_cancelled(carrier.run()).await {
                    tracing::error!(%error, ?direction, "the wire is broken");
                }
            });
        }
        Ok(Self { settings, tally, stop, _tasks: tasks })
    }

    /// The profile in force.
    pub fn profile(&self) -> Profile {
        self.settings.borrow().profile.clone()
    }

    /// Changes how the wire behaves. What is on its way arrives as it was going to.
    pub fn set_profile(&self, profile: Profile) -> Result<(), InvalidProfile> {
        profile.check()?;
        self.settings.send_modify(|settings| settings.profile = profile);
        Ok(())
    }

    /// Takes the wire down, or up again: meanwhile every packet is lost.
    pub fn set_down(&self, is_down: bool) {
        self.settings.send_modify(|settings| settings.down = is_down);
    }

    /// Whether it has been taken down.
    pub fn is_down(&self) -> bool {
        self.settings.borrow().down
    }

    /// What it has counted so far; a packet that is lost counts as a stall.
    pub fn counters(&self) -> Counters {
        self.tally.read()
    }
}

impl Drop for TapLink {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Carrier {
    async fn run(mut self) -> io::Result<()> {
        let mut frame = vec![0; FRAME];
        loop {
            let due = self.under_way.front().map(|(at, _)| *at);
            tokio::select! {
                // What is due goes first: a sender that floods must not hold it up.
                biased;
                () = until(due) => {
                    if let Some((_, frame)) = self.under_way.pop_front() {
                        self.deliver(&frame).await?;
                    }
                }
                read = self.from.recv(&mut frame) => {
                    let length = read?;
                    self.take(frame.get(..length).unwrap_or_default());
                }
            }
        }
    }

    fn take(&mut self, frame: &[u8]) {
        let sent = match self.direction {
            Direction::Up => &self.tally.bytes_up,
            Direction::Down => &self.tally.bytes_down,
        };
        sent.add(frame.len() as u64);
        let Settings { profile, down } = self.settings.borrow().clone();
        let now = self.began.elapsed();
        let fate = if down || self.under_way.len() >= UNDER_WAY {
            PacketFate::Lost
        } else {
            self.wire.send(now, self.direction, frame.len(), &profile, &mut self.rng)
        };
        match fate {
            PacketFate::Deliver(at) => {
                self.under_way.push_back((self.began + at, frame.to_vec()));
            }
            PacketFate::Lost | PacketFate::Overflow => {
                self.tally.stalls.add(1);
                self.tally.bytes_lost.add(frame.len() as u64);
            }
        }
    }

    /// A device that takes nothing just now loses the packet, as any does.
    async fn deliver(&self, frame: &[u8]) -> io::Result<()> {
        match self.to.send(frame).await {
            Ok(_) => Ok(()),
            Err(error) if is_passing(&error) => {
                self.tally.bytes_lost.add(frame.len() as u64);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// A device that is not up yet, or has no room.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code)
        if code == nix::errno::Errno::EIO as i32 || code == nix::errno::Errno::ENOBUFS as i32)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Makes a device and puts it into its namespace.
async fn device(end: &TapEnd) -> Result<AsyncDevice, StartTapError> {
    let TapEnd { namespace, device, address } = end;
    let made = DeviceBuilder::new().name(device).layer(Layer::L2).build_async();
    let made = made.map_err(|source| StartTapError::Device { device: device.clone(), source })?;
    ip(&["link", "set", device, "netns", namespace]).await?;
    ip(&["-n", namespace, "addr", "add", address, "dev", device]).await?;
    ip(&["-n", namespace, "link", "set", device, "up"]).await?;
    Ok(made)
}

async fn ip(args: &[&str]) -> Result<(), StartTapError> {
    let output = Command::new("ip").args(args).output().await.map_err(StartTapError::NoIp)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(StartTapError::Ip { command: format!("ip {}", args.join(" ")), said })
}
