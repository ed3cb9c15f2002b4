//! The names of the system calls that processes wait in most. The others are told by their numbers.

use libc::c_long;

macro_rules! calls {
    ($($constant:ident $name:literal),* $(,)?) => { &[$((libc::$constant, $name)),*] };
}

const EVERYWHERE: &[(c_long, &str)] = calls![
    SYS_futex "futex", SYS_read "read", SYS_write "write", SYS_readv "readv", SYS_writev "writev",
    SYS_pread64 "pread64", SYS_pwrite64 "pwrite64", SYS_epoll_pwait "epoll_pwait", SYS_ppoll "ppoll",
    SYS_pselect6 "pselect6", SYS_nanosleep "nanosleep", SYS_clock_nanosleep "clock_nanosleep",
    SYS_wait4 "wait4", SYS_waitid "waitid", SYS_recvfrom "recvfrom", SYS_recvmsg "recvmsg",
    SYS_sendto "sendto", SYS_sendmsg "sendmsg", SYS_connect "connect", SYS_accept "accept",
    SYS_accept4 "accept4", SYS_openat "openat", SYS_close "close", SYS_ioctl "ioctl", SYS_fcntl "fcntl",
    SYS_flock "flock", SYS_fsync "fsync", SYS_fdatasync "fdatasync", SYS_mmap "mmap", SYS_munmap "munmap",
    SYS_madvise "madvise", SYS_sched_yield "sched_yield", SYS_rt_sigtimedwait "rt_sigtimedwait",
    SYS_rt_sigsuspend "rt_sigsuspend", SYS_exit_group "exit_group", SYS_execve "execve",
    SYS_io_uring_enter "io_uring_enter",
];

#[cfg(target_arch = "x86_64")]
const HERE: &[(c_long, &str)] = calls![
    SYS_epoll_wait "epoll_wait", SYS_poll "poll", SYS_select "select", SYS_pause "pause", SYS_open "open",
    SYS_vfork "vfork",
];

#[cfg(not(target_arch = "x86_64"))]
const HERE: &[(c_long, &str)] = &[];

/// The name of a system call, if it is a common one.
pub(super) fn name(number: u32) -> Option<&'static str> {
    let mut calls = EVERYWHERE.iter().chain(HERE);
    calls.find(|(call, _)| *call == c_long::from(number)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_calls_have_names() {
        let number = |call: c_long| u32::try_from(call).expect("a number");
        assert_eq!(name(number(libc::SYS_futex)), Some("futex"));
        assert_eq!(name(u32::MAX), None);
    }
}
