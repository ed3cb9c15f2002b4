//! What tests ask a worker to do: one request type for every deed, good or bad.

use std::path::PathBuf;

use lifeboat_protocol::{PreviousAttempt, method};
use serde::{Deserialize, Serialize};

/// What a worker does with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// Answers.
    Echo,
    /// Answers after so many milliseconds, whatever happens meanwhile.
    EchoAfter(u64),
    /// Says no.
    Fail {
        /// Whether another attempt may succeed.
        retryable: bool,
    },
    /// Says no, and that another attempt may succeed after so many milliseconds. SDK workers only.
    FailFor(u64),
    /// Exits with this code.
    Exit(i32),
    /// Halts with this code: nothing runs that a program may have registered for its exit.
    Halt(i32),
    /// Calls `abort()`.
    Abort,
    /// Writes to memory that is not there.
    Segfault,
    /// Recurses until the stack is used up.
    StackOverflow,
    /// Panics.
    Panic,
    /// Panics in a way that ends the process.
    AbortingPanic(Uncaught),
    /// Never comes back, and heeds neither cancel nor SIGTERM.
    Hang,
    /// Sends itself this signal, then hangs.
    Signal(i32),
    /// Leaves a child and a daemon of another session behind, then does the other deed.
    Litter(Box<Self>),
    /// Starts a child with a child, a daemon of another session, one without an environment too, a process that ignores
    /// SIGTERM and one that is stopped, all with this word on their command lines, then does the other deed.
    Grove(String, Box<Self>),
    /// Starts processes, which start processes, until the system says no; all have this word on their command lines.
    Bomb(String),
    /// Computes for ever, without a system call.
    Busy,
    /// Stops itself with SIGSTOP.
    Stop,
    /// Ignores SIGTERM and never comes back.
    IgnoreSigterm,
    /// Leaves its process group as far as it can, starts a child in another one, then does the other deed.
    Regroup(Box<Self>),
    /// Asks for more memory than there can be.
    Allocation,
    /// The same as [`Deed::Litter`], and what is left behind has lost its main threads.
    LitterUndead(Box<Self>),
    /// Takes memory until it is stopped.
    Memory,
    /// Has a child take memory until it is stopped, and answers when it was.
    MemoryOfAChild,
    /// Writes to a file until it is stopped.
    Grow,
    /// Writes so many MiB to stderr, then one last line, and exits with code 9.
    Flood(u32),
    /// Waits until this file is there, whatever happens meanwhile, then does the other deed.
    When(PathBuf, Box<Self>),
    /// Has the process replaced after it, then does the other deed. SDK workers only.
    Recycle(Box<Self>),
    /// Takes so many MiB, keeps them for good, and answers.
    Keep(usize),
    /// Gives a sign so many times, with a pause of so many milliseconds before each, then does the other deed. SDK
    /// workers only.
    Signs {
        /// Which.
        sign: Sign,
        /// How often.
        times: u64,
        /// The pause.
        pause: u64,
        /// What follows.
        then: Box<Self>,
    },
    /// Answers and does the other deed at once. Raw workers only, like all that follow.
    AnswerThen(Box<Self>),
    /// Writes so many thousandths of the answer's frame and kills itself.
    HalfAnswer(u16),
    /// Sends bytes that are no frame of the protocol, then hangs. SDK workers too.
    Garbage,
    /// Announces a frame of 4 GiB, then hangs.
    Oversized,
    /// Answers twice.
    AnswerTwice,
    /// Answers a request that it was never given, then hangs.
    AnswerStranger,
    /// Closes its socket and lives on. SDK workers too: they shut it down, since it is not theirs to close.
    CloseAndLive,
    /// Shuts down the direction of its socket in which it reads, then does the other deed.
    ShutRead(Box<Self>),
    /// Shuts down the direction of its socket in which it writes, then does the other deed.
    ShutWrite(Box<Self>),
    /// Starts a child that keeps the socket open, then does the other deed.
    KeepSocket(Box<Self>),
    /// Never comes back, heeds neither cancel nor SIGTERM, and adds a line to this file for each of them when it comes:
    /// `cancel` or `sigterm`, and [`now`](crate::clock::now).
    NoteRungs(PathBuf),
    /// Answers only once it was told to stop; see [`Acted::told_at`].
    AnswerLate(Told),
    /// Answers with a header and a body of so many bytes.
    AnswerOfSize {
        /// The header's, 19 or more than 23.
        header: usize,
        /// The body's, 5 at least.
        body: usize,
    },
    /// Says these bytes and hangs.
    Say(Vec<u8>),
    /// Says why it failed with a text of so many bytes.
    LongWords(Words, usize),
}

/// How a panic ends the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Uncaught {
    /// It is one in a `Drop`, while another one unwinds.
    InDrop,
    /// It would have to unwind through a function of C.
    AcrossC,
    /// A hook of the program aborts.
    InHook,
}

/// What a worker can say while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sign {
    /// That the work moves: how many signs of how many.
    Progress,
    /// A part of the reply: the number of the sign.
    Partial,
    /// A line on stderr.
    Output,
    /// A line on stdout.
    Stdout,
}

/// What a worker says when something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Words {
    /// That the handler said no.
    Failure,
    /// That the handler panicked. The worker then exits.
    Panicked,
    /// That no slot is left. The worker then exits.
    WorkersFailed,
}

/// How a worker is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// By a cancel frame. The worker then serves on.
    Cancel,
    /// By SIGTERM. The worker then hangs.
    Sigterm,
}

