//! Handlers that wait at a door of their own until the test opens it.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

use super::Number;
use super::broker::LIMIT;
use crate::prelude::*;

/// The test's side.
pub(super) struct Doors {
    pub(super) started: Receiver<Started>,
    open: Arc<Open>,
}

/// The handlers' side.
#[derive(Clone)]
pub(super) struct Visitors {
    start: Sender<Started>,
    open: Arc<Open>,
}

/// A handler that began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Started {
    pub(super) slot: u8,
    pub(super) number: u64,
}

#[derive(Default)]
struct Open {
    doors: Mutex<BTreeSet<u64>>,
    changed: Condvar,
}

pub(super) fn doors() -> (Doors, Visitors) {
    let (start, started) = channel();
    let open = Arc::<Open>::default();
    (Doors { started, open: Arc::clone(&open) }, Visitors { start, open })
}

impl Doors {
    pub(super) fn open(&self, number: u64) {
        self.open.doors.lock().unwrap().insert(number);
        self.open.changed.notify_all();
    }

    /// Waits until handlers run in these slots with these numbers, begun in whatever order.
    #[track_caller]
    pub(super) fn wait_started<const N: usize>(&self, expected: [(u8, u64); N]) {
        let mut started = expected.map(|_| self.started.recv_timeout(LIMIT).expect("a handler in time"));
        started.sort();
        assert_eq!(started, expected.map(|(slot, number)| Started { slot, number }));
    }

    #[track_caller]
    pub(super) fn nothing_started(&self) {
        assert_eq!(self.started.try_recv().ok(), None);
    }
}

impl Visitors {
    pub(super) fn start(&self, number: u64, context: &Context) {
        // A test that is over needs to know nothing.
        let _ = self.start.send(Started { slot: context.slot(), number });
    }

    /// Says that the handler began, and waits until its door is open.
    pub(super) fn enter(&self, number: u64, context: &Context) {
        self.start(number, context);
        let doors = self.open.doors.lock().unwrap();
        let (_doors, waited) =
            self.open.changed.wait_timeout_while(doors, LIMIT, |doors| !doors.contains(&number)).unwrap();
        assert!(!waited.timed_out(), "door {number} stayed shut");
    }

    /// A worker whose handler waits at the door of its number, and answers with it.
    pub(super) fn worker(self) -> Worker {
        Worker::new().handle_blocking::<Number>(
            move |number: Number, context: Context| -> Result<Number, HandlerError> {
                self.enter(number.0, &context);
                Ok(number)
            },
        )
    }
}
