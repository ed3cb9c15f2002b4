//! What the requests of a process have in common.
//!
//! Owns the process's wish to be replaced, and how a handler states it. Must never replace anything itself.

use std::io::{self, Write as _};
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};

use lifeboat_protocol::{Assignment, FrameLimit};

use crate::Context;
use crate::pen::Pen;
use crate::recorder::Recorder;
use crate::state::States;

/// What is the same for all requests of a process.
pub(crate) struct Process {
    pub(crate) assignment: Assignment,
    /// The names of all methods, in the order of their handlers.
    pub(crate) methods: Vec<String>,
    pub(crate) states: States,
    /// A context that outlives its request must not keep the socket open.
    pub(crate) pen: Weak<Pen>,
    /// What the broker accepts.
    pub(crate) limit: FrameLimit,
    /// The broker keeps what attempts save.
    pub(crate) keeps_saves: bool,
    pub(crate) recorder: Recorder,
    /// Progress is told however often it is said, and waits for room: a test wants to see it all.
    pub(crate) tells_all_progress: bool,
    /// Whether it is to be replaced.
    pub(crate) retirement: Retirement,
}

/// The process's wish to be replaced.
#[derive(Debug)]
pub(crate) struct Retirement {
    /// The broker knows what it means.
    understood: bool,
    wished: AtomicBool,
}

impl Retirement {
    pub(crate) const fn new(understood: bool) -> Self {
        Self { understood, wished: AtomicBool::new(false) }
    }

    /// A handler wishes it. Whether to tell the broker now: once is enough.
    pub(crate) fn wish(&self) -> bool {
        let first = !self.wished.swap(true, Ordering::AcqRel);
        if first && !self.understood {
            // A closed stderr leaves nobody to tell.
            let _ = writeln!(
                io::stderr(),
                "lifeboat-worker: a handler wants this process replaced; the broker is too old to be asked"
            );
        }
        first && self.understood
    }
}

impl Context {
    /// Has the process replaced after this request, as planned: for a handler that finds it unfit to go on, such as by a
    /// leak, a cache that has gone bad or a device that was reset. It has no bearing on what this request is answered; see
    /// [`HandlerError::and_recycle`](crate::HandlerError::and_recycle) for one that fails because of it.
    ///
    /// The broker is told just before the answer, whatever the answer is. It starts a successor, and gives this process
    /// further requests until that is ready, as it does with every process that it recycles; the process then finishes what
    /// it holds, is drained and counts as `recycle_asked`. A handler that must not be called again here panics, or ends the
    /// process, instead.
    ///
    /// Called after the handler returned it does nothing. With a broker that cannot replace a process when asked it is told
    /// once on stderr and does nothing else.
    ///
    /// ```
    /// use lifeboat_worker::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Render(String);
    /// # method!("render": Render => Render);
    /// # fn draw(page: Render) -> Render { page }
    /// # fn leaked_mib() -> u64 { 1 }
    ///
    /// fn render(page: Render, context: Context) -> Result<Render, HandlerError> {
    ///     let image = draw(page);
    ///     if leaked_mib() > 500 {
    ///         context.recycle();
    ///     }
    ///     Ok(image)
    /// }
    ///
    /// let worker = Worker::new().handle_blocking::<Render>(render);
    /// # drop(worker);
    /// ```
    pub fn recycle(&self) {
        self.call().ask_for_recycling();
    }
}
