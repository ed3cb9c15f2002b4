//! A death in words, for the log.

use std::fmt::Write as _;

use lifeboat_core::reason::{CrashReason, StartFailure};
use lifeboat_core::signals;

/// How much of a worker's own text goes into a log line, in characters.
const TEXT_LIMIT: usize = 240;

/// What there is to say of a reason beyond its label: the signal's name, the exit code, the message. Empty where the
/// label says it all. Text that a worker wrote is shortened and stripped of control characters.
#[must_use]
pub fn describe(reason: &CrashReason) -> String {
    match reason {
        CrashReason::SpawnFailed(text)
        | CrashReason::ProtocolViolation(text)
        | CrashReason::SlotsExhausted(text) => printable(text),
        CrashReason::StartFailed(StartFailure::Exit { code }) | CrashReason::Exit { code } => {
            format!("exit code {code}")
        }
        CrashReason::StartFailed(StartFailure::Signal { signal, core_dumped })
        | CrashReason::Signal { signal, core_dumped } => {
            let core = if *core_dumped { ", core dumped" } else { "" };
            format!("signal {}{core}", signals::name(*signal))
        }
        CrashReason::StartFailed(failure) => failure.words().map(printable).unwrap_or_default(),
        CrashReason::StoppedFromOutside { signal } => format!("signal {}", signals::name(*signal)),
        CrashReason::ConnectionError { errno } => std::io::Error::from_raw_os_error(*errno).to_string(),
        CrashReason::SlotPanicked { message, location } => location.as_ref().map_or_else(
            || printable(message),
            |location| format!("{} at {}", printable(message), printable(location)),
        ),
        CrashReason::Oom
        | CrashReason::CpuLimit
        | CrashReason::FileSizeLimit
        | CrashReason::SandboxViolation
        | CrashReason::KilledFromOutside
        | CrashReason::ConnectionClosed
        | CrashReason::Unresponsive
        | CrashReason::Killed(_) => String::new(),
    }
}

/// The last line of a stderr tail that says something, shortened and stripped of control characters.
#[must_use]
pub fn last_line(tail: &str) -> Option<String> {
    tail.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(printable)
}

/// Without what a terminal or a viewer of text would act on, and short.
pub(super) fn printable(text: &str) -> String {
    let mut kept: String = text
        .trim()
        .chars()
        .take(TEXT_LIMIT)
        .map(|c| if is_active(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.trim().chars().nth(TEXT_LIMIT).is_some() {
        kept.push('…');
    }
    kept
}

/// A text of several lines without what a terminal or a viewer of text would act on; tabs and line breaks stay.
#[must_use]
pub fn harmless(text: &str) -> String {
    let replace = |c| if is_active(c) && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(replace).collect()
}

/// JSON with what a terminal or a viewer of text would act on in its escaped form. Such a character can only be within a
/// text there.
pub(super) fn escape_active(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_active(c) {
            // All of them are below U+10000, where one escape is enough. Writing to a text cannot fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Controls, line and paragraph separators, what turns the direction of writing.
fn is_active(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || matches!(c, '\u{2028}'..='\u{2029}') || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_label_does_not() {
        let segv = CrashReason::Signal { signal: libc::SIGSEGV, core_dumped: true };
        assert_eq!(describe(&segv), "signal SIGSEGV, core dumped");
        assert_eq!(describe(&CrashReason::Exit { code: 3 }), "exit code 3");
        assert_eq!(describe(&CrashReason::Oom), "");
        let panic = CrashReason::SlotPanicked { message: "boom".into(), location: Some("a.rs:1:2".into()) };
        assert_eq!(describe(&panic), "boom at a.rs:1:2");
    }

    #[test]
    fn a_workers_text_cannot_drive_a_terminal_or_fill_the_log() {
        let line = last_line("first\n\u{1b}[2Jlast \u{7}\n\n  \n").expect("a line");
        assert_eq!(line, "\u{fffd}[2Jlast \u{fffd}");
        assert_eq!(last_line("a\u{2028}b\u{202e}c").as_deref(), Some("a\u{fffd}b\u{fffd}c"));
        let long = last_line(&"é".repeat(16_384)).expect("a line");
        assert_eq!(long.chars().count(), TEXT_LIMIT + 1);
        assert_eq!(last_line("\n \n"), None);
    }
}
