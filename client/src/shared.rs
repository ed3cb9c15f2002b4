//! What a client's clones, its calls and its driver share: the table of calls and the way to wake the driver.
//!
//! Owns the one lock, what is done under it, and the socket as callers may use it. Must never hold the lock across an
//! await, and must wake every waker after the lock is released.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lifeboat_protocol::Service;
use rustix::fd::OwnedFd;
use rustix::net::Shutdown;
use tokio::time::Instant;

use crate::connection_event::Teller;
use crate::outbox::Outbox;
use crate::settings::{LONGEST, Settings};
#[cfg(feature = "tower")]
use crate::table::Ticket;
use crate::table::{Backlog, Ended, Spec, Step, Table, Window};
use crate::times::{Times, TooShort};
use crate::{ConnectError, ConnectionEvent, ConnectionEvents, LostReason};

/// Callers write requests up to this many bytes themselves when nothing else is under way: what a socket buffer always
/// takes at once, so that the lock is held for one short write.
const DIRECT: usize = 16 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) table: Table,
    /// The driver, while it sleeps.
    driver: Option<Waker>,
    /// The living connection's socket.
    socket: Option<Arc<OwnedFd>>,
    /// The driver has the outbox in hand and writes it, without the lock.
    in_hand: bool,
    /// The socket's buffer is full; the driver waits for room.
    pub(crate) blocked: bool,
    /// The last client is gone.
    pub(crate) closed: bool,
    /// The driver is gone, with its runtime.
    stopped: bool,
    /// When the driver will look at the limits by itself.
    pub(crate) scan_armed: Option<Instant>,
    /// What the last try to connect said.
    pub(crate) last_error: Option<ConnectError>,
    /// Where connection events go. Only the driver tells them, in its order, after the lock is released.
    teller: Teller,
}

