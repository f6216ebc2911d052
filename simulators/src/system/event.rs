//! Everything that can happen. An event that cannot happen now changes nothing, so that any part
//! of a list of events is a list of events.

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The operator wishes an app, or wishes it away (`None`).
    Wish { site: u16, app: u8, variant: Option<u8> },
    /// The cloud takes what has come in and begins to write it.
    Decide,
    /// The cloud's write ends.
    CloudWrites(Fate),
    /// The cloud's process is killed and starts again.
    CloudCrash,
    /// The cloud's disk has no room, or has room again.
    CloudFull(bool),
    /// A site connects.
    Connect(u16),
    /// A site finds its connection dead.
    SiteHangsUp(u16),
    /// The broker finds a connection dead.
    BrokerHangsUp(u16),
    /// A message arrives; `at` chooses among those under way.
    Arrive { site: u16, up: bool, at: u8 },
    /// A message arrives and stays under way.
    Repeat { site: u16, up: bool, at: u8 },
    /// A message is lost.
    Lose { site: u16, up: bool, at: u8 },
    /// A site's write ends.
    SiteWrites(u16, Fate),
    /// One of the things that a site's agent waits for ends.
    Answered { site: u16, at: u8 },
    /// A step under way ends; or fails, with nothing done.
    StepEnds { site: u16, at: u8, fails: bool },
    /// A site's agent is killed and starts again. `power`: so does all that runs there.
    SiteCrash { site: u16, power: bool },
    /// A site's disk has no room, or has room again.
    SiteFull(u16, bool),
    /// The orchestrator of a site does not answer, or answers again.
    Outage(u16, bool),
    /// An instance ends by itself.
    InstanceDies { site: u16, at: u8 },
    /// An instance is removed by a person.
    InstanceGoes { site: u16, at: u8 },
    /// Time passes.
    Wait(u32),
}

/// How a write ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is durable, and the process hears of it.
    Done,
    /// It is durable, and the process dies before it hears of it.
    DoneUnheard,
    /// The process dies and nothing is written.
    Lost,
}
