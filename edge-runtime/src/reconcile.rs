//! The planner: from what should run and what runs to the steps between them. Pure: it makes
//! every choice, reads no clock and touches nothing.
//!
//! [`plan()`] is asked again and again: after each observation, after each step, and when the
//! last plan said so. It answers only with what may be done at once; whoever carries the steps
//! out decides nothing. What is true comes from the orchestrator ([`model::Observed`]); what is
//! remembered ([`Attempts`]) only delays and explains.
//!
//! # Rules
//!
//! Each is stated, with its tests, in the file that holds it.
//!
//! | file | rule |
//! | --- | --- |
//! | `planner` | Apps are planned one by one, copies by the one rule that fits their instances. |
//! | `settled` | An app of which everything is as desired needs no plan. |
//! | `preflight` | What cannot run here is refused, and what runs of it is left as it is. |
//! | `share` | A port of the node belongs to one app; so many apps and no more run on a node. |
//! | `images` | Images first: nothing is stopped before all that replaces it is here. |
//! | `order` | Dependencies decide the order of starting; the reverse, that of stopping. |
//! | `create` | A missing copy is made at once, when nothing stands in its way. |
//! | `keep` | A wanted instance is started, restarted, replaced when stuck, or left alone. |
//! | `restart` | The restart policy decides whether an end is final. |
//! | `update` | Old instances are replaced one at a time, and no further than the new ones are well. |
//! | `doubt` | After the store went back, nothing that runs is given up before the cloud's word. |
//! | `retire` | What is not wanted is stopped, then removed. |
//! | `trial` | A revision that is as desired for its settle time is good; one that fails is bad. |
//! | `backoff` | How long each kind of trying again waits. |
//! | `report` | The worst copy speaks for its service, the worst service for the app. |
//!
//! # Laws
//!
//! `laws` checks them against random wishes, failures, deaths and interference in the simulated
//! orchestrator of `world`:
//!
//! 1. There is nothing to do and the app is reported as running exactly when nothing drifts.
//! 2. When faults stop, doing what is planned comes to an end; what does not run then has failed
//!    for good.
//! 3. A step names only what is there, what is wanted, or what is no longer wanted.
//! 4. A plan has at most one step for a slot.
//! 5. An instance that is current and well is never stopped or removed.
//! 6. No slot ever has two instances running, nor one made beside another, but for a service that
//!    starts first, and then of two revisions.
//! 7. The same inputs give the same plan, and time changes it only at the moment it names.
//! 8. An app is planned as if there were no other, but for what they share.
//! 9. Of an app in doubt nothing that runs is stopped, but for its health, and nothing is removed but
//!    what is stuck.
//! 10. Outside of its window of updates an app gives up nothing but doubles.
//! 11. Nothing starts before what it depends on, nothing is given up before its images are here.

mod attempts;
mod backoff;
mod create;
mod desired;
mod display;
mod doubt;
mod images;
mod instances;
mod keep;
mod lives;
mod memory;
pub mod model;
mod order;
mod plan;
mod planner;
mod preflight;
mod report;
mod restart;
mod retire;
mod settled;
mod share;
mod text;
mod trial;
mod update;
mod verdict;
mod view;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

pub use attempts::Attempts;
pub use desired::{Desired, DesiredApp};
pub use plan::Plan;
pub use planner::plan;
pub use trial::{Case, Outcome, Trials};
