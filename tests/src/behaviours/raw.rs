//! A worker on the raw protocol, without the SDK: it reads one frame at a time and leaves the rest unread in its socket.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use lifeboat_protocol::{
    DEFAULT_MAX_BODY, Header, Hello, MessageType, Method as _, Role, Route, WorkerHello, decode, decode_body,
    encode_body, put_answer, put_control,
};

use super::sdk::leave_trace;
use super::{
    answer_late, answer_of_size, answer_stranger, answer_then, answer_twice, close_and_live, commit, echo,
    garbage, half_answer, keep_socket, long_words, note_rungs, oversized, say, shut_read, shut_write,
};
use crate::act::{Act, Acted, Deed, Wait};

/// Serves until it is told to drain, its socket ends, or a deed ends it.
pub(super) fn run() -> ExitCode {
    serve(false)
}

/// The same for the methods that the further arguments name.
pub(super) fn run_for() -> ExitCode {
    let methods: Vec<String> = std::env::args().skip(2).collect();
    match Link::open_for(methods.iter().map(String::as_str)) {
        Ok(link) => serve_on(link, false),
        Err(error) => by_hand(&error),
    }
}

/// A stubborn one does not heed a drain.
pub(super) fn serve(stubborn: bool) -> ExitCode {
    match Link::open() {
        Ok(link) => serve_on(link, stubborn),
        Err(error) => by_hand(&error),
    }
}

/// The same, for one that has said its hello.
pub(super) fn serve_on(mut link: Link, stubborn: bool) -> ExitCode {
    loop {
        let Some(frame) = link.read_frame() else { return ExitCode::from(69) };
        let message = decode(&frame).expect("the broker sends frames that can be read");
        if let Header::Request { route, .. } = message.header {
            let act: Act = decode_body(message.body).expect("tests send acts");
            link.act(&act, route);
        } else if message.header == Header::Drain && !stubborn {
            return ExitCode::SUCCESS;
        }
    }
}

/// Says that this program is of no use by itself.
pub(super) fn by_hand(error: &io::Error) -> ExitCode {
    super::complain(&format!("this program is started by a broker only: {error}"));
    ExitCode::from(64)
}

/// The worker's end of its socket.
pub(super) struct Link {
    socket: UnixStream,
    worker: String,
    incarnation: u64,
}

impl Link {
    /// Takes the socket and says that this worker is ready.
    pub(super) fn open() -> io::Result<Self> {
        Self::open_for([Act::NAME, Wait::NAME])
    }

