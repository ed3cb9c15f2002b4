//! Floods stderr: a certain amount before it says its last words and exits, or for ever beside its work.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;

/// A line, its end included.
const LINE: usize = 1024;

pub(super) fn commit(mib: u32) -> ! {
    pour((0..u64::from(mib) * (1 << 20) / LINE as u64).map(|_| ()));
    // Nobody reads: it then dies all the same.
    drop(writeln!(io::stderr(), "{}", crate::act::LAST_LINE));
    std::process::exit(9)
}

/// A worker on the SDK that floods from its start to its end.
pub(super) fn run() -> ExitCode {
    thread::spawn(|| pour(std::iter::repeat(())));
    super::sdk::run()
}

fn pour(lines: impl Iterator<Item = ()>) {
    let mut line = [b'.'; LINE];
    line[LINE - 1] = b'\n';
    for () in lines {
        // Nobody reads: it goes on all the same.
        drop(io::stderr().write_all(&line));
    }
}
