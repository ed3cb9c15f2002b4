//! Whether a pool's program can be started: found in `PATH`, a file, executable; and whether its directory is there.
//!
//! Owns the only look at the file system that a configuration takes. Must never start anything.

use std::path::{Path, PathBuf};

use lifeboat_core::settings::Settings;
use rustix::fs::{Access, access};

use super::CommandPlaces;
use super::WorkerCommand;
use super::error::{Problem, ProblemKind};

/// Where a program is looked for when there is no `PATH`, as the C library does (execvp(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Finds the programs of all pools, and tells which programs and directories are not there.
pub(super) fn find_all(
    settings: &Settings,
    commands: &mut [WorkerCommand],
    places: &[CommandPlaces],
    path: Option<&str>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((settings, command), places) in settings.pools.iter().zip(commands).zip(places) {
        let pool = || settings.name.clone();
        if let Some(program) = command.argv.first() {
            let own = command.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str());
            match find(program, own.or(path)) {
                Ok(found) => command.program = found,
                Err(why) => problems.push(Problem {
                    place: places.command.clone(),
                    kind: ProblemKind::Program { pool: pool(), program: program.clone(), why },
                    also: None,
                    help: Some("install it, or write its absolute path".to_owned()),
                }),
            }
        }
        let Some(directory) = &command.current_dir else {
            continue;
        };
        let Some(why) = directory_fault(directory) else {
            continue;
        };
        let directory = directory.display().to_string();
        problems.push(Problem {
            place: places.directory.clone(),
            kind: ProblemKind::Directory { pool: pool(), directory, why },
            also: None,
            help: Some("create it, or leave the key out for the broker's own directory".to_owned()),
        });
    }
    problems
}

/// Finds a program: with a slash as it is written, without one in `path`. The result is absolute where `program` or
/// the directory of `path` is.
///
/// # Errors
///
/// What is wrong with it: words that follow the program's name.
pub(crate) fn find(program: &str, path: Option<&str>) -> Result<PathBuf, &'static str> {
    if program.contains('/') {
        let program = PathBuf::from(program);
        return if !program.exists() {
            Err("does not exist")
        } else if is_program(&program) {
            Ok(program)
        } else {
            Err("is not an executable file")
        };
    }
    // An empty part means the current directory to a shell; nothing here depends on where the broker was started.
    let directories = path.unwrap_or(DEFAULT_PATH).split(':').filter(|part| part.starts_with('/'));
    let mut refused = false;
    for directory in directories {
        let candidate = Path::new(directory).join(program);
        if is_program(&candidate) {
            return Ok(candidate);
        }
        refused |= candidate.is_file();
    }
    Err(if refused { "is in PATH, but not executable" } else { "is not in PATH" })
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// What is wrong with a directory to run in, if anything.
fn directory_fault(directory: &Path) -> Option<&'static str> {
    if !directory.exists() {
        Some("does not exist")
    } else if !directory.is_dir() {
        Some("is not a directory")
    } else if access(directory, Access::EXEC_OK).is_err() {
        Some("may not be entered")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_would() {
        let room = tempfile::tempdir().unwrap();
        let (one, two) = (room.path().join("one"), room.path().join("two"));
        for directory in [&one, &two] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("tool"), "#!/bin/sh\n").unwrap();
        }
        fs::set_permissions(two.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", one.display(), two.display());

        assert_eq!(find("tool", Some(&path)), Ok(two.join("tool")));
        assert_eq!(find("tool", Some(one.to_str().unwrap())), Err("is in PATH, but not executable"));
        assert_eq!(find("missing", Some(&path)), Err("is not in PATH"));
        assert_eq!(find(two.join("tool").to_str().unwrap(), None), Ok(two.join("tool")));
        assert_eq!(find(two.join("missing").to_str().unwrap(), None), Err("does not exist"));
        assert_eq!(find(two.to_str().unwrap(), None), Err("is not an executable file"));
        assert_eq!(find("sh", None).map(|sh| sh.is_absolute()), Ok(true));
        assert_eq!(find("tool", Some("")), Err("is not in PATH"));
    }

    #[test]
    fn directories_to_run_in() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(directory_fault(room.path()), None);
        assert_eq!(directory_fault(&file), Some("is not a directory"));
        assert_eq!(directory_fault(&room.path().join("missing")), Some("does not exist"));
    }
}