    /// The same, with methods of its own.
    pub(super) fn open_for<'a>(methods: impl IntoIterator<Item = &'a str>) -> io::Result<Self> {
        let methods = methods.into_iter().map(str::to_owned).collect();
        let hello = Hello {
            worker: Some(WorkerHello { methods, ..WorkerHello::default() }),
            ..Hello::new(Role::Worker, DEFAULT_MAX_BODY, "misbehave")
        };
        let mut out = Vec::new();
        put_control(&mut out, MessageType::Hello, None, &hello).map_err(io::Error::other)?;
        Self::open_with(&out)
    }

    /// Takes the socket and says these bytes.
    pub(super) fn open_with(first: &[u8]) -> io::Result<Self> {
        let variable = |name| std::env::var(name).map_err(io::Error::other);
        let (fd, worker) = (variable("LIFEBOAT_FD")?, variable("LIFEBOAT_WORKER")?);
        let incarnation = variable("LIFEBOAT_INCARNATION")?.parse().map_err(io::Error::other)?;
        let fd = fd.parse().map_err(io::Error::other)?;
        let mut link = Self { socket: UnixStream::from(adopt(fd)), worker, incarnation };
        link.write(first);
        Ok(link)
    }

    /// One frame without its length; `None` when the broker is gone.
    pub(super) fn read_frame(&mut self) -> Option<Vec<u8>> {
        let mut prefix = [0; 4];
        self.socket.read_exact(&mut prefix).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
        self.socket.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    fn act(&mut self, act: &Act, route: Route) {
        leave_trace(act, route.attempt, None).expect("the trace can be written");
        let answer = self.answer(act, route, None);
        if route.attempt > act.until_attempt {
            return self.write(&answer);
        }
        self.obey(&act.deed, &answer, act, route);
    }

    /// Does a deed and answers, if it lets it come to that.
    pub(super) fn obey(&mut self, deed: &Deed, answer: &[u8], act: &Act, route: Route) {
        match deed {
            Deed::AnswerThen(then) => {
                answer_then::commit(self, answer);
                self.obey(then, answer, act, route);
            }
            Deed::HalfAnswer(thousandths) => half_answer::commit(self, answer, *thousandths),
            Deed::Garbage => garbage::commit(self),
            Deed::Oversized => oversized::commit(self),
            Deed::AnswerTwice => answer_twice::commit(self, answer),
            Deed::AnswerStranger => answer_stranger::commit(self, act, route),
            Deed::CloseAndLive => close_and_live::commit(self),
            Deed::NoteRungs(file) => note_rungs::commit(self, file),
            Deed::AnswerLate(told) => answer_late::commit(self, act, route, *told),
            Deed::AnswerOfSize { header, body } => answer_of_size::commit(self, route, *header, *body),
            Deed::Say(bytes) => say::commit(self, bytes),
            Deed::LongWords(words, len) => long_words::commit(self, route, *words, *len),
            Deed::ShutRead(then) => {
                shut_read::commit(self);
                self.obey(then, answer, act, route);
            }
            Deed::ShutWrite(then) => {
                shut_write::commit(self);
                self.obey(then, answer, act, route);
            }
            Deed::KeepSocket(then) => {
                keep_socket::commit(self);
                self.obey(then, answer, act, route);
            }
            Deed::Echo
            | Deed::EchoAfter(_)
            | Deed::Fail { .. }
            | Deed::FailFor(_)
            | Deed::Recycle(_)
            | Deed::Exit(_)
            | Deed::Halt(_)
            | Deed::Abort
            | Deed::Segfault
            | Deed::StackOverflow
            | Deed::Panic
            | Deed::AbortingPanic(_)
            | Deed::Hang
            | Deed::Busy
            | Deed::Stop
            | Deed::IgnoreSigterm
            | Deed::Signal(_)
            | Deed::Litter(_)
            | Deed::LitterUndead(_)
            | Deed::Regroup(_)
            | Deed::Grove(..)
            | Deed::Bomb(_)
            | Deed::MemoryOfAChild
            | Deed::Allocation
            | Deed::Grow
            | Deed::Memory
            | Deed::When(..)
            | Deed::Keep(_)
            | Deed::Signs { .. }
            | Deed::Flood(_) => {
                commit(deed);
                self.write(answer);
            }
        }
    }

    /// The whole frame of an answer.
    pub(super) fn answer(&self, act: &Act, route: Route, told_at: Option<u64>) -> Vec<u8> {
        let acted = Acted { told_at, ..echo::answer(act, &self.worker, self.incarnation, route.attempt) };
        let body = encode_body(&acted).expect("an answer can be encoded");
        let mut out = Vec::new();
        put_answer(&mut out, route, &body);
        out
    }

    /// Writes all of it. A broker that is gone is noticed when reading.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        drop(self.socket.write_all(bytes));
    }

    /// Shuts down a direction of the socket, or both.
    pub(super) fn shut(&self, how: Shutdown) {
        drop(self.socket.shutdown(how));
    }

    /// Closes the descriptor itself.
    pub(super) fn close(&mut self) {
        let (nobody, _) = UnixStream::pair().expect("a process may have two descriptors more");
        self.socket = nobody;
    }

    /// The same socket once more, for somebody else.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone().map(OwnedFd::from)
    }
}

#[expect(unsafe_code, reason = "an inherited descriptor has no owner until somebody takes it")]
fn adopt(fd: i32) -> OwnedFd {
    // SAFETY: the broker put its socket there for this process; nothing else in this program touches that number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
