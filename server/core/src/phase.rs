//! Where a process is in its life, and the legal ways from phase to phase.
//!
//! It owns the names of the phases and what each allows. It must never hold anything of a process.

/// Where a process is in its life. Every phase but `Serving` and `Cancelling` only leads further down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Ordered; the shell has not answered yet.
    Spawning,
    /// Runs; has not said that it is ready.
    Starting,
    /// Serves: the only phase in which it is given requests.
    Serving,
    /// Was sent a cancel frame for an executing attempt; serves on if it answers within `cancel_grace`.
    Cancelling,
    /// Is on its way out.
    Ending(Rung),
    /// Has exited; its evidence is being gathered.
    Collecting,
}

/// How far the end of a process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// To be killed as soon as the shell says that it was spawned.
    Unborn,
    /// Is given nothing more and finishes what it holds; then it is told to drain.
    Retiring,
    /// Was told to drain, and still executes.
    Draining,
    /// Was asked to leave and has nothing left to wait for; SIGTERM is next.
    Asked,
    /// Its slots have failed; it should leave by itself, SIGKILL is next.
    Leaving,
    /// Its connection has ended; its own exit is awaited, SIGKILL is next.
    ConnectionLost,
    /// Was sent SIGTERM; SIGKILL is next.
    Terminated,
    /// Was sent SIGKILL.
    Killed,
}

impl Phase {
    /// Ready or starting: a reason for a retry to wait for this worker rather than to use the one it avoids.
    pub(crate) const fn is_up(self) -> bool {
        matches!(self, Self::Spawning | Self::Starting | Self::Serving | Self::Cancelling)
    }

    /// Not ready yet, and not on its way out.
    pub(crate) const fn is_starting(self) -> bool {
        matches!(self, Self::Spawning | Self::Starting)
    }

    /// It executes what it holds, and nothing has been done yet that ends it.
    pub(crate) const fn executes(self) -> bool {
        matches!(self, Self::Serving | Self::Cancelling | Self::Ending(Rung::Retiring | Rung::Draining))
    }

    /// Whether a frame written to it may still be read and heeded.
    pub(crate) const fn listens(self) -> bool {
        self.executes() || matches!(self, Self::Ending(Rung::Asked | Rung::Terminated))
    }

    /// The legal ways from phase to phase.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Spawning, Self::Starting | Self::Ending(Rung::Unborn) | Self::Collecting) => true,
            (Self::Starting, Self::Serving | Self::Ending(_) | Self::Collecting) => true,
            (Self::Serving, Self::Cancelling | Self::Ending(_) | Self::Collecting) => true,
            (Self::Cancelling, Self::Cancelling | Self::Serving | Self::Ending(_) | Self::Collecting) => true,
            (Self::Ending(Rung::Retiring | Rung::Draining | Rung::Asked), Self::Cancelling) => true,
            (Self::Ending(Rung::Killed), Self::Ending(_)) => false,
            (Self::Ending(_), Self::Ending(_) | Self::Collecting) => true,
            _ => false,
        }
    }
}
