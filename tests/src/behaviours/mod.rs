//! Worker programs that misbehave: one way each per file, all in the one program `misbehave`.
//!
//! Its first argument chooses the kind: a worker on the SDK or on the raw protocol, which then does what each request
//! asks for, or a program that never gets that far. None of this may be repaired: being wrong is what it is for.

mod abort;
mod aborting_panic;
mod allocation;
mod answer_late;
mod answer_of_size;
mod answer_stranger;
mod answer_then;
mod answer_twice;
mod bad_hello;
mod bomb;
mod busy;
mod chaos;
mod close_and_live;
mod die_when_ready;
mod echo;
mod escape;
mod exit;
mod fail;
mod fail_start;
mod flood;
mod garbage;
mod grove;
mod grow;
mod half_answer;
mod halt;
mod hang;
mod ignore_sigterm;
mod keep;
mod keep_socket;
mod litter;
mod long_words;
mod lose_main;
mod memory;
mod mirror;
mod nest;
mod never_read;
mod never_ready;
mod new_words;
mod note_rungs;
mod old;
mod overflow;
mod oversized;
mod panic;
mod raw;
mod recorder;
mod regroup;
mod save;
mod say;
mod sdk;
mod segfault;
mod shut_read;
mod shut_write;
mod signal;
mod signs;
mod slow_start;
mod spoil;
mod stop_itself;
mod when;

use std::process::ExitCode;

pub use self::grove::GROVE;

use crate::act::Deed;

/// The main function of a kind of program.
type Kind = fn() -> ExitCode;

/// The kinds of program, by first argument.
const KINDS: [(&str, Kind); 29] = [
    ("sdk", sdk::run),
    ("sdk-for", chaos::run_for),
    ("sdk-flooding", flood::run),
    ("raw", raw::run),
    ("raw-for", raw::run_for),
    ("raw-stubborn", ignore_sigterm::run),
    ("raw-lost-main", lose_main::run),
    ("raw-noting", recorder::run_noting),
    ("sdk-scribbling", recorder::run_scribbling),
    ("mirror", mirror::run),
    ("fail-start", fail_start::run),
    ("slow-start", slow_start::run),
    ("sdk-slow-start", slow_start::run_sdk),
    ("never-ready", never_ready::run),
    ("bad-hello", bad_hello::run),
    ("die-when-ready", die_when_ready::run),
    ("never-read", never_read::run),
    ("hang", hang::run),
    ("grove", grove::run),
    ("hog", memory::run),
    ("bomb", bomb::run),
    ("escape", escape::run),
    ("hang-lost-main", lose_main::run_and_hang),
    ("escape-undead", escape::run_undead),
    ("escape-and-end", escape::run_and_end),
    ("chaos-sdk", chaos::run),
    ("chaos-raw", chaos::run_raw),
    ("new-words", new_words::run),
    ("old", old::run),
];

/// Runs the kind of program that the first argument names.
#[must_use]
pub fn run() -> ExitCode {
    let kind = std::env::args().nth(1).unwrap_or_default();
    match KINDS.iter().find(|(name, _)| *name == kind) {
        Some((_, run)) => run(),
        None => {
            complain(&format!("misbehave: no kind {kind:?}; one of {:?}", KINDS.map(|(name, _)| name)));
            ExitCode::from(2)
        }
    }
}

/// Does a deed that is not an answer. Returns for deeds that only prepare, and for those of raw workers.
fn commit(deed: &Deed) {
    match deed {
        Deed::Exit(code) => exit::commit(*code),
        Deed::Halt(code) => halt::commit(*code),
        Deed::Abort => abort::commit(),
        Deed::Segfault => segfault::commit(),
        Deed::StackOverflow => overflow::commit(),
        Deed::Panic => panic::commit(),
        Deed::AbortingPanic(how) => aborting_panic::commit(*how),
        Deed::Hang => hang::commit(),
        Deed::Busy => busy::commit(),
        Deed::Stop => stop_itself::commit(),
        Deed::IgnoreSigterm => ignore_sigterm::commit(),
        Deed::Signal(signal) => signal::commit(*signal),
        Deed::Litter(then) => {
            litter::commit();
            commit(then);
        }
        Deed::Grove(word, then) => {
            grove::commit(word);
            commit(then);
        }
        Deed::Bomb(word) => bomb::commit(word),
        Deed::Regroup(then) => {
            regroup::commit();
            commit(then);
        }
        Deed::Allocation => allocation::commit(),
        Deed::Grow => grow::commit(),
        Deed::LitterUndead(then) => {
            litter::commit_undead();
            commit(then);
        }
        Deed::Memory => memory::commit(),
        Deed::MemoryOfAChild => memory::by_child(),
        Deed::Flood(mib) => flood::commit(*mib),
        Deed::EchoAfter(millis) => echo::after(*millis),
        Deed::When(file, then) => {
            when::wait(file);
            commit(then);
        }
        Deed::Keep(mib) => keep::commit(*mib),
        Deed::Garbage => spoil::with_garbage(),
        Deed::CloseAndLive => spoil::by_shutting(),
        Deed::Echo
        | Deed::Fail { .. }
        | Deed::FailFor(_)
        | Deed::Recycle(_)
        | Deed::Signs { .. }
        | Deed::AnswerThen(_)
        | Deed::HalfAnswer(_)
        | Deed::Oversized
        | Deed::AnswerTwice
        | Deed::AnswerStranger
        | Deed::ShutRead(_)
        | Deed::ShutWrite(_)
        | Deed::KeepSocket(_)
        | Deed::NoteRungs(_)
        | Deed::AnswerLate(_)
        | Deed::AnswerOfSize { .. }
        | Deed::Say(_)
        | Deed::LongWords(..) => {}
    }
}

/// A line on stderr.
fn complain(text: &str) {
    use std::io::Write as _;
    // A stderr that is gone leaves nobody to tell.
    drop(writeln!(std::io::stderr(), "{text}"));
}
