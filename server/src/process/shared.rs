//! Memory that a process shares with the broker, for its flight recorder.
//!
//! Owns making and sealing it. It is never mapped here: a process may give its pages back, and a page that there is no memory
//! for kills whoever looks at it by a mapping, where reading it as a file says so. What is there is the process's word, and
//! the link room's to read.

use std::fs::File;
use std::io;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};

/// The seals: nobody can change its size, so that a process never loses what it has mapped, nor change that.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Makes that much memory, in bytes: a multiple of a page. All of it is there at once, or none: a process that writes to it takes
/// nothing that there may not be. Close-on-exec.
pub(super) fn make(bytes: usize) -> io::Result<File> {
    let memory =
        rustix::fs::memfd_create("lifeboat-recorder", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::fallocate(&memory, FallocateFlags::empty(), 0, bytes as u64)?;
    rustix::fs::fcntl_add_seals(&memory, SEALS)?;
    Ok(memory.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn its_size_is_sealed_and_its_memory_there() {
        let memory = make(8192).unwrap();
        assert_eq!(rustix::fs::fstat(&memory).unwrap().st_blocks * 512, 8192);
        assert_eq!(rustix::fs::ftruncate(&memory, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&memory, 1 << 30), Err(Errno::PERM));
        assert_eq!(rustix::fs::fcntl_add_seals(&memory, SealFlags::WRITE), Err(Errno::PERM));
        assert!(rustix::io::fcntl_getfd(&memory).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn pages_that_a_process_gives_back_are_read_as_nothing_and_take_none() {
        let memory = make(8192).unwrap();
        memory.write_all_at(&[7; 8192], 0).unwrap();
        let give_back = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&memory, give_back, 0, 4096).unwrap();
        let mut read = [1; 8192];
        memory.read_exact_at(&mut read, 0).unwrap();
        assert_eq!((read[..4096] == [0; 4096], read[4096..] == [7; 4096]), (true, true));
        assert_eq!(rustix::fs::fstat(&memory).unwrap().st_blocks * 512, 4096, "reading takes no memory");
    }
}
