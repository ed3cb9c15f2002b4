//! Everything that a worker can do wrong, one row each, and what becomes of its caller and of itself.
//!
//! The table drives a real broker: each row is a test of its own name. `docs/failures.md` is written from the rows, and a
//! test compares the two. A further misbehaviour is a file in `src/behaviours/`, a deed or a kind of program that asks
//! for it, and a row here; then have the document written anew, as the failing test says.

mod document;
mod drive;
mod row;

use lifeboat_client::TimeoutWhich;
use lifeboat_tests::act::{Act, Deed, Told, Uncaught};

use self::row::{Row, by_shell, raw, sdk, worker};

const ATTEMPT: &str = "attempt_timeout = \"300ms\"";
const DEADLINE: &str = "deadline = \"300ms\"";

/// A row that is ended by `attempt_timeout`.
fn limited(row: Row) -> Row {
    row.policy(ATTEMPT).timed_out(TimeoutWhich::Attempt, "attempt_timeout")
}

/// The other deed, as a deed takes it.
fn then(deed: Deed) -> Box<Deed> {
    Box::new(deed)
}

/// Makes a test of each row, and [`rows`].
macro_rules! rows {
    ($($name:ident: $does:literal => $row:expr;)*) => {
        /// The table.
        fn rows() -> Vec<Row> {
            vec![$($row.named(stringify!($name), $does)),*]
        }

        $(
            #[tokio::test]
            async fn $name() {
                drive::prove($row.named(stringify!($name), $does)).await;
            }
        )*
    };
}

