//! What the broker's own process uses, read from `/proc` at each scrape, on the control plane.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// What the broker's own process uses. A figure that cannot be read is absent, and so is its metric.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnProcess {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<f64>,
    pub(super) open_fds: Option<f64>,
    pub(super) max_fds: Option<f64>,
    pub(super) start_time_seconds: Option<f64>,
}

/// Clock ticks per second in `/proc/PID/stat`.
///
/// Source: `USER_HZ`, fixed at 100 in the kernel's interface on every architecture that Rust has a tier for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Places among the fields that follow the process's name in `/proc/PID/stat` (`proc_pid_stat(5)` numbers them from 1,
/// and the first of these is its third).
const UTIME: usize = 14 - 3;
const STIME: usize = 15 - 3;
const START_TIME: usize = 22 - 3;

impl OwnProcess {
    /// Reads a few small files; does not wait for anything.
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let ticks = |place| stat_field(&stat, place).map(|ticks| ticks / TICKS_PER_SECOND);
        let booted = || keyed_number(&fs::read_to_string("/proc/stat").ok()?, "btime ");
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            cpu_seconds: ticks(UTIME).zip(ticks(STIME)).map(|(user, system)| user + system),
            resident_bytes: keyed_number(&status, "VmRSS:").map(|kibibytes| kibibytes * 1024.0),
            // The listing itself holds one open.
            open_fds: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|entries| entries.count().saturating_sub(1) as f64),
            max_fds: getrlimit(Resource::Nofile).current.map(|limit| limit as f64),
            start_time_seconds: ticks(START_TIME).and_then(|after_boot| Some(booted()? + after_boot)),
        }
    }
}

/// The process's name is in parentheses and may contain anything, parentheses and spaces included.
fn stat_field(stat: &str, place: usize) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(place)?.parse().ok()
}

fn keyed_number(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn reads_this_very_process() {
        let own = OwnProcess::read();
        assert!(own.cpu_seconds.is_some_and(|cpu| (0.0..1e6).contains(&cpu)));
        assert!(own.resident_bytes.is_some_and(|bytes| (1e5..1e11).contains(&bytes)));
        assert!(own.open_fds.is_some_and(|fds| (3.0..1e6).contains(&fds)));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        assert!(own.start_time_seconds.is_some_and(|start| (now - 86_400.0..now + 2.0).contains(&start)));
    }

    #[test]
    fn a_hostile_process_name_does_not_shift_the_fields() {
        let stat = "7 (a) 1 (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0";
        assert_eq!(stat_field(stat, UTIME), Some(250.0));
        assert_eq!(stat_field(stat, STIME), Some(50.0));
        assert_eq!(stat_field("", UTIME), None);
        assert_eq!(keyed_number("VmRSS:\t  123 kB\n", "VmRSS:"), Some(123.0));
    }
}
