//! The faults that the demo injects, how each is committed, and which crash reasons it may lead to.

use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One way to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    /// SIGKILL, sent from outside by the injector.
    Kill,
    /// A write to memory that is not there.
    Segfault,
    /// `abort()`.
    Abort,
    /// A plain exit in the middle of a request.
    Exit,
    /// Never comes back.
    Hang,
    /// A panic in the handler.
    Panic,
    /// Takes memory until stopped.
    Memory,
}

/// Memory taken between two pauses, and the pause: about 1 GB a second, so that the limit is passed step by step.
const BITE: usize = 8 << 20;
const CHEW: Duration = Duration::from_millis(8);

/// A worker that nobody stops goes no further than this.
const FULL: usize = 1 << 30;

/// The exit code of [`Fault::Exit`].
const EXIT_CODE: i32 = 3;

impl Fault {
    /// One of them, those that cost a worker long less often.
    pub(super) fn pick(random: &mut fastrand::Rng) -> Self {
        match random.u8(..20) {
            0 => Self::Hang,
            1 => Self::Memory,
            2..=5 => Self::Kill,
            6..=9 => Self::Segfault,
            10..=12 => Self::Abort,
            13..=16 => Self::Exit,
            _ => Self::Panic,
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Segfault => "segfault",
            Self::Abort => "abort",
            Self::Exit => "exit",
            Self::Hang => "hang",
            Self::Panic => "panic",
            Self::Memory => "memory",
        }
    }

    /// The labels of the crash reasons that this fault may truthfully lead to.
    pub(super) const fn allowed(self) -> &'static [&'static str] {
        match self {
            // A worker that waits for its SIGKILL hangs meanwhile; on a loaded machine its time limit may be first.
            Self::Kill => &["killed_from_outside", "attempt_timeout"],
            Self::Segfault | Self::Abort => &["signal"],
            Self::Exit => &["exit"],
            Self::Hang => &["attempt_timeout"],
            Self::Panic => &["slots_exhausted"],
            // The broker's own limit, the kernel's, or the allocator giving up: whichever comes first.
            Self::Memory => &["memory_limit", "oom", "signal", "attempt_timeout"],
        }
    }

    /// Commits the fault. Returns never, but for a panic that the caller's runtime catches.
    pub(super) fn commit(self) -> ! {
        match self {
            Self::Kill | Self::Hang => hang(),
            Self::Segfault => segfault(),
            Self::Abort => std::process::abort(),
            Self::Exit => std::process::exit(EXIT_CODE),
            Self::Panic => panic!("the demo asked this handler to panic"),
            Self::Memory => devour(),
        }
    }
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}

fn devour() -> ! {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    while eaten.len() * BITE < FULL {
        // Not zero, or the pages would never be touched.
        eaten.push(std::hint::black_box(vec![1; BITE]));
        thread::sleep(CHEW);
    }
    hang()
}

#[expect(unsafe_code, reason = "a real segmentation fault is what the demo is there to survive")]
fn segfault() -> ! {
    let nowhere = std::hint::black_box(8 as *mut u8);
    // SAFETY: the kernel maps nothing below mmap_min_addr (64 KiB), so this write never reaches memory: the process is
    // ended by SIGSEGV at this instruction, as intended.
    unsafe { nowhere.write_volatile(1) };
    hang()
}
