//! Leaders whose death a tracer learns first: their status is withheld from their parent until it lets them go.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use lifeboat::process::{Order, Report};
use lifeboat_core::evidence::{Evidence, WaitStatus};

use super::rig::{Rig, Worker, lives, python, sh, state, wait_until};

/// Traces the process that it is told; lets it go at the next line.
const TRACER: &str = r#"
import ctypes, os, sys
PTRACE_SEIZE = 0x4206
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
pid = int(sys.argv[1])
print("no" if libc.ptrace(PTRACE_SEIZE, pid, None, None) else "yes", flush=True)
sys.stdin.readline()
while True:
    status = os.waitpid(pid, 0x40000000)[1]
    if os.WIFEXITED(status) or os.WIFSIGNALED(status): break
"#;

/// Lets anybody trace it, says that and its child's number, and exits when told to.
const TRACED: &str = r#"
import ctypes, os, time
PR_SET_PTRACER = 0x59616d61
ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
child = os.fork()
if child == 0:
    while True: time.sleep(1000)
os.write(3, b"%d\n" % child)
os.read(3, 100)
os._exit(7)
"#;

struct Tracer {
    process: Child,
    /// It was allowed to.
    traces: bool,
}

impl Tracer {
    fn of(worker: &Worker) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", TRACER, &worker.pid.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python3");
        let mut answer = String::new();
        let stdout = process.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut answer).expect("an answer");
        Self { process, traces: answer.trim() == "yes" }
    }

    fn let_go(&mut self) {
        self.process.stdin.as_mut().expect("piped").write_all(b"\n").expect("a listening tracer");
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Does that with a traced worker that has exited and whose collection has begun.
fn with_traced_and_dead(test: impl FnOnce(Rig, &Worker, &mut Tracer)) {
    let mut rig = Rig::new();
    let mut worker = rig.spawn(python(TRACED));
    let child = worker.line().parse().expect("a pid");
    let mut tracer = Tracer::of(&worker);
    assert!(
        tracer.traces,
        "this test needs ptrace: run it as root, or set kernel.yama.ptrace_scope to 1 or 0"
    );
    worker.say("exit");
    worker.wait_for_exit();
    rig.order(Order::Collect { process: worker.key });
    // The tree is killed after the first look at the status.
    wait_until("its tree is killed", || !lives(child));
    test(rig, &worker, &mut tracer);
}

fn evidence(rig: &mut Rig) -> Evidence {
    match rig.report() {
        Report::Evidence { evidence, .. } => *evidence,
        other => panic!("no evidence: {other:?}"),
    }
}

#[test]
fn a_status_that_is_withheld_for_a_moment_is_waited_for() {
    with_traced_and_dead(|mut rig, worker, tracer| {
        // By the time that another has lived and died, the first try to reap it has failed.
        assert_eq!(rig.evidence_of(sh("exit 3")).wait, WaitStatus::Exited { code: 3 });
        tracer.let_go();
        assert_eq!(evidence(&mut rig).wait, WaitStatus::Exited { code: 7 });
        assert!(state(worker.pid).is_none());
    });
}

#[test]
fn a_leader_that_is_withheld_for_long_is_reaped_later() {
    with_traced_and_dead(|mut rig, worker, tracer| {
        assert_eq!(evidence(&mut rig).wait, WaitStatus::Unknown);
        assert_eq!(state(worker.pid), Some('Z'));
        // Others are not held up.
        assert_eq!(rig.evidence_of(sh("exit 3")).wait, WaitStatus::Exited { code: 3 });
        tracer.let_go();
        wait_until("it is reaped", || state(worker.pid).is_none());
        assert!(rig.unread_report().is_none());
    });
}

#[test]
fn a_leader_that_is_withheld_does_not_stop_the_end() {
    with_traced_and_dead(|mut rig, worker, _tracer| {
        assert!(rig.end());
        assert_eq!(evidence(&mut rig).wait, WaitStatus::Unknown);
        assert_eq!(state(worker.pid), Some('Z'));
    });
}
