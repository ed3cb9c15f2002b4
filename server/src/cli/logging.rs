//! The broker's log: to stderr, as text for people or as JSON lines for machines.
//!
//! Owns the set-up of the subscriber, what becomes of panics, and the end of the log. Must never write to stdout, which
//! belongs to the answers of commands, and never let whoever logs wait for whoever reads.

mod brief;
mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _, Write as _};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use std::{env, thread};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use self::brief::Brief;
use self::queue::{Queue, QueueThread};

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
    /// For a person who watches one worker: no times, and its lines as it wrote them beside its name.
    Brief,
}

/// What is logged when no variable says otherwise.
pub const DEFAULT_FILTER: &str = "info";

/// The variable that chooses what this program logs, whatever other programs do.
pub const FILTER_VARIABLE: &str = "LIFEBOAT_LOG";

/// The variables that choose what is logged; the first that is set and not empty counts.
pub const FILTER_VARIABLES: [&str; 2] = [FILTER_VARIABLE, "RUST_LOG"];

/// How long the end of a process waits for its last lines to be read.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// A reader that has read nothing for this long is not waited for.
const STUCK: Duration = Duration::from_secs(1);

/// How long a thread that panics waits until that is written: the process may be about to abort.
const PANIC_LIMIT: Duration = Duration::from_millis(100);

/// Keeps the log going. Dropping it writes what is left, for at most 6 s, and 2 s where nobody reads; what is logged
/// later is lost.
#[derive(Debug)]
#[must_use = "the log ends when this is dropped"]
pub struct LogGuard {
    queue: Queue,
    _thread: QueueThread,
}

/// Sends this process's log to stderr, by a thread of its own: who logs is never blocked. At most 4096 lines and 8 MiB
/// wait to be read; what comes then is dropped, counted, and told of when lines flow again. Panics go to the log too.
/// When something else was set up before, that stays, and only [`LogGuard::complain`] works.
///
/// What is logged is chosen by `LIFEBOAT_LOG`, else `RUST_LOG`, else it is [`DEFAULT_FILTER`]; so it is when the variable
/// holds no filter, which is then logged as a warning: a slip there must not keep a broker from starting.
pub fn init(format: LogFormat) -> LogGuard {
    init_with(format, DEFAULT_FILTER, &FILTER_VARIABLES)
}

/// The same, with other variables, and another filter for when none of them says otherwise.
pub fn init_with(format: LogFormat, default: &str, variables: &[&str]) -> LogGuard {
    let value = |name: &str| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let (filter, complaint) = filter(default, variables, value);
    let (queue, thread) = Queue::new(io::stderr(), tell_dropped);
    let builder = fmt().with_env_filter(filter).with_writer(queue.clone());
    let outcome = match format {
        LogFormat::Text => {
            let colour = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
            builder.with_ansi(colour).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
        LogFormat::Brief => builder.event_format(Brief).try_init(),
    };
    // The only failure is that a subscriber is there already, as in a test or in an embedding program: it stays.
    if outcome.is_ok() {
        log_panics(queue.clone());
    }
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
    LogGuard { queue, _thread: thread }
}

impl LogGuard {
    /// The count of the lines that were dropped.
    #[must_use]
    pub fn dropped_lines(&self) -> Arc<AtomicU64> {
        self.queue.dropped()
    }

    /// Tells the person something as it is, after all that was logged before. Does not block.
    pub fn complain(&self, text: &str) {
        complain(&self.queue, text);
    }
}

fn complain(queue: &Queue, text: &str) {
    // The queue takes every line or counts it; it never fails.
    drop(queue.clone().write_all(format!("lifeboat: {text}\n").as_bytes()));
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // Whoever does not read will not hear of what was dropped either.
        if self.queue.wait_until_written(FLUSH_LIMIT, STUCK)
            && let (new @ 1.., all) = self.queue.take_dropped()
        {
            tell_dropped(new, all);
        }
    }
}

fn tell_dropped(dropped: u64, in_all: u64) {
    tracing::warn!(dropped, in_all, "lines of the log were dropped: whoever reads stderr did not keep up");
}

/// Sends panics to the log: written to stderr as usual, one of the data plane would block it there for ever.
fn log_panics(queue: Queue) {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if queue.is_open() {
            log_panic(panic, &queue);
        } else {
            usual(panic);
        }
    }));
}

