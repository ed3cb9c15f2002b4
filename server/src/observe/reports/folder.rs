//! The folder of reports: one file each, and no more of them than are kept in memory.
//!
//! It owns the names of files and what is written where. It must never follow what others put there, take a name from
//! anybody but the broker, or fail more than the one file.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::keeper::Filed;
use super::report::Report;
use super::shelf::{Kept, MOST, Shelf};

/// Longer files are not the broker's: a report is far shorter.
const LONGEST: u64 = 4 << 20;

/// So many files are looked at when the broker starts, the newest first; older ones are removed. Some may be broken.
const LOOKED_AT: usize = 2 * MOST;

/// Where the files are, and which of them are there.
#[derive(Debug)]
pub struct ReportFolder {
    path: PathBuf,
    shelf: Shelf<String>,
    /// The last file could not be written.
    failing: bool,
}

impl ReportFolder {
    /// Opens the folder `reports` of a directory, which is made if need be, and reads what an earlier broker has left, the
    /// oldest first. What cannot be read is logged and left out: the broker serves all the same. May block on the disk.
    #[must_use]
    pub fn open(state_dir: &Path) -> (Self, Vec<Report>) {
        let mut folder = Self { path: state_dir.join("reports"), shelf: Shelf::new(), failing: false };
        let left = folder.make().and_then(|()| folder.read_back()).unwrap_or_else(|error| {
            folder.failing = true;
            let path = folder.path.display();
            warn!(%error, %path, "the folder of reports cannot be used; reports have no files until it can");
            Vec::new()
        });
        (folder, left)
    }

    /// Writes a report, and removes those that it pushes out. True if it was written. May block on the disk.
    pub(super) fn write(&mut self, filed: &Filed) -> bool {
        let written = self.make().and_then(|()| self.put(&filed.id, &filed.json));
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

    fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)
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

    fn read_back(&mut self) -> io::Result<Vec<Report>> {
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
        let mut left = Vec::new();
        for (_, _, id) in ids {
            match self.read(&id) {
                Ok((report, bytes)) => {
                    self.keep(id, report.signature.id.clone(), bytes);
                    left.push(report);
                }
                Err(error) => {
                    warn!(%error, file = %self.file(&id).display(), "a file is no report; it is left out")
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

/// The parts of a report's name by which it is ordered: its broker's start, and its number. `None` for what is no such name.
fn place(id: &str) -> Option<(&str, u64)> {
    let (start, number) = id.split_once('-')?;
    let is_word = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_start = (1..=32).contains(&start.len()) && is_word(start);
    let is_number = !number.starts_with(['0', '+']) && is_word(number);
    if is_start && is_number { Some((start, number.parse().ok()?)) } else { None }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::observe::reports::report::Signature;

    fn filed(number: usize, signature: &str) -> Filed {
        let id = format!("0start-{number}");
        let signature = Signature { id: signature.to_owned(), ..Signature::default() };
        let report = Report { id: id.clone(), signature: signature.clone(), ..Report::default() };
        Filed { id, signature: signature.id, json: report.to_json().expect("JSON").into() }
    }

    fn ids(reports: &[Report]) -> Vec<&str> {
        reports.iter().map(|report| report.id.as_str()).collect()
    }

    #[test]
    fn names_are_checked_before_they_name_a_file() {
        assert_eq!(place("01kxyz-12"), Some(("01kxyz", 12)));
        for bad in ["", "-", "a-", "-1", "a-01", "a-+1", "../a-1", "a/b-1", "a-1/..", "a-1-2", "a\0-1", "é-1"]
        {
            assert_eq!(place(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn files_are_the_brokers_alone_and_come_back_in_order() {
        let room = tempfile::tempdir().expect("a directory");
        let (mut folder, left) = ReportFolder::open(&room.path().join("state"));
        assert_eq!(left, []);
        for number in [9, 10, 11] {
            assert!(folder.write(&filed(number, "a")));
        }
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&folder.path), mode(&folder.file("0start-9"))), (0o700, 0o600));
        fs::write(folder.path.join("0start-12.json"), "{").expect("written");
        fs::write(folder.path.join("0start-13.json"), "{\"id\": \"0start-9\"}").expect("written");
        fs::write(folder.path.join("0start-14.tmp"), "half").expect("written");
        fs::write(folder.path.join("notes.json"), "a person's").expect("written");
        std::os::unix::fs::symlink("/dev/zero", folder.path.join("0start-15.json")).expect("linked");
        let (folder, left) = ReportFolder::open(&room.path().join("state"));
        assert_eq!(ids(&left), ["0start-9", "0start-10", "0start-11"]);
        assert!(!folder.path.join("0start-14.tmp").exists() && folder.path.join("notes.json").exists());
    }

    #[test]
    fn the_folder_is_as_bounded_as_the_memory() {
        let room = tempfile::tempdir().expect("a directory");
        let (mut folder, _) = ReportFolder::open(room.path());
        folder.write(&filed(1, "rare"));
        for number in 2..=MOST + 50 {
            folder.write(&filed(number, "crowd"));
        }
        assert_eq!(fs::read_dir(&folder.path).expect("a folder").count(), MOST);
        let (_, left) = ReportFolder::open(room.path());
        assert_eq!((ids(&left)[0], left.len()), ("0start-1", MOST));
    }

    #[test]
    fn a_folder_that_cannot_be_costs_the_files_until_it_can() {
        let room = tempfile::tempdir().expect("a directory");
        let place = room.path().join("state");
        fs::write(&place, "no directory").expect("written");
        let (mut folder, left) = ReportFolder::open(&place);
        assert_eq!((left.len(), folder.write(&filed(1, "a"))), (0, false));
        fs::remove_file(&place).expect("removed");
        assert!(folder.write(&filed(2, "a")), "it is tried again");
    }
}
