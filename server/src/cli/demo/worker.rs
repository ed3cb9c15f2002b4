//! The demo's worker: hashes a little, and commits the fault that a request asks for.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use lifeboat_protocol::method;
use lifeboat_worker::{Context, Handle as _, HandlerError, State, Worker};
use serde::{Deserialize, Serialize};

use super::faults::Fault;
use crate::cli::exit::Exit;
use crate::cli::serve::complain;

/// Where workers tell the injector what they are about to do.
pub(super) const LEDGER_VARIABLE: &str = "DEMO_LEDGER";

/// The demo's one method.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Work {
    /// Comes back in the answer, so that a wrong answer cannot pass for a right one.
    pub(super) nonce: u64,
    /// How much to hash.
    pub(super) rounds: u32,
    /// How to die, if at all.
    pub(super) fault: Option<Fault>,
    /// The last attempt at which to die.
    pub(super) until_attempt: u16,
    /// Say no.
    pub(super) refuse: bool,
}

/// The answer to [`Work`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) nonce: u64,
    pub(super) digest: u64,
}

method!("work": Work => Done);

/// A fault that a process is about to commit: the injector's ledger is made of these.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) fault: Fault,
    pub(super) worker: String,
    pub(super) incarnation: u64,
    pub(super) pid: u32,
    pub(super) request: u64,
    pub(super) attempt: u16,
}

/// Tells the injector, before the fault is committed; a datagram outlives its sender.
struct Ledger(UnixDatagram);

impl Ledger {
    fn open() -> anyhow::Result<Self> {
        let path = std::env::var_os(LEDGER_VARIABLE)
            .map(PathBuf::from)
            .ok_or_else(|| anyhow::anyhow!("this worker is started by `lifeboat demo` only"))?;
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self(socket))
    }

    fn note(&self, entry: &Entry) -> Result<(), HandlerError> {
        let line =
            serde_json::to_vec(entry).map_err(|error| HandlerError::new("ledger", error.to_string()))?;
        self.0.send(&line).map_err(|error| HandlerError::new("ledger", error.to_string()))?;
        Ok(())
    }
}

/// Serves as a worker of the demo's pool.
pub(super) fn run() -> Exit {
    let ledger = match Ledger::open() {
        Ok(ledger) => ledger,
        Err(error) => {
            complain(&format!("the demo's worker cannot start: {error:#}"));
            return Exit::Failed;
        }
    };
    match Worker::new().state(ledger).handle_blocking::<Work>(work).run() {
        Ok(exit) => {
            if let Some(error) = exit.error() {
                complain(&error.to_string());
            }
            Exit::Worker(exit.code())
        }
        Err(error) => {
            complain(&error.to_string());
            Exit::Failed
        }
    }
}

fn work(request: Work, context: Context, ledger: State<Ledger>) -> Result<Done, HandlerError> {
    if request.refuse {
        return Err(HandlerError::new("refused", "the demo asked this handler to say no"));
    }
    if let Some(fault) = request.fault
        && context.attempt() <= request.until_attempt
    {
        ledger.note(&Entry {
            fault,
            worker: context.worker().to_owned(),
            incarnation: context.incarnation(),
            pid: std::process::id(),
            request: context.request_id(),
            attempt: context.attempt(),
        })?;
        fault.commit(&context);
    }
    let mut hasher = DefaultHasher::new();
    for round in 0..request.rounds {
        (request.nonce, round).hash(&mut hasher);
    }
    Ok(Done { nonce: request.nonce, digest: hasher.finish() })
}
