//! The flight recorder that the broker leaves in the process, and what is noted in it.
//!
//! Owns finding and checking it. Its descriptor is closed as soon as the page is mapped, so that no child of the worker holds
//! it. Must never fail anything: without a recorder nothing is noted, and heartbeats are sent.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use lifeboat_protocol::{FlightRecorder, RECORDER_VARIABLE, Route, recorder_len};
use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::time::{ClockId, clock_gettime};

/// Memory that is sealed like this cannot be taken away under its reader.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// The process's flight recorder, if it has one. It lasts as long as the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorder {
    page: Option<FlightRecorder<'static>>,
}

impl Recorder {
    /// None at all.
    pub(crate) const NONE: Self = Self { page: None };

    /// The one that the environment names. To be called once in the life of a process, by whoever took the socket.
    pub(crate) fn inherited() -> Self {
        let text = std::env::var_os(RECORDER_VARIABLE);
        let fd = text.and_then(|text| text.to_str()?.parse().ok()).filter(|fd| *fd >= 0);
        Self { page: fd.and_then(take) }
    }

    /// Over memory of a test's own.
    #[cfg(test)]
    pub(crate) const fn over(words: &'static [std::sync::atomic::AtomicU64]) -> Self {
        Self { page: Some(FlightRecorder::over(words)) }
    }

    pub(crate) const fn is_there(self) -> bool {
        self.page.is_some()
    }

    /// So many slots are noted from now on.
    pub(crate) fn open(self, slots: usize) {
        if let Some(page) = self.page {
            page.open(slots as u32);
        }
    }

    /// Notes a heartbeat. Whether there is a recorder to do it.
    pub(crate) fn beat(self) -> bool {
        self.page.inspect(|page| page.beat(now())).is_some()
    }

    /// A slot begins an attempt: before its handler.
    pub(crate) fn begin(self, route: Route) {
        if let Some(page) = self.page {
            page.begin(route.flags.slot(), route.id, route.attempt, now());
        }
    }

    /// What ends the attempt is written.
    pub(crate) fn end(self, route: Route) {
        if let Some(page) = self.page {
            page.end(route.flags.slot());
        }
    }

    /// A handler said that its work moves.
    pub(crate) fn progress(self, route: Route) {
        if let Some(page) = self.page {
            page.progress(route.flags.slot());
        }
    }
}

/// Takes a descriptor that is what a broker leaves, and leaves any other alone.
fn take(fd: RawFd) -> Option<FlightRecorder<'static>> {
    let fd: OwnedFd = crate::sys::adopt(fd, |candidate| check(candidate).ok_or(())).ok()?;
    let len = usize::try_from(fstat(&fd).ok()?.st_size).ok()?;
    crate::sys::map_for_ever(&fd, len).ok().map(FlightRecorder::over)
}

/// Whether it is open, inherited, and memory that cannot be taken away.
fn check(candidate: BorrowedFd<'_>) -> Option<()> {
    let inherited = !fcntl_getfd(candidate).ok()?.contains(FdFlags::CLOEXEC);
    let sealed = fcntl_get_seals(candidate).ok()?.contains(SEALS);
    let whole = fstat(candidate).ok()?.st_size >= recorder_len(0) as i64;
    (inherited && sealed && whole).then_some(())
}

/// Nanoseconds of the system's monotonic clock.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, IntoRawFd};

    use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};
    use rustix::io::fcntl_setfd;

    use super::*;

    fn memory(name: &str, seals: SealFlags, len: u64) -> OwnedFd {
        let fd = memfd_create(name, MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&fd, len).unwrap();
        fcntl_add_seals(&fd, seals).unwrap();
        fd
    }

    #[test]
    fn what_a_broker_leaves_is_mapped_and_its_descriptor_closed() {
        let fd = memory("left-by-a-broker", SEALS, 4096);
        let theirs = fd.try_clone().unwrap();
        let number = fd.into_raw_fd();
        let page = take(number).unwrap();
        // SAFETY of the number: nothing else in this test opens descriptors, and it is only looked at.
        let open = std::fs::read_link(format!("/proc/self/fd/{number}"));
        assert!(!open.is_ok_and(|link| link.to_string_lossy().contains("left-by-a-broker")), "closed");
        page.open(1);
        let mut bytes = [0; 8];
        rustix::io::pread(&theirs, &mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"LIFEBOAT", "it is the same memory");
    }

    #[test]
    fn anything_else_is_left_alone() {
        let closed_on_exec = memory("foreign", SEALS, 4096);
        fcntl_setfd(&closed_on_exec, FdFlags::CLOEXEC).unwrap();
        let foreign = [
            memory("foreign", SealFlags::SHRINK, 4096),
            memory("foreign", SEALS, 4095),
            closed_on_exec,
            tempfile::tempfile().unwrap().into(),
        ];
        for fd in foreign {
            let before = fcntl_getfd(&fd).unwrap();
            assert!(take(fd.as_raw_fd()).is_none());
            assert_eq!(fcntl_getfd(&fd), Ok(before), "open and unchanged");
        }
        assert!(take(RawFd::MAX).is_none());
    }
}
