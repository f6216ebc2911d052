//! Fleets of simulated sites against a real cloud: each site is the agent's own core and its own
//! link over TLS, above a fake orchestrator and a store in memory. `plan` says what happens when,
//! `board` keeps count; the rest moves messages and time and decides nothing.

pub mod api;
mod bare;
pub mod board;
pub mod cloud;
mod crew;
mod enrol;
pub mod files;
mod lines;
mod machine;
mod meter;
pub mod plan;
mod probe;
mod run;
mod site;
mod squad;
pub mod stage;
mod worker;
mod works;
mod writes;

pub use crew::CrewError;
pub use enrol::EnrolError;
pub use lines::LinesError;
pub use machine::raise_open_files;
pub use plan::{Churn, Course, Phase};
pub use run::{FleetConfig, FleetError, Live, News, run};
pub use worker::{WorkerError, run_worker};
