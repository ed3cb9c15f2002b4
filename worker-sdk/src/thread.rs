//! A slot's thread: takes the requests of its line, one after the other.
//!
//! Owns when a request starts. Must never start one before the answer to the one before it is written, and must
//! never start one after a drain, a SIGTERM or the loss of the broker was seen.
//!
//! # Why the threads that do the work also read
//!
//! A wake-up of another thread costs more than everything else in a short request. So the threads that run handlers
//! also read the socket: those that have nothing to run wait at it, see the [crew](crate::crew), and a request costs one
//! wait, one read, one write and, with one slot, no hand-over ever. While every slot runs a handler, nobody reads, which does not matter for a millisecond and
//! matters after that: handlers met at two ticks of a timer are taken over by the [watcher](crate::watch), which reads in
//! their slots' stead until one ends. An asynchronous handler runs on its slot's thread, inside a `current_thread`
//! runtime of the slot; only where handlers left tasks behind does the waiting for requests go through that runtime too,
//! so that the tasks go on.

use std::sync::{Arc, MutexGuard};

use lifeboat_protocol::Panicked;

use crate::WorkerError;
use crate::call::Call;
use crate::crew::{Crew, Woken};
use crate::inbox::Inbox;
use crate::line::Held;
use crate::link::Link;
use crate::runtime::Runtime;
use crate::slot::{After, Slot};

pub(crate) struct SlotThread<'a> {
    link: &'a Link,
    slot: Slot<'a>,
    /// Which line is its own.
    number: usize,
}

/// Why a slot's thread takes nothing more.
enum End {
    /// It was told to, or nothing more comes.
    Stopped,
    /// Its handler panicked, and all is told.
    Retired,
    /// It could not answer or wait.
    Broken(WorkerError),
}

impl<'a> SlotThread<'a> {
    pub(crate) const fn new(link: &'a Link, slot: Slot<'a>, number: usize) -> Self {
        Self { link, slot, number }
    }

    /// Serves until there is nothing more to do. What became of the slot is in the inbox then.
    pub(crate) fn run(mut self) {
        crate::last_words::enter_slot(&self.link.pen);
        let end = self.serve();
        let mut inbox = self.link.lock();
        if let End::Broken(error) = end {
            inbox.break_off(error);
        }
        self.link.leave(inbox);
    }

    fn serve(&mut self) -> End {
        let mut inbox = self.link.lock();
        loop {
            if self.link.told_to_stop() || inbox.draining || inbox.over.is_some() {
                return End::Stopped;
            }
            let next = match inbox.lines[self.number].held.pop_front() {
                Some(held) => self.take(held, inbox),
                None => self.wait(inbox),
            };
            inbox = match next {
                Ok(inbox) => inbox,
                Err(end) => return end,
            };
        }
    }

    /// Answers one request, unless told to stop before its handler began. The inbox is everybody's while the handler
    /// runs.
    fn take(
        &mut self,
        mut held: Held,
        mut inbox: MutexGuard<'a, Inbox>,
    ) -> Result<MutexGuard<'a, Inbox>, End> {
        let call = match &held.method {
            Ok(method) if !held.cancelled => {
                let (ext, history) = (held.ext.take(), held.history.take());
                Some(Arc::new(Call::new(held.route, *method, ext, history, held.received)))
            }
            Ok(_) | Err(_) => None,
        };
        inbox.lines[self.number].running.clone_from(&call);
        // Before the lock is free: whoever finds the stream ended must know that this one runs.
        self.link.pace.begin();
        self.link.release(inbox);
        // Again, now that the phase is told: a SIGTERM since the first look has nobody else to stop this request.
        let stopped = self.link.told_to_stop();
        let mut after = if stopped { Ok(After::Usable) } else { self.answer(call.as_ref(), held) };
        if let (Some(call), Ok(After::Panicked(panicked))) = (&call, &mut after) {
            if self.slot.is_kept() {
                panicked.kept = true;
                after = self.slot.tell_panic(call, panicked).map(|()| After::Usable);
            } else {
                self.retire(call, panicked);
            }
        }
        self.link.pace.end();
        let mut inbox = self.link.lock();
        inbox.lines[self.number].running = None;
        match after {
            Ok(After::Usable) => {}
            Ok(After::Panicked(_)) => return Err(End::Retired),
            Err(error) => return Err(End::Broken(error)),
        }
        // What lies in the socket may be a cancel of a held request, or a drain. With none held, which is usual, the
        // next read waits for a request anyway.
        if !inbox.lines[self.number].held.is_empty() && inbox.over.is_none() {
            inbox.read(&self.link.socket);
        }
        Ok(inbox)
    }

    fn answer(&mut self, call: Option<&Arc<Call>>, held: Held) -> Result<After, WorkerError> {
        match (call, held.method) {
            (Some(call), _) => return self.slot.execute(call, held.body),
            (None, Ok(_)) => self.slot.skip(held.route)?,
            (None, Err(name)) => self.slot.unknown(held.route, &name)?,
        }
        Ok(After::Usable)
    }

    /// In this order: what crosses with the news of the panic is dropped already.
    fn retire(&mut self, call: &Call, panicked: &Panicked) {
        let reason = self.slot.reason(call, panicked);
        self.link.lock().retire(self.number, reason);
        // It is what ends the slot, whether or not anybody hears of it.
        let _ = self.slot.tell_panic(call, panicked);
    }

    /// Waits for the broker: through the runtime if tasks must go on meanwhile, else plainly.
    fn wait(&mut self, mut inbox: MutexGuard<'a, Inbox>) -> Result<MutexGuard<'a, Inbox>, End> {
        inbox.lines[self.number].waiting = true;
        self.link.release(inbox);
        let woken = match &mut self.slot.runtime {
            Some(runtime) if runtime.has_tasks() => wait_beside_tasks(runtime, &self.link.crew, self.number)
                .map_err(|source| {
                    End::Broken(WorkerError::Setup { what: "waiting for the socket in the runtime", source })
                })?,
            Some(_) | None => self.link.crew.wait(self.number),
        };
        let mut inbox = self.link.lock();
        inbox.lines[self.number].waiting = false;
        if woken.socket && inbox.over.is_none() {
            inbox.read(&self.link.socket);
        }
        Ok(inbox)
    }
}

