//! Whether the files of a program have changed. It looks, again and again: that works on every file system.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often is looked.
const LOOK: Duration = Duration::from_millis(200);

/// A change counts when the file has been the same for so many looks: whoever writes it does so for a while.
const QUIET: u32 = 3;

/// The files that a command is made of: its program, and the arguments that name files, such as a script.
pub(super) fn files(program: &Path, command: &[String]) -> Vec<PathBuf> {
    let arguments = command.iter().skip(1).map(PathBuf::from).filter(|argument| argument.is_file());
    std::iter::once(program.to_owned()).chain(arguments).collect()
}

/// What tells one content of a file from another; `None` without a file.
type State = Option<(u64, u64, u64, i64, i64)>;

fn state(file: &Path) -> State {
    let about = fs::metadata(file).ok()?;
    Some((about.dev(), about.ino(), about.size(), about.mtime(), about.mtime_nsec()))
}

struct Watched {
    file: PathBuf,
    /// What the running processes were started from.
    known: State,
    /// At the last look.
    seen: State,
    /// For how many looks it has been the same.
    quiet: u32,
}

/// Files that are looked at.
pub(super) struct Watch {
    watched: Vec<Watched>,
    /// Since the first look.
    looks: Option<Interval>,
}

impl Watch {
    /// A change is one of what the files are now.
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        let watched = |file: PathBuf| {
            let known = state(&file);
            Watched { file, known, seen: known, quiet: 0 }
        };
        Self { watched: files.into_iter().map(watched).collect(), looks: None }
    }

    /// Waits for the next change; gives the file. `None` if nothing is watched. Dropping it loses no change and puts no look
    /// off. A look may block, as file systems do.
    pub(super) async fn changed(&mut self) -> Option<PathBuf> {
        if self.watched.is_empty() {
            return None;
        }
        loop {
            self.looks.get_or_insert_with(looks).tick().await;
            if let Some(file) = self.look() {
                return Some(file);
            }
        }
    }

    /// A file that has changed and is whole again.
    fn look(&mut self) -> Option<PathBuf> {
        let mut changed = None;
        for watched in &mut self.watched {
            let now = state(&watched.file);
            watched.quiet = if now == watched.seen { watched.quiet.saturating_add(1) } else { 0 };
            watched.seen = now;
            if watched.quiet >= QUIET && now.is_some() && now != watched.known {
                watched.known = now;
                changed = Some(watched.file.clone());
            }
        }
        changed
    }
}

/// To be called within a runtime.
fn looks() -> Interval {
    let mut looks = interval(LOOK);
    // Looks that follow one another at once do not see that a file is written for a while.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_not_put_off_by_whatever_else_happens() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("program");
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::new(vec![file.clone()]);
        fs::write(&file, "12").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let seen = runtime.block_on(async {
            // Several times as often as is looked, for many times as long as a change needs.
            for _ in 0..100 * QUIET {
                tokio::select! {
                    biased;
                    changed = watch.changed() => return changed,
                    () = tokio::time::sleep(LOOK / 8) => {}
                }
            }
            None
        });
        assert_eq!(seen, Some(file));
    }

    #[test]
    fn a_change_counts_once_and_when_it_has_settled() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("program");
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::new(vec![file.clone()]);
        let look = |watch: &mut Watch, looks: u32| (0..looks).find_map(|_| watch.look());
        assert_eq!(look(&mut watch, 2 * QUIET), None);
        fs::write(&file, "12").unwrap();
        assert_eq!(look(&mut watch, QUIET), None, "it may still be written");
        fs::write(&file, "123").unwrap();
        assert_eq!(look(&mut watch, QUIET), None, "it was");
        assert_eq!(watch.look(), Some(file.clone()));
        assert_eq!(look(&mut watch, 2 * QUIET), None);
        fs::remove_file(&file).unwrap();
        assert_eq!(look(&mut watch, 2 * QUIET), None, "there is nothing to start");
        fs::write(&file, "123").unwrap();
        assert_eq!(look(&mut watch, QUIET), None, "it may still be written");
        assert_eq!(watch.look(), Some(file), "another file of the same size");
    }

    #[test]
    fn scripts_are_watched_too() {
        let room = tempfile::tempdir().unwrap();
        let script = room.path().join("worker.py");
        fs::write(&script, "pass").unwrap();
        let command = ["python3".to_owned(), script.display().to_string(), "--fast".to_owned()];
        assert_eq!(files(Path::new("/usr/bin/python3"), &command), [Path::new("/usr/bin/python3"), &script]);
    }
}
