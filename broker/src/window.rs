//! The `QoS` 1 messages to a session that wait for its acknowledgement. Pure.

/// The packet ids in flight to one client, at most as many as it takes at once.
#[derive(Debug)]
pub(crate) struct Window {
    in_flight: Vec<u16>,
    last: u16,
    max: u16,
}

impl Window {
    /// A window of at most `max` messages.
    pub(crate) fn new(max: u16) -> Self {
        Self { in_flight: Vec::new(), last: 0, max }
    }

    /// Whether one more message may be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.in_flight.len() < usize::from(self.max)
    }

    /// A packet id that is not in flight, if one more message may be sent.
    pub(crate) fn acquire(&mut self) -> Option<u16> {
        if !self.is_open() {
            return None;
        }
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.in_flight.contains(&self.last) {
                self.in_flight.push(self.last);
                return Some(self.last);
            }
        }
    }

    /// Takes an acknowledgement, in any order; `false` if nothing waits for it.
    pub(crate) fn release(&mut self, pkid: u16) -> bool {
        let found = self.in_flight.iter().position(|id| *id == pkid);
        if let Some(at) = found {
            self.in_flight.remove(at);
        }
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_closes_and_opens_with_any_acknowledgement() {
        let mut window = Window::new(2);
        assert_eq!((window.acquire(), window.acquire()), (Some(1), Some(2)));
        assert_eq!(window.acquire(), None);
        assert!(window.release(2));
        assert!(!window.release(2));
        assert_eq!(window.acquire(), Some(3));
    }

    #[test]
    fn packet_ids_wrap_past_zero_and_past_what_is_in_flight() {
        let mut window = Window::new(u16::MAX);
        assert_eq!(window.acquire(), Some(1));
        for _ in 0..65_534 {
            let id = window.acquire().unwrap();
            if id != 1 {
                window.release(id);
            }
        }
        assert_eq!(window.acquire(), Some(2));
    }
}
