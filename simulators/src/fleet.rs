//! Fleets of simulated sites against a real cloud: each site is the agent's own core and its own
//! link over TLS, above a fake orchestrator and a store in memory. `plan` says what happens when,
//! `board` keeps count; the rest moves messages and time and decides nothing.

pub mod api;
pub mod board;
pub mod cloud;
mod enrol;
mod lines;
mod machine;
pub mod plan;
mod probe;
mod run;
mod site;
mod writes;

pub use enrol::EnrolError;
pub use lines::LinesError;
pub use plan::{Churn, Course, Phase};
pub use run::{FleetConfig, FleetError, Live, News, run};
