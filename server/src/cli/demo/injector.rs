//! The injector: keeps the ledger of committed faults, and sends the signals that come from outside.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::worker::Entry;

/// The longest entry, in bytes; workers write short ones.
const LONGEST_ENTRY: usize = 4096;

/// What workers said they were about to do.
#[derive(Clone, Debug, Default)]
pub(super) struct Injector {
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Injector {
    /// Listens at a path. The thread lives as long as the process.
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::bind(path)?;
        let injector = Self::default();
        let entries = Arc::clone(&injector.entries);
        thread::Builder::new().name("injector".to_owned()).spawn(move || {
            let mut buffer = [0; LONGEST_ENTRY];
            while let Ok(len) = socket.recv(&mut buffer) {
                match serde_json::from_slice::<Entry>(&buffer[..len]) {
                    Ok(entry) => admit(&entries, entry),
                    Err(error) => tracing::error!(%error, "a worker of the demo wrote an unreadable entry"),
                }
            }
        })?;
        Ok(injector)
    }

    /// Every entry so far.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn admit(entries: &Mutex<Vec<Entry>>, entry: Entry) {
    let (pid, signal) = (entry.pid, entry.fault.outside_signal());
    entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    if let Some(signal) = signal {
        send(pid, signal);
    }
}

/// The process waits for this and nothing else, so the pid is still its own unless its time limit was faster.
fn send(pid: u32, signal: Signal) {
    let sent = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
        .and_then(|process| pidfd_send_signal(&process, signal));
    if let Err(errno) = sent {
        tracing::warn!(pid, %errno, "the injector came too late");
    }
}
