//! Who may use the machine: most tests side by side, tests that measure alone, over all test processes.
//!
//! Two lock files make a fair readers-and-writer lock between processes: who waits to be alone keeps newcomers out.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{FlockOperation, flock};

/// How many turns this process holds.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// A turn on the machine, until it is dropped. Take one per test, before anything else.
#[derive(Debug)]
pub struct Turn {
    /// Held, never read: the lock goes with the descriptor.
    _lock: File,
}

impl Turn {
    /// Beside other tests.
    #[must_use = "the turn ends when this is dropped"]
    pub fn shared() -> Self {
        Self::take(FlockOperation::LockShared)
    }

    /// Alone: for tests that measure short times or count what a process uses.
    #[must_use = "the turn ends when this is dropped"]
    pub fn alone() -> Self {
        Self::take(FlockOperation::LockExclusive)
    }

    fn take(how: FlockOperation) -> Self {
        let gate = open("gate");
        lock(&gate, how);
        let room = open("room");
        lock(&room, how);
        HELD.fetch_add(1, Ordering::SeqCst);
        Self { _lock: room }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Fails a test that starts something without a turn.
pub(super) fn assert_held() {
    assert!(HELD.load(Ordering::SeqCst) > 0, "take a `Turn` at the beginning of the test");
}

fn lock(file: &File, how: FlockOperation) {
    while let Err(errno) = flock(file, how) {
        assert!(errno == rustix::io::Errno::INTR, "the turn's lock cannot be taken: {errno}");
    }
}

fn open(name: &str) -> File {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/tmp");
    fs::create_dir_all(&directory).expect("cargo's target directory can be written to");
    let path = directory.join(format!("lifeboat-tests.{name}.lock"));
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    opened.unwrap_or_else(|error| panic!("{} cannot be opened: {error}", path.display()))
}