fn log_panic(panic: &PanicHookInfo<'_>, queue: &Queue) {
    if tracing::enabled!(tracing::Level::ERROR) {
        let backtrace = Some(Backtrace::capture()).filter(|it| it.status() == BacktraceStatus::Captured);
        tracing::error!(
            thread = thread::current().name(),
            location = panic.location().map(tracing::field::display),
            backtrace = backtrace.map(tracing::field::display),
            "panicked: {}; please report this as a defect of Lifeboat",
            panic.payload_as_str().unwrap_or("(no text)"),
        );
    } else {
        // A filter must not hide why the process ends.
        complain(queue, &panic.to_string());
    }
    let _is_complete = queue.wait_until_written(PANIC_LIMIT, PANIC_LIMIT);
}

/// The filter, and what is wrong with the one that was asked for.
fn filter(
    default: &str,
    variables: &[&str],
    value: impl Fn(&str) -> Option<String>,
) -> (EnvFilter, Option<String>) {
    let set = |name| value(name).filter(|text| !text.trim().is_empty()).map(|text| (name, text));
    let Some((name, text)) = variables.iter().copied().find_map(set) else {
        return (EnvFilter::new(default), None);
    };
    match EnvFilter::try_new(&text) {
        Ok(filter) => (filter, None),
        Err(error) => {
            let complaint = format!(
                "{name}={text:?} is no log filter ({error}), so {default:?} is used; write for example \
                 \"lifeboat=debug,info\""
            );
            (EnvFilter::new(default), Some(complaint))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn chosen(variables: &[(&str, &str)]) -> (String, Option<String>) {
        let look = |wanted: &str| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        };
        let (filter, complaint) = filter(DEFAULT_FILTER, &FILTER_VARIABLES, look);
        (filter.to_string(), complaint)
    }

    #[test]
    fn the_first_variable_that_is_set_counts() {
        for (variables, expected) in [
            (&[][..], "info"),
            (&[("RUST_LOG", "debug")], "debug"),
            (&[("RUST_LOG", "debug"), ("LIFEBOAT_LOG", "warn")], "warn"),
            (&[("RUST_LOG", "debug"), ("LIFEBOAT_LOG", " ")], "debug"),
        ] {
            assert_eq!(chosen(variables), (expected.to_owned(), None));
        }
    }

    #[test]
    fn a_wrong_filter_is_replaced_and_named() {
        let (filter, complaint) = chosen(&[("LIFEBOAT_LOG", "lifeboat=loud")]);
        assert_eq!(filter, "info");
        let complaint = complaint.unwrap();
        assert!(complaint.starts_with("LIFEBOAT_LOG=\"lifeboat=loud\" is no log filter"), "{complaint}");
    }

    /// What a queue's reader reads while `act` uses the queue.
    fn written(act: impl FnOnce(&Queue)) -> String {
        let (mut reader, writer) = io::pipe().unwrap();
        let (queue, thread) = Queue::new(writer, |_, _| {});
        act(&queue);
        drop(thread);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn panics_go_to_the_log_and_no_filter_hides_them() {
        let text = written(|queue| {
            log_panics(queue.clone());
            let log = queue.clone();
            let plain = fmt().json().flatten_event(true).with_writer(log).finish();
            tracing::subscriber::with_default(plain, || panic::catch_unwind(|| panic!("first")).unwrap_err());
            let deaf = fmt().with_max_level(tracing::level_filters::LevelFilter::OFF).finish();
            tracing::subscriber::with_default(deaf, || panic::catch_unwind(|| panic!("second")).unwrap_err());
            drop(panic::take_hook());
        });
        let (first, second) = text.split_once('\n').unwrap();
        let first: serde_json::Value = serde_json::from_str(first).unwrap();
        assert_eq!(first["level"], "ERROR");
        assert_eq!(first["message"], "panicked: first; please report this as a defect of Lifeboat");
        assert!(first["location"].as_str().unwrap().starts_with(file!()), "{first}");
        assert!(second.starts_with("lifeboat: panicked at "), "{second}");
        assert!(second.ends_with("second\n"), "{second}");
    }

    #[test]
    fn a_complaint_comes_after_the_log_whatever_the_filter() {
        let text = written(|queue| {
            drop(queue.clone().write_all(b"a line of the log\n"));
            complain(queue, "the socket is in use");
        });
        assert_eq!(text, "a line of the log\nlifeboat: the socket is in use\n");
    }

    #[test]
    fn a_second_set_up_changes_nothing() {
        let first = init(LogFormat::Text);
        let second = init(LogFormat::Json);
        drop(first);
        drop(second);
    }
}
