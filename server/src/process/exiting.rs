//! Whether a process is exiting already. It must never say so of one that might live on: a claim is proof.
//!
//! The leader alone does not tell: it can end while other threads of the process go on, or while one of them puts a
//! new program in its place by exec. All threads must be seen exiting.

use std::collections::HashSet;

use rustix::process::Pid;

use super::proc_fs;

/// How many threads are looked at, at some 10 µs each. A process with more of them is not proven to exit.
const THREAD_LIMIT: usize = 64;

/// How often the threads are gone through. While they go one by one the count does not match the list.
const TRIES: usize = 4;

/// Whether every thread of an unreaped process has begun to exit. For one that lives this is one short read.
pub(super) fn is_exiting(pid: Pid) -> bool {
    let mut exiting = HashSet::new();
    for _ in 0..TRIES {
        // One that has taken the leader's place by exec bears its number, and does not exit.
        let Some(leader) = proc_fs::stat(pid).filter(|leader| leader.exiting) else { return false };
        if leader.threads > THREAD_LIMIT {
            return false;
        }
        let Ok(threads) = proc_fs::threads(pid) else { return false };
        let mut known = 0;
        for thread in threads {
            if exiting.contains(&thread) {
                known += 1;
                continue;
            }
            match proc_fs::thread_stat(pid, thread) {
                Some(stat) if stat.exiting => drop(exiting.insert(thread)),
                Some(_) => return false,
                None => {}
            }
        }
        // Those known were exiting before the leader was asked how many there are, so none of them is new. If they
        // are as many, they are all, and none is left that could make another. The list alone would not do: it ends
        // early where a thread goes while it is read.
        if known >= leader.threads {
            return true;
        }
    }
    false
}