impl State {
    /// Remembers the driver's waker until there is work.
    pub(crate) fn sleep(&mut self, cx: &Context<'_>) {
        if !self.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            self.driver = Some(cx.waker().clone());
        }
    }

    /// Whether the driver has something to do now.
    fn needs_driver(&self) -> bool {
        let work = if self.table.window.is_some() {
            self.table.has_work() && !self.blocked
        } else {
            self.table.has_demand()
        };
        let scan = self.table.next_scan.is_some_and(|next| self.scan_armed.is_none_or(|armed| next < armed));
        self.closed || work || scan
    }

    fn take_driver(&mut self) -> Option<Waker> {
        if self.needs_driver() { self.driver.take() } else { None }
    }

    /// Gives the outbox to the driver, to be written without the lock.
    pub(crate) fn take_outbox(&mut self) -> Outbox {
        self.in_hand = true;
        std::mem::take(&mut self.table.outbox)
    }

    /// Takes it back. Nothing was put into the table's meanwhile: see [`Table::abandon`].
    pub(crate) fn return_outbox(&mut self, outbox: Outbox, blocked: bool) {
        debug_assert!(self.table.outbox.is_empty(), "the outbox is in the driver's hands");
        self.in_hand = false;
        self.blocked = blocked;
        self.table.outbox = outbox;
    }

    /// Writes from the calling thread what can be written at once. What remains is the driver's, errors too: it meets
    /// them itself when it writes on.
    fn write_here(&mut self) {
        if self.in_hand || self.blocked {
            return;
        }
        if let Some(socket) = &self.socket
            && !self.table.outbox.is_empty()
        {
            let _ = self.table.outbox.write_to(socket);
        }
    }
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        // Before the first hello the broker is taken to allow what a hello that does not say does.
        let places = settings.max_in_flight.min(Service::default().max_in_flight as usize);
        let table = Table::new(Instant::now(), settings.connect_timeout, places);
        let state = State {
            table,
            driver: None,
            socket: None,
            in_hand: false,
            blocked: false,
            closed: false,
            stopped: false,
            scan_armed: None,
            last_error: None,
            teller: Teller::new(),
        };
        Self { settings, state: Mutex::new(state) }
    }

    /// The lock. No panic can leave the table half changed, so a poisoned lock is as good as any.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a call, and writes it if nothing else is under way. With a backlog it is a stream, whose reader asks with
    /// [`poll_step`](Self::poll_step), else with [`poll`](Self::poll).
    ///
    /// # Errors
    ///
    /// [`ConnectError::RuntimeStopped`] when nobody is there to carry it out.
    pub(crate) fn start(
        &self,
        spec: Option<Arc<Spec>>,
        backlog: Option<Box<Backlog>>,
        timeout: Option<Duration>,
        waker: &Waker,
    ) -> Result<u64, ConnectError> {
        let now = Instant::now();
        let deadline = timeout.map(|timeout| now + timeout.min(LONGEST));
        let small = spec.as_ref().is_some_and(|spec| spec.body.len() <= DIRECT);
        let mut woken = Vec::new();
        let mut state = self.lock();
        if state.stopped {
            return Err(ConnectError::RuntimeStopped);
        }
        let direct =
            self.settings.direct && small && !state.in_hand && !state.blocked && state.table.is_quiet();
        let id = state.table.register(now, spec, backlog, deadline, waker);
        if direct {
            state.table.pump(now, &mut woken);
            state.write_here();
            state.table.take_room_wanted(&mut woken);
        }
        let (driver, too_short) = (state.take_driver(), state.table.take_too_short());
        drop(state);
        woken.into_iter().chain(driver).for_each(Waker::wake);
        self.warn_of(&too_short);
        Ok(id)
    }

    /// Warns of methods whose first calls were just sent. Not under the lock: where a warning goes is the program's.
    pub(crate) fn warn_of(&self, too_short: &[TooShort]) {
        let Some(timeout) = self.settings.timeout else { return };
        too_short.iter().for_each(|method| method.warn(timeout));
    }

    /// Asks for a call's end.
    pub(crate) fn poll(&self, id: u64, cx: &Context<'_>) -> Poll<Box<Ended>> {
        match self.lock().table.poll(id, cx.waker()) {
            Some(ended) => Poll::Ready(ended),
            None => Poll::Pending,
        }
    }

    /// Whether a request made now would have a place in the window.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().table.has_room()
    }

    /// Waits for a place in the window; it may be gone again when a request is made. Who waits has a ticket.
    #[cfg(feature = "tower")]
    pub(crate) fn poll_room(&self, ticket: &mut Option<Ticket>, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let has_room = state.table.has_room();
        let replaced = if has_room {
            ticket.take().and_then(|ticket| state.table.forget_room(ticket))
        } else {
            state.table.want_room(ticket, cx.waker())
        };
        drop(state);
        drop(replaced);
        if has_room { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Nobody waits with this ticket any more.
    #[cfg(feature = "tower")]
    pub(crate) fn forget_room(&self, ticket: Ticket) {
        let waker = self.lock().table.forget_room(ticket);
        drop(waker);
    }

    /// Asks what a stream's reader gets next.
    pub(crate) fn poll_step(&self, id: u64, cx: &Context<'_>) -> Poll<Step> {
        match self.lock().table.poll_step(id, cx.waker()) {
            Some(step) => Poll::Ready(step),
            None => Poll::Pending,
        }
    }

    /// Nobody waits for a call any more.
    pub(crate) fn abandon(&self, id: u64) {
        let mut state = self.lock();
        let in_hand = state.in_hand;
        let remains = state.table.abandon(id, in_hand);
        let mut woken = Vec::new();
        state.table.take_room_wanted(&mut woken);
        let driver = state.take_driver();
        drop(state);
        drop(remains);
        woken.into_iter().chain(driver).for_each(Waker::wake);
    }

    /// Nobody waits for a call any more, but it goes on.
    pub(crate) fn let_go(&self, id: u64) {
        let remains = self.lock().table.let_go(id);
        drop(remains);
    }

    /// The last client is gone: writes the cancels that are left and calls that were let go, as far as the socket takes
    /// them, and closes it.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        // While the driver writes it comes here itself, afterwards.
        if !state.in_hand {
            state.table.pump(Instant::now(), &mut Vec::new());
            state.write_here();
            // The driver drops the socket when it runs next; the broker need not wait for that.
            if let Some(socket) = &state.socket {
                let _ = rustix::net::shutdown(socket, Shutdown::Both);
            }
        }
        let driver = state.take_driver();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Tells of the connection from now on. Nothing when the driver is gone.
    pub(crate) fn events(&self) -> ConnectionEvents {
        let state = self.lock();
        if state.stopped { Teller::new().listen() } else { state.teller.listen() }
    }

    /// A connection is there.
    pub(crate) fn connected(&self, socket: Arc<OwnedFd>, window: Window, software: String, times: Times) {
        let mut state = self.lock();
        state.table.told(times, self.settings.timeout);
        state.socket = Some(socket);
        state.blocked = false;
        state.last_error = None;
        state.table.connected(window);
        let mut woken = Vec::new();
        state.table.take_room_wanted(&mut woken);
        let teller = state.teller.clone();
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        teller.tell(ConnectionEvent::Connected { software });
    }

    /// The longest until the outcome of a request without a timeout, as the last broker told.
    pub(crate) fn answer_within(&self, method: &str) -> Option<Duration> {
        self.lock().table.times.answer_within(method)
    }

    /// The broker takes no new requests.
    pub(crate) fn drain(&self) {
        let mut state = self.lock();
        state.table.drain(Instant::now());
        // The driver itself calls this, behind its look at the limits, and waiting calls have a new one.
        let (driver, teller) = (state.take_driver(), state.teller.clone());
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        teller.tell(ConnectionEvent::Draining);
    }

    /// The connection is gone: ends what was written, keeps what was not.
    pub(crate) fn disconnected(&self, lost: &LostReason) {
        let mut woken = Vec::new();
        let mut state = self.lock();
        let socket = state.socket.take();
        state.blocked = false;
        state.table.disconnected(Instant::now(), lost, &mut woken);
        state.table.take_room_wanted(&mut woken);
        let teller = state.teller.clone();
        drop(state);
        drop(socket);
        woken.into_iter().for_each(Waker::wake);
        teller.tell(ConnectionEvent::Lost { why: lost.clone() });
    }

    /// A try to connect failed.
    pub(crate) fn connect_failed(&self, error: ConnectError) {
        let mut woken = Vec::new();
        let mut state = self.lock();
        if !error.is_transient() {
            state.table.fail_waiting(&error, &mut woken);
            state.table.take_room_wanted(&mut woken);
        }
        state.last_error = Some(error);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// The driver ends, on purpose or with its runtime: nobody may wait for it.
    pub(crate) fn stopped(&self) {
        let mut woken = Vec::new();
        let mut state = self.lock();
        state.stopped = true;
        let held = (state.driver.take(), state.socket.take());
        let was_connected = state.table.window.is_some() && !state.closed;
        // Whoever listens has heard the last of it.
        let teller = std::mem::replace(&mut state.teller, Teller::new());
        state.table.disconnected(Instant::now(), &LostReason::RuntimeStopped, &mut woken);
        state.table.fail_waiting(&ConnectError::RuntimeStopped, &mut woken);
        state.table.take_room_wanted(&mut woken);
        drop(state);
        drop(held);
        woken.into_iter().for_each(Waker::wake);
        if was_connected {
            teller.tell(ConnectionEvent::Lost { why: LostReason::RuntimeStopped });
        }
    }

    /// Ends calls whose limits passed.
    pub(crate) fn scan(&self) {
        let mut woken = Vec::new();
        let mut guard = self.lock();
        let state = &mut *guard;
        let last_error = &state.last_error;
        let no_connection = || ConnectError::TimedOut {
            path: self.settings.path.clone(),
            after: self.settings.connect_timeout,
            last: last_error.clone().map(Box::new),
        };
        state.table.scan(Instant::now(), no_connection, &mut woken);
        state.table.take_room_wanted(&mut woken);
        state.scan_armed = None;
        drop(guard);
        woken.into_iter().for_each(Waker::wake);
    }
}
