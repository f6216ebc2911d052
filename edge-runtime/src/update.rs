//! The agent updates itself: a signed program that desired state names is fetched, checked, put
//! on trial and kept when it reaches the cloud; else the one before runs again. The installed
//! program is never overwritten: it starts first and decides from a small file which one runs.
//! What runs apps is not touched by any of this.

mod adopt;
mod busy;
mod disk;
mod fetch;
mod order;
pub mod start;
mod state;
mod updater;

pub use adopt::reap_inherited;
pub use order::{Order, OrderError, PublicKey, PublicKeyError, signed_text};
pub use start::Started;
pub use updater::{Updater, WAITS, Wish};
