//! The folders of brokers, this one's and others': who has one is known by its lock, and what is left of those that are gone
//! is ended and removed.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::super::table::BrokerMark;
use super::{files, leaf};

/// How the folder of a broker begins; its mark follows.
pub(super) const PREFIX: &str = "lifeboat-";

/// How long those of a broker that is gone may take to die before their folder is left to the next start.
const LEFTOVERS: Duration = Duration::from_millis(200);

/// How long somebody else may hold the folder that this broker makes, or remove it: who does takes it for a leftover.
const CLAIM: Duration = Duration::from_millis(500);

/// Between two looks at what is dying, or held.
const PAUSE: Duration = Duration::from_millis(2);

/// Makes a folder and locks it. Another broker that starts may take it for a leftover before it is locked.
pub(super) fn claim(path: &Path) -> io::Result<OwnedFd> {
    let give_up = Instant::now() + CLAIM;
    loop {
        match try_to_claim(path) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if Instant::now() < give_up => thread::sleep(PAUSE),
            Ok(None) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => {
                // The error that came first is the one to tell.
                let _ = fs::remove_dir(path);
                return Err(error);
            }
        }
    }
}

/// `None` while somebody else holds it, or has just removed it.
fn try_to_claim(path: &Path) -> io::Result<Option<OwnedFd>> {
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let folder = match File::open(path) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(path.exists().then(|| folder.into())),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// SIGKILL to all in the cgroups of a broker's folder, the broker's own leaf apart; whether there was anybody.
pub(in super::super) fn end_all_in(folder: &Path) -> bool {
    let groups = files::below(folder).into_iter().filter(|group| !group.ends_with(leaf::LEAF));
    groups.map(|group| !files::kill(&group).is_empty()).fold(false, |any, found| any | found)
}

/// Removes a broker's folder with all in it; this process leaves it first if it is in it.
pub(in super::super) fn take_down(folder: &Path) -> io::Result<()> {
    for group in files::below(folder).into_iter().filter(|group| !group.ends_with(leaf::LEAF)) {
        files::remove(&group)?;
    }
    leaf::leave(folder)?;
    files::remove(folder)
}

/// Whether a folder of this name can be a broker's: others begin with the same word.
fn is_broker_s(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(BrokerMark::is_one)
}

/// Ends and removes what brokers have left that are gone.
pub(super) fn remove_leftovers(own: &Path) {
    let is_ours = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(is_broker_s);
    for folder in files::below(own).into_iter().filter(is_ours) {
        // One that is locked has a broker; one that cannot be opened is gone, or somebody else's.
        let Ok(lock) = File::open(&folder) else { continue };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let give_up = Instant::now() + LEFTOVERS;
        while end_all_in(&folder) && Instant::now() < give_up {
            thread::sleep(PAUSE);
        }
        match files::remove(&folder) {
            Ok(()) => {
                tracing::info!(folder = %folder.display(), "removed what a broker has left that is gone")
            }
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "what a broker has left cannot be removed yet");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_an_owner_is_no_leftover_and_nobody_else_s() {
        let room = tempfile::tempdir().expect("a temporary directory");
        let (held, left, other) = {
            let join = |name| room.path().join(name);
            (
                join("lifeboat-1-0123456789abcdef"),
                join("lifeboat-2-0123456789abcdef"),
                join("lifeboat-2-b.slice"),
            )
        };
        let _lock = claim(&held).expect("it may");
        fs::create_dir_all(left.join("images-0-1")).expect("it may");
        fs::create_dir(&other).expect("it may");
        remove_leftovers(room.path());
        assert!(held.exists() && other.exists() && !left.exists());
        let refused = claim(&held).expect_err("it is held");
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(held.exists(), "it is its owner's");
    }

    #[test]
    fn what_cannot_be_opened_is_not_tried_for_ever() {
        let room = tempfile::tempdir().expect("a temporary directory");
        let link = room.path().join("lifeboat-1-0123456789abcdef");
        // It is there, and opening it fails.
        std::os::unix::fs::symlink(&link, &link).expect("it may");
        assert_eq!(claim(&link).expect_err("a loop").raw_os_error(), Some(libc::ELOOP));
    }
}
