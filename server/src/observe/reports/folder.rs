//! The folder of reports: one file each, and no more of them than are kept in memory.
//!
//! It owns the names of files and what is written where. It must never follow what others put there, take a name from
//! anybody but the broker, or fail more than the one file. Everything here may block on the disk.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tracing::{info, warn};

use super::keeper::Filed;
use super::report::Report;
use super::shelf::{Kept, MOST, Shelf};

/// Longer files are not the broker's: a report is far shorter.
const LONGEST: u64 = 4 << 20;

/// So many files are looked at when the folder is opened, the newest first; older ones are removed. Some may be broken.
const LOOKED_AT: usize = 2 * MOST;

/// How long the broker's start waits for the disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the files are, and which of them are there.
#[derive(Debug)]
pub struct ReportFolder {
    path: PathBuf,
    shelf: Shelf<String>,
    /// Held for as long as the folder is ours; `None` until it could be opened.
    lock: Option<File>,
    /// The last file could not be written.
    failing: bool,
}

impl ReportFolder {
    /// Opens the folder `reports` of a directory, which is made if need be, and reads what an earlier broker has left, the
    /// oldest first. What cannot be read is logged and left out: the broker serves all the same. Waits two seconds for
    /// the disk at most: one that hangs is tried again with the first report.
    #[must_use]
    pub fn open(state_dir: &Path) -> (Self, Vec<Report>) {
        let path = state_dir.join("reports");
        let (tell, opened) = mpsc::sync_channel(1);
        let mut folder = Self::closed(path.clone());
        // Where nobody waits any more, it is dropped and its lock with it.
        let open = move || {
            let left = folder.reopen();
            drop(tell.send((folder, left)));
        };
        let opening = thread::Builder::new().name("reports".to_owned()).spawn(open);
        let error = match opening.map(|_| opened.recv_timeout(PATIENCE)) {
            Ok(Ok((folder, Ok(left)))) => return (folder, left),
            Ok(Ok((_, Err(error)))) | Err(error) => error,
            Ok(Err(_)) => io::Error::new(io::ErrorKind::TimedOut, "the disk does not answer"),
        };
        let shown = path.display();
        warn!(%error, path = %shown, "the folder of reports cannot be used; reports have no files until it can");
        (Self { failing: true, ..Self::closed(path) }, Vec::new())
    }

    fn closed(path: PathBuf) -> Self {
        Self { path, shelf: Shelf::new(), lock: None, failing: false }
    }

    /// Makes the folder ours, and reads what is there.
    fn reopen(&mut self) -> io::Result<Vec<Report>> {
        self.make()?;
        let lock = self.lock()?;
        self.shelf = Shelf::new();
        let left = self.read_back()?;
        self.lock = Some(lock);
        Ok(left)
    }

    /// Writes a report, and removes those that it pushes out. True if it was written.
    pub(super) fn write(&mut self, filed: &Filed) -> bool {
        let opened = if self.lock.is_none() { self.reopen().map(drop) } else { self.make() };
        let written = opened.and_then(|()| self.put(&filed.id, &filed.json));
        if let Err(error) = &written
            && !self.failing
        {
            let path = self.path.display();
            warn!(%error, %path, report = filed.id, "a report cannot be written; further ones are counted");
        } else if written.is_ok() && self.failing {
            info!(report = filed.id, "reports are written again");
        }
        self.failing = written.is_err();
        if written.is_ok() {
            self.keep(filed.id.clone(), filed.signature.clone(), filed.json.len());
        }
        written.is_ok()
    }

    /// Makes the folder, or makes sure that it is the broker's user's alone: not a link, and nobody else's.
    fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let folder = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        let found = folder.metadata()?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("it belongs to another user"));
        }
        if found.mode() & 0o777 == 0o700 {
            Ok(())
        } else {
            folder.set_permissions(Permissions::from_mode(0o700))
        }
    }

    /// Keeps other brokers out: they would remove these files to make room for their own.
    fn lock(&self) -> io::Result<File> {
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.path.join(LOCK))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(lock),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(io::Error::other("another broker uses it; each needs a `broker.state_dir` of its own"))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn put(&self, id: &str, json: &str) -> io::Result<()> {
        let temporary = self.path.join(format!("{id}.tmp"));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(json.as_bytes()).and_then(|()| file.write_all(b"\n")))
            .and_then(|()| fs::rename(&temporary, self.file(id)));
        if written.is_err() {
            // Nothing half is to be left; where even that fails, the next start removes it.
            drop(fs::remove_file(&temporary));
        }
        written
    }

    fn keep(&mut self, id: String, signature: String, bytes: usize) {
        for gone in self.shelf.push(Kept { signature, bytes, item: id }) {
            // A person may have removed it.
            drop(fs::remove_file(self.file(&gone)));
        }
    }

    fn file(&self, id: &str) -> PathBuf {
        self.path.join(format!("{id}.json"))
    }

    /// The names of the newest files, the oldest of them first. What is half written, and what is too much, is removed.
    fn ids(&self) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.strip_suffix(".tmp").is_some_and(|id| place(id).is_some()) {
                drop(fs::remove_file(self.path.join(name)));
            } else if let Some(id) = name.strip_suffix(".json")
                && let Some((start, number)) = place(id)
            {
                ids.push((start.to_owned(), number, id.to_owned()));
            }
        }
        ids.sort();
        let too_many = ids.len().saturating_sub(LOOKED_AT);
        for (_, _, id) in ids.drain(..too_many) {
            drop(fs::remove_file(self.file(&id)));
        }
        Ok(ids.into_iter().map(|(_, _, id)| id).collect())
    }

    fn read_back(&mut self) -> io::Result<Vec<Report>> {
        let mut left = Vec::new();
        for id in self.ids()? {
            match self.read(&id) {
                Ok((report, bytes)) => {
                    self.keep(id, report.signature.id.clone(), bytes);
                    left.push(report);
                }
                // The system's own error: it may be a good one, and counts.
                Err(error) if error.raw_os_error().is_some() => {
                    warn!(%error, file = %self.file(&id).display(), "a report cannot be read; it is left out");
                    self.keep(id, String::new(), 0);
                }
                Err(error) => {
                    let file = self.file(&id);
                    warn!(%error, file = %file.display(), "a file is no report; it is removed");
                    drop(fs::remove_file(&file));
                }
            }
        }
        Ok(left)
    }

    fn read(&self, id: &str) -> io::Result<(Report, usize)> {
        let path = self.file(id);
        let metadata = fs::symlink_metadata(&path)?;
        if !metadata.is_file() || metadata.len() > LONGEST {
            return Err(io::Error::other("it is no plain file, or too long"));
        }
        let text = fs::read_to_string(&path)?;
        let report: Report = serde_json::from_str(&text)?;
        if report.id != id {
            return Err(io::Error::other("its name is not the report's"));
        }
        Ok((report, text.len()))
    }
}

/// The file that is locked while a broker uses the folder; it stays.
const LOCK: &str = "lock";

/// The parts of a report's name by which it is ordered: its broker's start, and its number. `None` for what is no such name.
fn place(id: &str) -> Option<(&str, u64)> {
    let (start, number) = id.split_once('-')?;
    let is_word = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_start = (1..=32).contains(&start.len()) && is_word(start);
    let is_number = !number.starts_with(['0', '+']) && is_word(number);
    if is_start && is_number { Some((start, number.parse().ok()?)) } else { None }
}

#[cfg(test)]
mod tests;
