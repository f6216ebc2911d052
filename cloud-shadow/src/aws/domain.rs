//! What a shadow of AWS IoT is and what happens to it. Pure: rows and requests come in with the
//! time; changes of the store, answers and messages go out as values.

mod delta;
#[cfg(test)]
mod laws;
mod past;
mod refusal;
mod reply;
mod request;
mod rows;
mod section;
mod shadow;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod tests;
mod things;

pub use past::{
    Mark, PastEntry, PastRevision, State, THING_PAST, past_age, past_entry, past_half, past_of,
    state_of, unfold_past,
};
pub use refusal::Rejected;
pub use reply::rejected;
pub use request::{Request, SectionChange, Sections, StateChange, Unread, Update};
pub(crate) use rows::lifted;
pub use rows::{
    CERTIFICATES, GRAVES, ReadThingError, SHADOWS, THINGS, ThingRecord, certificate_of,
    certificates_of, grave_of, holder_of, read_slot, shadow as shadow_row, shadow_name, shadow_of,
    shadows_of, thing as thing_row, thing_of,
};
pub use section::Section;
pub use shadow::{Grave, Shadow, Slot};
pub use things::{Claim, Done, Effect, Limits, Needs, Order, Origin, Things};
