//! What the broker made of a death, as its caller and as its log tell it.

use lifeboat_client::CrashReason;
use lifeboat_tests::harness::Broker;

/// A worker's name and which of its lives.
pub(super) type Life = (String, u64);

/// The confidence of a planned end, which is none.
pub(super) const PLANNED: &str = "planned";

/// A verdict with all that tells it apart from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Verdict {
    /// The label of the crash reason, or of the stop reason.
    pub(super) reason: String,
    /// The exit code or the signal, and whether a core was dumped; that there are words, where those are free.
    pub(super) detail: String,
    /// How sure the broker is; [`PLANNED`] for a planned end.
    pub(super) confidence: String,
}

/// What stands for free text.
const WORDS: &str = "in words";

impl Verdict {
    pub(super) fn new(reason: &str, detail: &str, confidence: &str) -> Self {
        let [reason, detail, confidence] = [reason, detail, confidence].map(str::to_owned);
        Self { reason, detail, confidence }
    }

    /// As a caller is told it.
    pub(super) fn told(reason: &CrashReason) -> Self {
        let core = if reason.core_dumped() { ", core dumped" } else { "" };
        let detail = match (reason.exit_code(), reason.signal_name(), reason.message()) {
            (Some(code), None, None) => format!("exit code {code}"),
            (None, Some(signal), None) => format!("signal {signal}{core}"),
            (None, None, Some(_)) => WORDS.to_owned(),
            (None, None, None) => core.to_owned(),
            several => format!("{several:?}"),
        };
        Self::new(reason.label(), &detail, &reason.confidence().to_string())
    }

    /// As the log tells the end of a life, once it does.
    pub(super) fn logged(broker: &Broker, (worker, incarnation): &Life) -> Option<Self> {
        let life = format!("worker=\"{worker}\" incarnation={incarnation} ");
        let log = broker.log();
        let of_life = |what: &str| log.lines().find(|line| line.contains(&format!("{what} {life}")));
        if let Some(line) = of_life("worker stopped") {
            return Some(Self::new(quoted(line, "reason"), "", PLANNED));
        }
        of_life("worker crashed").map(Self::in_line)
    }

    /// In a line of the log that tells of a crash.
    fn in_line(line: &str) -> Self {
        let detail = line
            .split_once(" detail=")
            .map_or("", |(_, rest)| rest.split_once(" confidence=").expect("it stands behind the detail").0);
        let is_known = ["exit code ", "signal ", "not ready within ", "out of memory "]
            .iter()
            .any(|it| detail.starts_with(it));
        let detail = if detail.is_empty() || is_known { detail } else { WORDS };
        Self::new(quoted(line, "reason"), detail, quoted(line, "confidence"))
    }

    /// The verdicts that the log tells on the processes of a pool, in order.
    pub(super) fn of_pool(broker: &Broker, pool: &str) -> Vec<Self> {
        let worker = format!("worker crashed worker=\"{pool}-");
        let log = broker.log();
        log.lines().filter(|line| line.contains(&worker)).map(Self::in_line).collect()
    }
}

/// The value of a field that stands in quotes.
fn quoted<'a>(line: &'a str, field: &str) -> &'a str {
    let value = line.split_once(&format!(" {field}=\"")).and_then(|(_, rest)| rest.split_once('"'));
    value.unwrap_or_else(|| panic!("no {field} in {line}")).0
}