/// The method of the worker `mirror`, which gives bodies back as they came.
pub const MIRROR: &str = "mirror";

/// The same under a name of 255 bytes.
pub const LONGEST_METHOD: &str = "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm\
    mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm\
    mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm";
const _: () = assert!(LONGEST_METHOD.len() == lifeboat_protocol::MAX_METHOD);

/// The text of the panic of [`Deed::Panic`].
pub const PANIC: &str = "this handler was asked to panic";

/// The last line of [`Deed::Flood`] on stderr.
pub const LAST_LINE: &str = "these are the last words";

/// A request to do something; answered with [`Acted`]. Blocking in SDK workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// What to do.
    pub deed: Deed,
    /// Comes back in the answer.
    pub tag: u64,
    /// The last attempt at which the deed is done; later ones only answer.
    pub until_attempt: u16,
    /// A file to which each execution adds a line before it begins.
    pub trace: Option<PathBuf>,
    /// So many bytes of padding in the answer.
    pub padding: usize,
}

impl Act {
    /// Does the deed at every attempt.
    #[must_use]
    pub fn new(deed: Deed) -> Self {
        Self { deed, tag: 0, until_attempt: u16::MAX, trace: None, padding: 0 }
    }

    /// Does the deed once this file is there.
    #[must_use]
    pub fn when(file: impl Into<PathBuf>, deed: Deed) -> Self {
        Self::new(Deed::When(file.into(), Box::new(deed)))
    }

    /// An echo with a tag.
    #[must_use]
    pub fn echo(tag: u64) -> Self {
        Self { tag, ..Self::new(Deed::Echo) }
    }

    /// With a tag.
    #[must_use]
    pub fn tag(self, tag: u64) -> Self {
        Self { tag, ..self }
    }

    /// Does the deed only up to this attempt.
    #[must_use]
    pub fn until(self, attempt: u16) -> Self {
        Self { until_attempt: attempt, ..self }
    }

    /// Leaves a trace of every execution in a file.
    #[must_use]
    pub fn traced(self, file: impl Into<PathBuf>) -> Self {
        Self { trace: Some(file.into()), ..self }
    }
}

method!("act": Act => Acted, partial = u64);

/// Who answered an [`Act`] or a [`Wait`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// The request's.
    pub tag: u64,
    /// The process.
    pub pid: u32,
    /// The worker's name.
    pub worker: String,
    /// Which of its lives.
    pub incarnation: u64,
    /// Which attempt.
    pub attempt: u16,
    /// As long as was asked for.
    pub padding: Vec<u8>,
    /// When [`Deed::AnswerLate`] was told to stop; see [`now`](crate::clock::now).
    pub told_at: Option<u64>,
}

/// Does steps, saving after each, until its attempt is to end; the next attempt goes on. SDK workers only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// How many there are.
    pub steps: u64,
    /// After which step the first attempts end, in order, and how; later ones do all that is left.
    pub ends: Vec<(u64, StepsEnd)>,
    /// So many bytes of padding in what is saved.
    pub padding: usize,
}

/// How an attempt at [`Steps`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepsEnd {
    /// SIGKILL to itself, right after the save has returned.
    Kill,
    /// It never comes back.
    Hang,
    /// The handler says no, and that another attempt may succeed.
    Fail,
    /// The handler panics.
    Panic,
}

/// A step that was done: by which attempt, in which worker and incarnation.
pub type Step = (u16, String, u64);

/// What became of [`Steps`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stepped {
    /// Every step that was saved, in order.
    pub steps: Vec<Step>,
    /// What the last attempt found saved.
    pub found: Option<usize>,
    /// What the last attempt was told of those before it.
    pub previous: Vec<PreviousAttempt>,
    /// Which slot finished it.
    pub slot: u8,
}

method!("steps": Steps => Stepped);

/// Saves so many bytes, encoded; after the first of them it kills itself. Answers with how many bytes the next attempt
/// found, and the error of a save of one byte more than may be. SDK workers only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaveBytes {
    /// How many, at least 65536.
    pub bytes: usize,
}

method!("save_bytes": SaveBytes => (Option<usize>, Option<String>));

/// Answers after so many milliseconds, asynchronously: a cancel ends it at once. SDK workers only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// How long.
    pub millis: u64,
}

method!("wait": Wait => Acted);

/// Asks another pool, on behalf of itself or not, and tells what came of it. SDK workers only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nest {
    /// What the other is asked.
    pub ask: Ask,
    /// On nobody's behalf.
    pub detached: bool,
    /// From a task that the handler spawns.
    pub spawned: bool,
}

/// What a nested request asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// What it sees of itself.
    See,
    /// That this be done.
    Act(Act),
}

/// What came of a nested request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nested {
    /// What it saw of itself, if that was asked.
    pub seen: Option<Seen>,
    /// Why there was no answer, and whether it may have been executed.
    pub error: Option<(String, bool)>,
    /// The process that asked.
    pub pid: u32,
}

method!("nest": Nest => Nested);

/// Asks another pool what a request sees of itself, in a handler that blocks, with a client that blocks. SDK workers only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NestBlocking {
    /// On a thread that the handler starts.
    pub threaded: bool,
}

method!("nest-blocking": NestBlocking => Nested);

/// Tells what the request sees of itself. SDK workers only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct See {}

/// What a request sees of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Until it must have ended, in milliseconds.
    pub left: Option<u64>,
    /// Its caller's trace.
    pub trace: Option<(String, String)>,
}

method!("see": See => Seen);
