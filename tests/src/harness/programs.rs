//! Where the programs under test are.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

/// Lets tests run against a broker that is older than its sources, while these are being edited.
const STALE_VARIABLE: &str = "LIFEBOAT_TEST_STALE";

/// The `lifeboat` program beside this test's own: `target/<profile>/lifeboat`.
///
/// # Panics
///
/// When it is not there, or older than its sources: this package's build does not build it.
#[must_use]
pub fn broker_program() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let program = beside("lifeboat");
        assert!(
            program.is_file(),
            "{} is missing; build it first with `cargo build -p lifeboat` (and this profile's flag), or use tests/run",
            program.display()
        );
        if let Some(source) = newer_source(&program) {
            assert!(
                std::env::var(STALE_VARIABLE).as_deref() == Ok("ok"),
                "{} is older than {}; run `cargo build -p lifeboat`, use tests/run, or set {STALE_VARIABLE}=ok",
                program.display(),
                source.display()
            );
        }
        program
    })
}

/// The program of misbehaving workers.
#[must_use]
pub fn misbehave() -> PathBuf {
    beside("misbehave")
}

/// A broker with a lot of memory, run through the library.
#[must_use]
pub fn ballast() -> PathBuf {
    beside("ballast")
}

/// A client in a process of its own.
#[must_use]
pub fn caller() -> PathBuf {
    beside("caller")
}

/// A client of the chaos.
#[must_use]
pub fn chaos_client() -> PathBuf {
    beside("chaos_client")
}

/// The root of the repository.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a room of the workspace")
}

/// A program in the directory where cargo puts this profile's programs: beside this one, or above its `deps`.
fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a file");
    let directory = own.parent().expect("a file is in a directory");
    let directory =
        if directory.ends_with("deps") { directory.parent().unwrap_or(directory) } else { directory };
    directory.join(name)
}

/// A source in cargo's dependency file that is newer than the program.
fn newer_source(program: &Path) -> Option<PathBuf> {
    let modified = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
    let built: SystemTime = modified(program)?;
    let listed = fs::read_to_string(program.with_extension("d")).ok()?;
    let (_, sources) = listed.split_once(':')?;
    let sources = sources.split_whitespace().map(PathBuf::from);
    sources.into_iter().find(|source| modified(source).is_some_and(|changed| changed > built))
}
