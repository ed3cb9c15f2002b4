//! The table's side of those who wait for a place in the window before they make a call.
//!
//! Owns who is woken when there is room. Must never keep more than one waker for each of those who wait, and never
//! reserve a place for any of them.

use std::task::Waker;

use super::Table;

/// What a waiting one is known by, as long as it waits: the longer it waits, the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

impl Table {
    /// Whether a request made now would be the next to be sent, with a place in the window. Without a connection it is
    /// the last one's that counts.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight + self.waiting.len() < self.places
    }

    /// Has `waker` woken when there may be room, in the place of the one that this ticket, if there is one, came with.
    /// That one is handed out, to be dropped outside the lock.
    #[cfg(feature = "tower")]
    pub(crate) fn want_room(&mut self, ticket: &mut Option<Ticket>, waker: &Waker) -> Option<Waker> {
        let ticket = ticket.get_or_insert_with(|| {
            self.next_ticket += 1;
            Ticket(self.next_ticket)
        });
        match self.room_wanted.get_mut(ticket) {
            Some(kept) if kept.will_wake(waker) => None,
            Some(kept) => Some(std::mem::replace(kept, waker.clone())),
            None => self.room_wanted.insert(*ticket, waker.clone()),
        }
    }

    /// The holder of this ticket waits no more. Its waker is handed out, to be dropped outside the lock.
    #[cfg(feature = "tower")]
    pub(crate) fn forget_room(&mut self, ticket: Ticket) -> Option<Waker> {
        self.room_wanted.remove(&ticket)
    }

    /// How many wait.
    #[cfg(all(test, feature = "tower"))]
    pub(crate) fn room_wanted(&self) -> usize {
        self.room_wanted.len()
    }

    /// Those to wake because there is room, the longest waiting first. All of them: one that does not want it any more
    /// must not keep it from the others. Who finds it taken waits on with the ticket that it has.
    pub(crate) fn take_room_wanted(&mut self, woken: &mut Vec<Waker>) {
        if !self.room_wanted.is_empty() && self.has_room() {
            woken.extend(std::mem::take(&mut self.room_wanted).into_values());
        }
    }
}
