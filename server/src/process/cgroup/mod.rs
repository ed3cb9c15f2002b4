//! Cgroups: a folder of the broker's own in each tree that it may write to, and one in that for each worker's process.
//!
//! They bound a whole tree of processes, prove that the kernel ran out of memory for it, and end all of it, whatever its
//! members have done to their environment, session or group. Each of these is used where it is there, and none is
//! needed. Only folders that the broker has made itself may be changed, with one exception: its own cgroup's list of what is
//! counted below it (version 2), where it is written that this is undone at the end.

mod files;
mod group;
mod hierarchy;
mod home;
mod leaf;
mod leftovers;

pub(super) use group::{Bounds, Group};
pub(super) use hierarchy::{Kind, oom_counter, oom_kills, own_cgroups};
pub(super) use home::Home;
pub use home::{CgroupUse, CgroupsInUse};
pub(super) use leftovers::{end_all_in, take_down};
