//! The cloud from outside: real ports, a real store, real processes.

#[cfg(test)]
mod access;
#[cfg(test)]
mod api;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod enrolment;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod letting_in;
#[cfg(test)]
mod many;
#[cfg(test)]
mod observing;
#[cfg(test)]
mod past;
#[cfg(test)]
mod process;
#[cfg(test)]
mod races;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod restored;
#[cfg(test)]
mod rogue;
#[cfg(test)]
mod setup;
#[cfg(test)]
mod site;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod things;
#[cfg(test)]
mod throttle;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod watching;
