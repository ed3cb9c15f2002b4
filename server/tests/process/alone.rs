//! Runs a test again in a process of its own.

use std::process::Command;

const VARIABLE: &str = "PROCESS_TEST_ALONE";

/// Whether this is the process that [`command`] started for that test.
pub(crate) fn runs_as(test: &str) -> bool {
    std::env::var(VARIABLE).as_deref() == Ok(test)
}

/// Whether this is the process of that test alone. If not, runs it there and takes over its result.
///
/// `wrapper` is put before the command line, to give the process a past.
pub(crate) fn is_alone(test: &str, wrapper: &[&str]) -> bool {
    if runs_as(test) {
        return true;
    }
    let output = command(test, wrapper).output().expect("this very program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{test} alone: {}\n{stdout}\n{stderr}", output.status);
    assert!(stdout.contains("1 passed"), "no test is called {test}:\n{stdout}");
    false
}

/// The command line that runs that test in a process of its own.
pub(crate) fn command(test: &str, wrapper: &[&str]) -> Command {
    let program = std::env::current_exe().expect("a running program");
    let mut command = match wrapper.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(["--exact", test, "--nocapture"]).env(VARIABLE, test);
    command
}
