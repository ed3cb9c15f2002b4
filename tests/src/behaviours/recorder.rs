//! Writes to the flight recorder that it shares with the broker: by hand, or without any sense.
#![expect(unsafe_code, reason = "the memory is mapped, and its descriptor given to nobody")]

use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, RawFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use lifeboat_protocol::{
    DEFAULT_MAX_BODY, FlightRecorder, Header, Hello, MessageType, Method as _, RECORDER_FEATURE,
    RECORDER_VARIABLE, Role, WorkerHello, decode, decode_body, put_control,
};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::raw::{self, Link};
use super::sdk::{self, leave_trace};
use crate::act::{Act, Wait};

/// A worker on the raw protocol that reads all it is sent, and tells by the tag what it does with it: an odd one it begins
/// and never ends, one of hundreds it never begins, any other it begins when it finds that another process had read it.
pub(super) fn run_noting() -> ExitCode {
    let page = FlightRecorder::over(memory());
    page.open(1);
    let mut link = match Link::open_with(&hello()) {
        Ok(link) => link,
        Err(error) => return raw::by_hand(&error),
    };
    let mut ends = true;
    while let Some(frame) = link.read_frame() {
        let message = decode(&frame).expect("the broker sends frames that can be read");
        let Header::Request { route, .. } = message.header else { continue };
        let act: Act = decode_body(message.body).expect("tests send acts");
        let known = read_before(&act).contains(&act.tag);
        leave_trace(&act, route.attempt, None).expect("the trace can be written");
        let is_even = act.tag.is_multiple_of(2);
        let begins = !act.tag.is_multiple_of(100) && (!is_even || known);
        if ends && begins {
            page.begin(route.flags.slot(), route.id, route.attempt, 0);
        }
        ends &= begins && is_even;
        if ends {
            link.write(&link.answer(&act, route, None));
            page.end(route.flags.slot());
        }
    }
    ExitCode::from(69)
}

fn hello() -> Vec<u8> {
    let methods = [Act::NAME, Wait::NAME].map(str::to_owned).into();
    let hello = Hello {
        worker: Some(WorkerHello { methods, ..WorkerHello::default() }),
        features: vec![RECORDER_FEATURE.to_owned()],
        ..Hello::new(Role::Worker, DEFAULT_MAX_BODY, "misbehave")
    };
    let mut out = Vec::new();
    put_control(&mut out, MessageType::Hello, None, &hello).expect("a hello can be encoded");
    out
}

/// The tags of what any process has read, by the trace that it left.
fn read_before(act: &Act) -> BTreeSet<u64> {
    let text = act.trace.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
}

/// A worker on the SDK, in a program with a thread that writes anything anywhere in the page.
pub(super) fn run_scribbling() -> ExitCode {
    let memory = memory();
    std::thread::spawn(move || {
        loop {
            let word = &memory[fastrand::usize(..memory.len())];
            let anything = [0, 1, u64::MAX, fastrand::u64(..), fastrand::u64(..) & 0xffff_ffff];
            word.store(anything[fastrand::usize(..anything.len())], Ordering::Relaxed);
            if fastrand::u8(..) == 0 {
                // What it wrote last may also look right.
                FlightRecorder::over(memory).open(fastrand::u32(..));
                std::thread::yield_now();
            }
        }
    });
    sdk::run()
}

fn memory() -> &'static [AtomicU64] {
    let fd = std::env::var(RECORDER_VARIABLE).ok().and_then(|fd| fd.parse::<RawFd>().ok());
    // SAFETY: the SDK takes the descriptor later, if at all, and nothing else in this program does.
    let fd = unsafe { BorrowedFd::borrow_raw(fd.expect("a broker has started this program")) };
    let len = rustix::fs::fstat(fd).expect("it is open").st_size as usize;
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at a place of the system's choosing.
    let start = unsafe { mmap(std::ptr::null_mut(), len, rights, MapFlags::SHARED, fd, 0) };
    let start = start.expect("the broker hands over memory that can be mapped").cast();
    // SAFETY: as long as that, page-aligned, sealed against shrinking, and never unmapped.
    unsafe { std::slice::from_raw_parts(start, len / size_of::<AtomicU64>()) }
}
