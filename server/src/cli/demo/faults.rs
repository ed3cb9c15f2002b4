//! The faults that the demo injects, how each is committed, and which crash reasons it may lead to.

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use lifeboat_worker::{Context, Progress};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

/// One way to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    /// SIGKILL, sent from outside by the injector.
    Kill,
    /// SIGHUP, sent from outside by the injector.
    Hangup,
    /// A write to memory that is not there.
    Segfault,
    /// `abort()`.
    Abort,
    /// A plain exit in the middle of a request.
    Exit,
    /// Goes on for ever, and says so.
    Hang,
    /// Never comes back, and says nothing.
    Stall,
    /// Stops itself, threads and all.
    Freeze,
    /// Writes to the broker's socket what is no frame.
    Gibberish,
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

/// How often [`Fault::Hang`] says that it goes on.
const STEP: Duration = Duration::from_millis(20);

/// The exit code of [`Fault::Exit`].
const EXIT_CODE: i32 = 3;

/// The faults of one client: each kind once, so that a short demo shows all of them, and then by chance.
#[derive(Debug)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn shuffled(random: &mut fastrand::Rng) -> Self {
        let mut faults = Fault::ALL.to_vec();
        random.shuffle(&mut faults);
        Self(faults)
    }

    pub(super) fn next(&mut self, random: &mut fastrand::Rng) -> Fault {
        self.0.pop().unwrap_or_else(|| Fault::pick(random))
    }
}

impl Fault {
    const ALL: [Self; 11] = [
        Self::Kill,
        Self::Hangup,
        Self::Segfault,
        Self::Abort,
        Self::Exit,
        Self::Hang,
        Self::Stall,
        Self::Freeze,
        Self::Gibberish,
        Self::Panic,
        Self::Memory,
    ];

    /// One of them, those that cost a worker long less often.
    fn pick(random: &mut fastrand::Rng) -> Self {
        match random.u8(..32) {
            0 => Self::Hang,
            1 => Self::Stall,
            2 => Self::Freeze,
            3 => Self::Memory,
            4..=7 => Self::Kill,
            8..=10 => Self::Hangup,
            11..=15 => Self::Segfault,
            16..=19 => Self::Abort,
            20..=24 => Self::Exit,
            25..=27 => Self::Gibberish,
            _ => Self::Panic,
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Hangup => "hangup",
            Self::Segfault => "segfault",
            Self::Abort => "abort",
            Self::Exit => "exit",
            Self::Hang => "hang",
            Self::Stall => "stall",
            Self::Freeze => "freeze",
            Self::Gibberish => "gibberish",
            Self::Panic => "panic",
            Self::Memory => "memory",
        }
    }

    /// The labels of the crash reasons that this fault may truthfully lead to.
    pub(super) const fn allowed(self) -> &'static [&'static str] {
        match self {
            // A worker that waits for its signal stalls meanwhile; on a loaded machine the limit may be first.
            Self::Kill => &["killed_from_outside", "progress_stall"],
            Self::Hangup => &["stopped_from_outside", "progress_stall"],
            Self::Segfault | Self::Abort => &["signal"],
            Self::Exit => &["exit"],
            Self::Hang => &["attempt_timeout"],
            Self::Stall => &["progress_stall"],
            Self::Freeze => &["unresponsive", "progress_stall"],
            Self::Gibberish => &["protocol_violation"],
            Self::Panic => &["slots_exhausted"],
            // The broker's own limit, the kernel's, or the allocator giving up: whichever comes first.
            Self::Memory => &["memory_limit", "oom", "signal", "progress_stall"],
        }
    }

    /// The signal that the injector sends for it.
    pub(super) const fn outside_signal(self) -> Option<Signal> {
        match self {
            Self::Kill => Some(Signal::KILL),
            Self::Hangup => Some(Signal::HUP),
            Self::Segfault
            | Self::Abort
            | Self::Exit
            | Self::Hang
            | Self::Stall
            | Self::Freeze
            | Self::Gibberish
            | Self::Panic
            | Self::Memory => None,
        }
    }

    /// Commits the fault. Returns never, but for a panic that the caller's runtime catches.
    pub(super) fn commit(self, context: &Context) -> ! {
        match self {
            Self::Kill | Self::Hangup | Self::Stall => hang(),
            Self::Hang => crawl(context),
            Self::Freeze => freeze(),
            Self::Gibberish => babble(),
            Self::Segfault => segfault(),
            Self::Abort => std::process::abort(),
            Self::Exit => std::process::exit(EXIT_CODE),
            Self::Panic => panic!("the demo asked this handler to panic"),
            Self::Memory => devour(),
        }
    }
}

fn crawl(context: &Context) -> ! {
    loop {
        context.progress(Progress::new());
        thread::sleep(STEP);
    }
}

fn freeze() -> ! {
    // Only a kernel without signals would refuse.
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
    hang()
}

#[expect(unsafe_code, reason = "a library that writes to descriptors that are not its own is what is shown")]
fn babble() -> ! {
    // SAFETY: the worker SDK took over descriptor 3 at the start and keeps it open until the process ends.
    let socket = unsafe { BorrowedFd::borrow_raw(3) };
    // A socket that is gone ends the process as well.
    let _ = rustix::io::write(socket, &[0xff; 64]);
    hang()
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