rows! {
    says_no: "returns an error from its handler" =>
        sdk(Deed::Fail { retryable: false }).failed().serves_on();
    exits_with_0: "exits with code 0 in the middle of a request" =>
        sdk(Deed::Exit(0)).crashed("exit").replaced();
    exits_with_3: "exits with code 3 in the middle of a request" =>
        sdk(Deed::Exit(3)).crashed("exit").replaced();
    aborts: "aborts" =>
        sdk(Deed::Abort).crashed("signal").replaced();
    segfaults: "writes to memory that is not there" =>
        sdk(Deed::Segfault).crashed("signal").replaced();
    overflows_its_stack: "recurses until its stack is used up" =>
        sdk(Deed::StackOverflow).crashed("signal").replaced();
    fails_to_allocate: "asks for memory that it cannot get, and is aborted for it" =>
        sdk(Deed::Allocation).crashed("signal").replaced();
    panics: "panics in its handler" =>
        sdk(Deed::Panic).crashed("slot_panicked").counted("slots_exhausted").replaced();
    panics_in_one_of_its_slots: "panics in the handler of one of several slots" =>
        sdk(Deed::Panic).pool("slots = 2").crashed("slot_panicked").degraded();
    panics_and_may_keep_its_slot: "panics in its handler, where a panic costs no slot" =>
        sdk(Deed::Panic).pool("on_panic = \"keep\"").crashed("slot_panicked").uncounted().serves_on();
    panics_in_a_drop: "panics in a `Drop` while another panic unwinds, and is aborted for it" =>
        sdk(Deed::AbortingPanic(Uncaught::InDrop)).crashed("slot_panicked").counted("signal").replaced();
    panics_across_c: "panics in a function that C has called, and is aborted for it" =>
        sdk(Deed::AbortingPanic(Uncaught::AcrossC)).crashed("slot_panicked").counted("signal").replaced();
    is_killed: "is killed with SIGKILL by somebody else" =>
        sdk(Deed::Signal(9)).crashed("killed_from_outside").replaced();
    is_terminated: "is ended with SIGTERM by somebody else, and has no handler for it" =>
        raw(Deed::Signal(15)).crashed("stopped_from_outside").replaced();
    uses_too_much_memory: "uses more memory than its limit, in a cgroup of its own" =>
        sdk(Deed::Memory).pool("limits = { memory = \"96MiB\" }").takes_cgroups().crashed("oom").replaced();
    uses_too_much_memory_without_a_cgroup: "uses more memory than its limit, where there are no cgroups" =>
        sdk(Deed::Memory).broker("cgroups = \"off\"").pool("limits = { memory = \"96MiB\" }")
            .crashed("memory_limit").replaced();
    uses_too_much_cpu: "uses more CPU time than its limit" =>
        sdk(Deed::Busy).pool("limits = { cpu_time = \"1s\" }").crashed("cpu_limit").replaced();
    ignores_that_it_uses_too_much_cpu: "uses more CPU time than its limit, and ignores SIGXCPU" =>
        by_shell("trap '' XCPU; exec", "sdk", Deed::Busy).pool("limits = { cpu_time = \"1s\" }")
            .crashed("cpu_limit").replaced();
    writes_too_large_a_file: "writes more to a file than its limit" =>
        sdk(Deed::Grow).pool("limits = { file_size = \"1MiB\" }").crashed("file_size_limit").replaced();

    hangs: "never comes back" =>
        limited(sdk(Deed::Hang)).replaced();
    hangs_until_its_deadline: "never comes back, and only the deadline is near" =>
        sdk(Deed::Hang).policy("deadline = \"1s\"").timed_out(TimeoutWhich::Deadline, "deadline").replaced();
    computes_for_ever: "computes for ever, without a system call" =>
        limited(sdk(Deed::Busy)).replaced();
    ignores_sigterm: "ignores SIGTERM and never comes back" =>
        limited(raw(Deed::IgnoreSigterm)).replaced();
    stops_itself: "stops itself with SIGSTOP while it executes" =>
        limited(sdk(Deed::Stop)).replaced();
    sends_no_heartbeat_any_more: "stops itself with SIGSTOP while it executes, and so sends no heartbeat any more" =>
        sdk(Deed::Stop).pool("heartbeat = { interval = \"200ms\", missed = 3 }").crashed("unresponsive").replaced();
    makes_no_progress: "does not say that its work goes on" =>
        sdk(Deed::Hang).policy("progress_timeout = \"300ms\"")
            .timed_out(TimeoutWhich::Progress, "progress_stall").replaced();
    writes_nothing: "writes nothing to stdout or stderr" =>
        sdk(Deed::Hang).policy("output_timeout = \"300ms\"").timed_out(TimeoutWhich::Output, "output_stall").replaced();
    never_reads: "says that it is ready and never reads its socket" =>
        limited(worker("never-read", Act::new(Deed::Echo)).mute()).replaced_after_a_wait();
    answers_late: "answers only when it is told to stop, within `cancel_grace`" =>
        raw(Deed::AnswerLate(Told::Cancel)).graces("5s", "5s").policy(ATTEMPT).answered_late().serves_on();
    answers_after_sigterm: "answers only when SIGTERM comes, and does not leave" =>
        raw(Deed::AnswerLate(Told::Sigterm)).graces("0s", "1s").policy(ATTEMPT).answered_late()
            .counted("attempt_timeout").replaced();

    starts_slowly: "takes its time to start, within `start_timeout`" =>
        worker("slow-start 300", Act::new(Deed::Echo)).mute().pool("start_timeout = \"5s\"").answered().serves_on();
    starts_too_slowly: "takes longer to start than `start_timeout`" =>
        worker("slow-start 60000", Act::new(Deed::Echo)).pool("start_timeout = \"50ms\"").policy(DEADLINE)
            .never_ran("start_failed").starts_over();
    is_never_ready: "starts and never says hello" =>
        worker("never-ready", Act::new(Deed::Echo)).pool("start_timeout = \"50ms\"").policy(DEADLINE)
            .never_ran("start_failed").starts_over();
    fails_to_start: "exits before it is ready" =>
        worker("fail-start", Act::new(Deed::Echo)).policy(DEADLINE).never_ran("start_failed").starts_over();
    fails_to_start_too_often: "exits before it is ready, so often that its pool trips" =>
        worker("fail-start", Act::new(Deed::Echo))
            .restart("restart = { initial = \"1ms\", max = \"10ms\", max_restarts = 5 }")
            .refused("start_failed").trips();
    dies_when_ready: "says that it is ready and exits at once, so often that its pool trips" =>
        worker("die-when-ready", Act::new(Deed::Echo))
            .restart("restart = { initial = \"1ms\", max = \"10ms\", max_restarts = 5 }")
            .refused("exit").trips();
    speaks_another_version: "says hello in a version of the protocol that the broker does not speak" =>
        worker("bad-hello version", Act::new(Deed::Echo)).policy(DEADLINE).never_ran("start_failed").starts_over();

    sends_garbage: "sends bytes that are no message" =>
        raw(Deed::Garbage).crashed("protocol_violation").replaced();
    sends_too_large_a_frame: "announces a frame that is larger than any may be" =>
        raw(Deed::Oversized).crashed("protocol_violation").replaced();
    sends_half_an_answer: "dies in the middle of writing its answer" =>
        raw(Deed::HalfAnswer(500)).crashed("killed_from_outside").replaced();
    answers_and_dies: "answers and dies at once" =>
        raw(Deed::AnswerThen(then(Deed::Exit(3)))).answered().counted("exit").replaced();
    answers_twice: "answers the same request twice" =>
        raw(Deed::AnswerTwice).answered().serves_on();
    answers_a_stranger: "answers a request that it was never given" =>
        raw(Deed::AnswerStranger).crashed("protocol_violation").replaced();

    closes_its_socket: "closes its socket and lives on" =>
        raw(Deed::CloseAndLive).crashed("connection_closed").replaced();
    shuts_its_writing_end: "shuts down the direction in which it writes, and lives on" =>
        raw(Deed::ShutWrite(then(Deed::Hang))).crashed("connection_closed").replaced();
    shuts_its_reading_end: "shuts down the direction in which it reads, and never comes back" =>
        limited(raw(Deed::ShutRead(then(Deed::Hang)))).replaced();
    shuts_its_reading_end_and_answers: "shuts down the direction in which it reads, answers, and never comes \
        back; found out at the next request, which goes to the next process free of charge" =>
        raw(Deed::ShutRead(then(Deed::AnswerThen(then(Deed::Hang))))).answered().counted("connection_error").replaced();

    leaves_a_child_with_its_socket: "starts a child that keeps its socket, and exits" =>
        raw(Deed::KeepSocket(then(Deed::Exit(3)))).crashed("exit").replaced();
    leaves_a_daemon: "leaves a child and a daemon in a session of its own, and exits" =>
        sdk(Deed::Litter(then(Deed::Exit(3)))).crashed("exit").replaced();
    leaves_its_group: "leaves its process group as far as it can, starts a child in another, and never comes back" =>
        limited(sdk(Deed::Regroup(then(Deed::Hang)))).replaced();
    floods_stderr: "writes 64 MiB to stderr and exits" =>
        sdk(Deed::Flood(64)).crashed("exit").replaced();
    loses_its_main_thread: "loses its main thread, and another one answers" =>
        worker("raw-lost-main", Act::new(Deed::Echo)).answered().serves_on();
    loses_its_main_thread_and_hangs: "loses its main thread, and another one never comes back" =>
        limited(worker("raw-lost-main", Act::new(Deed::Hang))).replaced();
}