fn wait_beside_tasks(runtime: &mut Runtime, crew: &Crew, slot: usize) -> std::io::Result<Woken> {
    let mut woken = Woken::default();
    runtime.wait_until(crew.source(slot)?, || {
        woken = crew.look(slot);
        woken.by_something()
    })?;
    Ok(woken)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Instant;

    use bytes::Bytes;
    use lifeboat_protocol::{Assignment, BeganNote, FlightRecorder, FrameLimit, Route, SlotNote, TimeLeft};

    use super::*;
    use crate::HandlerError;
    use crate::adapter::{RawBlocking, Run};
    use crate::process::{Process, Retirement};
    use crate::recorder::Recorder;
    use crate::state::States;

    #[test]
    fn a_sigterm_just_before_a_handler_begins_keeps_it_from_starting() {
        static STARTED: AtomicBool = AtomicBool::new(false);
        let handler = |body, _| {
            STARTED.store(true, Ordering::SeqCst);
            Ok::<Bytes, HandlerError>(body)
        };
        let (broker, socket) = UnixStream::pair().unwrap();
        let link = Link::new(socket, Inbox::new(vec!["raw".to_owned()], None, 1)).unwrap();
        link.lock().lines.resize_with(1, Default::default);
        let page: &[AtomicU64] = (0..512).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        let limit = FrameLimit::for_body(1_000);
        let process = Process {
            tells_all_progress: false,
            assignment: Assignment::default(),
            methods: Vec::new(),
            states: States::default(),
            pen: Arc::downgrade(&link.pen),
            limit,
            keeps_saves: true,
            recorder: Recorder::over(page),
            retirement: Retirement::new(true),
        };
        let handlers: [Box<dyn Run>; 1] = [Box::new(RawBlocking(handler))];
        let slot = Slot::new(&handlers, &Arc::new(process), &link.pen, None);
        let mut thread = SlotThread::new(&link, slot, 0);
        for (terminated, id) in [(true, 1), (false, 2)] {
            link.terminate.store(terminated, Ordering::SeqCst);
            let held = Held {
                route: Route { attempt: 1, ..Route::request(id, TimeLeft::NONE) },
                method: Ok(0),
                ext: None,
                history: None,
                body: Bytes::from_static(b"\x07"),
                received: Instant::now(),
                cancelled: false,
            };
            let Ok(inbox) = thread.take(held, link.lock()) else { panic!("it goes on") };
            assert!(inbox.lines[0].running.is_none());
            drop(inbox);
            assert_eq!(link.pace.phase().running(), 0);
            assert_eq!(STARTED.load(Ordering::SeqCst), !terminated);
            let answered = rustix::io::ioctl_fionread(&broker).unwrap() > 0;
            assert_eq!(answered, !terminated);
            // The flight recorder has what began, and nothing of what did not.
            let noted = FlightRecorder::over(page).read(0);
            let began = matches!(noted, SlotNote::Began(BeganNote { request: 2, executing: false, .. }));
            assert!(if terminated { noted == SlotNote::Unused } else { began }, "{noted:?}");
        }
    }
}
