//! What the kernel bounds for a process from its start, and for everything that it starts.
//!
//! Owns which bounds there are, how they cross the shim's argument list, and how they are set. Must never decide what a
//! process is killed for: the kernel does, and its signal is judged like any other.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

/// Between SIGXCPU, which a process may catch to say what it was doing, and SIGKILL.
const CPU_GRACE: Duration = Duration::from_secs(1);

/// The bounds of one process. Those of descendants are the same, each counted for itself; none can raise its own. The
/// default bounds nothing but core dumps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessLimits {
    /// The soft limit on open files (`RLIMIT_NOFILE`) to start with, at most the hard one, which stays. Programs that use
    /// `select` or close every descriptor break under a high one. `None` leaves the broker's.
    pub soft_open_files: Option<u64>,
    /// The most open files, soft and hard. Opening one more fails (EMFILE). Wins over the soft limit.
    pub open_files: Option<u64>,
    /// How much CPU time it may use in its life, rounded up to seconds: then comes SIGXCPU, and a second of CPU time later
    /// SIGKILL.
    pub cpu_time: Option<Duration>,
    /// How many bytes a file may have that it writes (`RLIMIT_FSIZE`): at the next byte comes SIGXFSZ. Pipes are no files.
    pub file_size: Option<u64>,
    /// The largest core dump, in bytes; 0 is none, and the default, because the kernel keeps a dying process and its socket
    /// alive for about a second per GB dumped. `None`: as large as the hard limit allows.
    ///
    /// None is set as `RLIMIT_CORE` 1, which stops dumps to files and to pipes (0 would stop only files, core(5)); a hard
    /// limit that is 0 already stays.
    pub core_size: Option<u64>,
    /// How much it yields to others beyond what the broker does, 0 to 19 (nice(2)).
    pub nice: u8,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            soft_open_files: None,
            open_files: None,
            cpu_time: None,
            file_size: None,
            core_size: Some(0),
            nice: 0,
        }
    }
}

/// How many words [`ProcessLimits::to_words`] gives.
const WORDS: usize = 6;

impl ProcessLimits {
    /// The CPU time at which the kernel kills it.
    pub(super) fn cpu_at_most(&self) -> Option<Duration> {
        self.cpu_time.map(|limit| Duration::from_secs(whole_seconds(limit)) + CPU_GRACE)
    }

    /// As arguments of the shim.
    pub(super) fn to_words(&self) -> [OsString; WORDS] {
        let numbers = [
            self.soft_open_files,
            self.open_files,
            self.cpu_time.map(whole_seconds),
            self.file_size,
            self.core_size,
            Some(self.nice.into()),
        ];
        numbers.map(|number| number.map(|number| number.to_string()).unwrap_or_default().into())
    }

    /// What [`ProcessLimits::to_words`] has said; `None` if it has not.
    pub(super) fn from_words(words: &mut impl Iterator<Item = OsString>) -> Option<Self> {
        let mut number = || {
            let word = words.next()?;
            if word.is_empty() { Some(None) } else { parse(&word).map(Some) }
        };
        Some(Self {
            soft_open_files: number()?,
            open_files: number()?,
            cpu_time: number()?.map(Duration::from_secs),
            file_size: number()?,
            core_size: number()?,
            nice: number()?.and_then(|nice| u8::try_from(nice).ok())?,
        })
    }

    /// Bounds this process but for its open files.
    ///
    /// # Errors
    ///
    /// What could not be set, and why: a bound above the one that is inherited takes a privilege.
    pub(super) fn apply(&self) -> Result<(), (&'static str, Errno)> {
        set_core(self.core_size).map_err(|errno| ("limit its core dumps", errno))?;
        if let Some(limit) = self.file_size {
            set(Resource::Fsize, limit, limit).map_err(|errno| ("limit the size of its files", errno))?;
        }
        if let (Some(soft), Some(hard)) = (self.cpu_time, self.cpu_at_most()) {
            set(Resource::Cpu, whole_seconds(soft), hard.as_secs())
                .map_err(|errno| ("limit its CPU time", errno))?;
        }
        if self.nice > 0 {
            nice(self.nice.into()).map_err(|errno| ("lower its priority", errno))?;
        }
        Ok(())
    }

    /// Bounds this process's open files: last, so that a low bound hinders no other step.
    ///
    /// # Errors
    ///
    /// As [`ProcessLimits::apply`].
    pub(super) fn apply_to_open_files(&self) -> Result<(), (&'static str, Errno)> {
        let set = match (self.open_files, self.soft_open_files) {
            (Some(limit), _) => set(Resource::Nofile, limit, limit),
            (None, Some(soft)) => {
                let maximum = getrlimit(Resource::Nofile).maximum;
                let current = Some(maximum.map_or(soft, |maximum| soft.min(maximum)));
                setrlimit(Resource::Nofile, Rlimit { current, maximum })
            }
            (None, None) => Ok(()),
        };
        set.map_err(|errno| ("limit its open files", errno))
    }
}

fn parse(word: &OsStr) -> Option<u64> {
    word.to_str()?.parse().ok()
}

const fn whole_seconds(limit: Duration) -> u64 {
    limit.as_secs() + if limit.subsec_nanos() > 0 { 1 } else { 0 }
}

fn set(resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })
}

fn set_core(size: Option<u64>) -> Result<(), Errno> {
    let hard = getrlimit(Resource::Core).maximum;
    let limit = match size {
        _ if hard == Some(0) => hard,
        None => hard,
        // Where `core_pattern` is a pipe the kernel heeds no limit but 1, and as a size it is too small for any dump.
        Some(size) => Some(hard.map_or(size, |hard| size.min(hard)).max(1)),
    };
    setrlimit(Resource::Core, Rlimit { current: limit, maximum: limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_was_meant() {
        let all = ProcessLimits {
            soft_open_files: Some(9),
            open_files: Some(64),
            cpu_time: Some(Duration::from_secs(2)),
            file_size: Some(1 << 40),
            core_size: None,
            nice: 19,
        };
        for limits in [all, ProcessLimits::default()] {
            assert_eq!(ProcessLimits::from_words(&mut limits.to_words().into_iter()), Some(limits));
        }
    }

    #[test]
    fn strange_words_say_nothing() {
        for words in [
            &["", "", "", "", ""][..],
            &["", "", "", "", "", "256"],
            &["x", "", "", "", "", "0"],
            &["", "-1", "", "", "", "0"],
        ] {
            let mut words = words.iter().map(OsString::from);
            assert_eq!(ProcessLimits::from_words(&mut words), None);
        }
    }

    #[test]
    fn cpu_time_is_counted_in_whole_seconds() {
        let limits =
            ProcessLimits { cpu_time: Some(Duration::from_millis(1001)), ..ProcessLimits::default() };
        assert_eq!(limits.cpu_at_most(), Some(Duration::from_secs(3)));
    }
}
