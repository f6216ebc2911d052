//! Who may do what: roles, scopes and the one decision about them, and the book of tokens. Pure;
//! what comes in over HTTP is checked against it in [`crate::http`], and nowhere else.

mod authorize;
mod book;
mod grant;
#[cfg(test)]
mod laws;
mod rate;
mod waiting;

pub use authorize::{Action, Decision, Target, authorize};
pub use book::{ACCESS, ApiToken, Book, BookRefusal, Edit, JoinToken};
pub use grant::{Grant, Home, Role, Scope};
pub use rate::{Asker, Limiter, Rate, RateLimits, TooMuch};
pub use waiting::{Knock, Waiting, WaitingState};
