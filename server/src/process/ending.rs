//! Ends process trees: one that is to be killed, and all that are left at the plane's end.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Pid;

use super::cgroup::Group;
use super::plane::Plane;
use super::table::Process;
use super::{collect, exiting, signal};

/// How long after SIGKILL a leader may take to die before its descendants are searched for without its death.
const SLOW_DEATH: Duration = Duration::from_millis(100);

/// How many rounds, a millisecond apart, the orphans that are left at the end get.
const LAST_ROUNDS: u32 = 500;

impl Plane {
    /// SIGKILL to a process's leader and group at once, and to what escaped them when the leader is dead, or takes its time.
    pub(super) fn kill(self: &Rc<Self>, process: &Rc<Process>) {
        if process.kill_sent.replace(true) {
            signal::kill(process);
            return;
        }
        // Before the signal, after which nobody can tell.
        process.was_exiting.set(exiting::is_exiting(process.pid));
        signal::kill(process);
        let plane = Rc::clone(self);
        let process = Rc::clone(process);
        tokio::task::spawn_local(async move {
            // What escaped the group comes to us when its leader is dead, and `collect` kills it. A leader that
            // takes its time does not save its tree.
            tokio::time::sleep(SLOW_DEATH).await;
            // A cgroup has the whole tree. Only without one is it searched for in the system, which may have to wait for just such a
            // leader: its environment cannot be read while it maps memory, as it may do for as long as a driver likes.
            if !process.exited.get() && plane.kill_group_of(&process).is_empty() {
                signal::kill_marked(&plane.mark, None, |mark| mark.names(&process), &mut HashMap::new())
                    .await;
            }
        });
    }

    /// SIGKILL to all who live in a process's cgroup; says who they were.
    pub(super) fn kill_group_of(&self, process: &Process) -> HashSet<Pid> {
        let members = process.group.borrow().as_ref().map(Group::kill).unwrap_or_default();
        self.sweeper.borrow_mut().killed(members.iter().copied(), process.key);
        members
    }

    /// Kills and collects whatever is left, orphans included.
    pub(super) async fn end(self: Rc<Self>) {
        let left: Vec<_> = self.table.borrow().iter().cloned().collect();
        for process in left {
            self.kill(&process);
            self.collect(process);
        }
        while self.table.borrow().iter().any(|process| !process.unreaped.get()) {
            self.collected.notified().await;
        }
        for _ in 0..LAST_ROUNDS {
            collect::reap_withheld(&self);
            let round = self.sweep(None);
            if round.reaped == 0 && self.sweeper.borrow().known() == 0 && self.table.borrow().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if !self.adopts_orphans {
            signal::kill_marked(&self.mark, None, |_| true, &mut HashMap::new()).await;
        }
    }
}
