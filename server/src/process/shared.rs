//! Memory that a process shares with the broker, for its flight recorder.
//!
//! Owns making, sealing and mapping it. It must never look into it: what is there is the process's word, and the link room's
//! to read.

#![expect(unsafe_code, reason = "memory that another process writes has to be mapped")]

use std::io;
use std::os::fd::OwnedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicU64;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// The seals: nobody can shrink it, so that no read of it can fail, nor grow it, nor change that.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Memory that is mapped here and, by its descriptor, in a process.
#[derive(Debug)]
pub struct SharedMemory {
    start: NonNull<AtomicU64>,
    /// In words.
    len: usize,
}

// SAFETY: it is nothing but words that are read and written atomically, from wherever; the mapping is the process's, not
// a thread's, and only dropping the value, which takes it whole, ends it.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Makes that much memory, in bytes: a multiple of a page. All of it is there at once, so that reading it never takes
    /// memory that there may not be. Gives the descriptor by which a process maps it, close-on-exec.
    pub(super) fn new(bytes: usize) -> io::Result<(Self, OwnedFd)> {
        let memory =
            rustix::fs::memfd_create("lifeboat-recorder", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&memory, bytes as u64)?;
        rustix::fs::fcntl_add_seals(&memory, SEALS)?;
        let (rights, how) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED.union(MapFlags::POPULATE));
        // SAFETY: a new mapping at a place of the system's choosing, which is nobody's memory yet.
        let start = unsafe { rustix::mm::mmap(null_mut(), bytes, rights, how, &memory, 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok((Self { start, len: bytes / size_of::<AtomicU64>() }, memory))
    }
}

impl AsRef<[AtomicU64]> for SharedMemory {
    fn as_ref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, readable and writable, as long as that, and lives as long as this value. It
        // never ends before its memory does, which is sealed against shrinking. Any bits are an `AtomicU64`, and
        // through those another process may write at any time.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: it is the whole of a mapping that `new` made, and nothing borrows from it any more.
        let unmapped =
            unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len * size_of::<AtomicU64>()) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_one_side_writes_the_other_reads_and_nobody_can_take_it_away() {
        let (memory, theirs) = SharedMemory::new(8192).unwrap();
        assert_eq!(memory.as_ref().len(), 1024);
        assert!(memory.as_ref().iter().all(|word| word.load(Ordering::Relaxed) == 0));
        rustix::io::pwrite(&theirs, &7_u64.to_ne_bytes(), 8184).unwrap();
        assert_eq!(memory.as_ref()[1023].load(Ordering::Acquire), 7);
        assert_eq!(rustix::fs::ftruncate(&theirs, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&theirs, 1 << 30), Err(Errno::PERM));
        assert_eq!(rustix::fs::fcntl_add_seals(&theirs, SealFlags::WRITE), Err(Errno::PERM));
        let flags = rustix::io::fcntl_getfd(&theirs).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}
