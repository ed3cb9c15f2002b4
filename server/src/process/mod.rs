//! The process plane: everything done to worker processes, on one thread of its own.
//!
//! It owns every spawn and everything that may block on the kernel: output pipes, `/proc`, cgroups, memory sampling,
//! tree kills, reaping. It must never decide anything (whom to start, when to kill, why one died:
//! the core does that and sends [`Order`]s), never look at a worker's socket, never steal the status of a child
//! that it did not start or adopt, and never make the data plane wait.
//!
//! The thread lives as long as the process, because a parent-death signal follows the *thread* that forked: when
//! it ends, every worker gets SIGKILL.
//!
//! What a worker finds: stdin is `/dev/null`, descriptor 3 its end of a stream socketpair, 4 its flight recorder, stdout and
//! stderr are pipes that the plane reads, no other descriptor. It leads a session, starts with default signal dispositions
//! and an empty mask, dumps no core unless asked to (`RLIMIT_CORE` is 1), sees nothing of the variables that a
//! service manager addresses to the broker (`NOTIFY_SOCKET`, `LISTEN_*`, `WATCHDOG_*`) nor of those that replace values
//! of its configuration (`LIFEBOAT__*`), and has these, which its
//! descendants inherit and by which they are found again:
//!
//! | variable | value |
//! |---|---|
//! | `LIFEBOAT_FD` | `3` |
//! | `LIFEBOAT_RECORDER` | `4`: the memory that it shares with the broker, if there is any |
//! | `LIFEBOAT_WORKER` | the worker's name |
//! | `LIFEBOAT_INCARNATION` | which life of it, from 1 |
//! | `LIFEBOAT_BROKER` | a mark of this broker's life, so that two brokers never sweep each other's processes |

mod cgroup;
mod collect;
mod ending;
mod exiting;
mod gate;
mod host;
mod limits;
mod lines;
mod look;
mod memory;
mod oom;
mod orders;
mod output;
mod plane;
mod proc_fs;
mod share;
mod shared;
mod shim;
mod signal;
mod spawn;
mod sweep;
mod sys;
mod table;
mod tail;
mod upkeep;
mod warden;

pub use cgroup::{CgroupUse, CgroupsInUse};
pub use host::become_subreaper_and_reset_sigchld;
pub use limits::ProcessLimits;
pub use orders::{Order, OutputStream, PlaneError, PlaneOptions, Report, SpawnSpec};
pub use plane::ProcessPlane;
pub use shim::{EXIT_CANNOT_EXECUTE, EXIT_NOT_FOUND, EXIT_SHIM_FAILED, SHIM_ARG, WORKER_SOCKET_FD, run_shim};
