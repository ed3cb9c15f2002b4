//! A worker on the raw protocol, without the SDK: it reads one frame at a time and leaves the rest unread in its socket.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lifeboat_protocol::{
    DEFAULT_MAX_BODY, Header, Hello, MessageType, Method as _, Role, Route, WorkerHello, decode, decode_body,
    encode_body, put_answer, put_control,
};

use super::sdk::leave_trace;
use super::{
    answer_stranger, answer_then, answer_twice, close_and_live, commit, echo, garbage, half_answer, oversized,
};
use crate::act::{Act, Deed, Wait};

/// Serves until it is told to drain, its socket ends, or a deed ends it.
pub(super) fn run() -> ExitCode {
    serve(false)
}

/// The same, but heeds neither a drain nor SIGTERM.
pub(super) fn run_stubborn() -> ExitCode {
    let never_read = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, never_read).expect("SIGTERM can be caught");
    serve(true)
}

fn serve(stubborn: bool) -> ExitCode {
    let mut link = match Link::open() {
        Ok(link) => link,
        Err(error) => {
            super::complain(&format!("this program is started by a broker only: {error}"));
            return ExitCode::from(64);
        }
    };
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

/// The worker's end of its socket.
pub(super) struct Link {
    socket: UnixStream,
    worker: String,
    incarnation: u64,
}

impl Link {
    fn open() -> io::Result<Self> {
        let variable = |name| std::env::var(name).map_err(io::Error::other);
        let (fd, worker) = (variable("LIFEBOAT_FD")?, variable("LIFEBOAT_WORKER")?);
        let incarnation = variable("LIFEBOAT_INCARNATION")?.parse().map_err(io::Error::other)?;
        let fd = fd.parse().map_err(io::Error::other)?;
        let mut link = Self { socket: UnixStream::from(adopt(fd)), worker, incarnation };
        let hello = Hello {
            worker: Some(WorkerHello { methods: vec![Act::NAME.into(), Wait::NAME.into()], slots: 1 }),
            ..Hello::new(Role::Worker, DEFAULT_MAX_BODY, "misbehave")
        };
        let mut out = Vec::new();
        put_control(&mut out, MessageType::Hello, None, &hello).map_err(io::Error::other)?;
        link.write(&out);
        Ok(link)
    }

    /// One frame without its length; `None` when the broker is gone.
    fn read_frame(&mut self) -> Option<Vec<u8>> {
        let mut prefix = [0; 4];
        self.socket.read_exact(&mut prefix).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
        self.socket.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    fn act(&mut self, act: &Act, route: Route) {
        leave_trace(act, route.attempt).expect("the trace can be written");
        let answer = self.answer(act, route);
        if route.attempt > act.until_attempt {
            return self.write(&answer);
        }
        match &act.deed {
            Deed::AnswerThen(then) => answer_then::commit(self, &answer, then),
            Deed::HalfAnswer(thousandths) => half_answer::commit(self, &answer, *thousandths),
            Deed::Garbage => garbage::commit(self),
            Deed::Oversized => oversized::commit(self),
            Deed::AnswerTwice => answer_twice::commit(self, &answer),
            Deed::AnswerStranger => answer_stranger::commit(self, act, route),
            Deed::CloseAndLive => close_and_live::commit(self),
            Deed::Echo
            | Deed::EchoAfter(_)
            | Deed::Fail { .. }
            | Deed::Exit(_)
            | Deed::Abort
            | Deed::Segfault
            | Deed::StackOverflow
            | Deed::Panic
            | Deed::Hang
            | Deed::Signal(_)
            | Deed::Litter(_)
            | Deed::Memory
            | Deed::Flood(_) => {
                commit(&act.deed);
                self.write(&answer);
            }
        }
    }

    /// The whole frame of an answer.
    pub(super) fn answer(&self, act: &Act, route: Route) -> Vec<u8> {
        let acted = echo::answer(act, &self.worker, self.incarnation, route.attempt);
        let body = encode_body(&acted).expect("an answer can be encoded");
        let mut out = Vec::new();
        put_answer(&mut out, route, &body);
        out
    }

    /// Writes all of it. A broker that is gone is noticed when reading.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        drop(self.socket.write_all(bytes));
    }

    /// Gives the socket away.
    pub(super) fn shut(&self) {
        drop(self.socket.shutdown(std::net::Shutdown::Both));
    }
}

#[expect(unsafe_code, reason = "an inherited descriptor has no owner until somebody takes it")]
fn adopt(fd: i32) -> OwnedFd {
    // SAFETY: the broker put its socket there for this process; nothing else in this program touches that number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
