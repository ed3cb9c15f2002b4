//! What workers say of their failures, as far as it is kept and told.
//!
//! It owns the bounds on such texts. A worker may be hostile, and its caller must hear why it failed all the same: an error
//! frame that is over its reader's limit would cost the reader its connection, with everything else on it.

use lifeboat_protocol::{AttemptBody, FRAME_OVERHEAD};

/// How much is kept of one text in which a worker says why it failed, in bytes. With the last words of its process it
/// fits what an error may tell.
const MAX_TEXT: usize = 4 << 10;

/// The words told with one error, over all its attempts: half of what a frame may have beside its body.
const MAX_WORDS: usize = FRAME_OVERHEAD / 2;

/// What is kept of a worker's own text. It says when something is missing.
pub(in crate::link) fn cut(mut text: String) -> String {
    const MARK: &str = " [cut]";
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT - MARK.len()));
        text.push_str(MARK);
    }
    text
}

/// Keeps the words of the newest attempts, until the bound is reached. Of one attempt the reason's words come before the
/// process's last ones. Of the output, which is the newest attempt's, the end is kept for which there is room beside that.
pub(in crate::link) fn bound(attempts: &mut [AttemptBody], output: &mut Option<String>) {
    let mut left = MAX_WORDS;
    let mut newer = attempts.iter_mut().rev();
    if let Some(newest) = newer.next() {
        keep_words(newest, &mut left);
    }
    if let Some(text) = output {
        text.drain(..text.ceil_char_boundary(text.len().saturating_sub(left)));
        left -= text.len();
    }
    for attempt in newer {
        keep_words(attempt, &mut left);
    }
}

fn keep_words(attempt: &mut AttemptBody, left: &mut usize) {
    let mut keep = |text: &mut Option<String>| match left.checked_sub(text.as_ref().map_or(0, String::len)) {
        Some(rest) => *left = rest,
        None => *text = None,
    };
    if let Some(reason) = &mut attempt.reason {
        keep(&mut reason.message);
        keep(&mut reason.location);
    }
    keep(&mut attempt.stderr_tail);
}

#[cfg(test)]
mod tests {
    use lifeboat_protocol::{AttemptEndLabel, ConfidenceLabel, ReasonBody};

    use super::*;

    const TAIL: usize = 16 << 10;

    fn attempt(number: u16) -> AttemptBody {
        let text = |len| Some("w".repeat(len));
        let reason =
            ReasonBody { message: text(MAX_TEXT), ..ReasonBody::new("exit", ConfidenceLabel::Proven) };
        AttemptBody {
            number,
            worker: "p-0".into(),
            incarnation: 1,
            pid: None,
            start_ms: 0,
            duration_ms: 0,
            end: AttemptEndLabel::Crashed,
            reason: Some(reason),
            stderr_tail: text(TAIL),
        }
    }

    #[test]
    fn a_text_is_cut_between_two_characters_and_says_so() {
        assert_eq!(cut("short".into()), "short");
        assert_eq!(cut("w".repeat(MAX_TEXT)), "w".repeat(MAX_TEXT));
        let long = cut("€".repeat(MAX_TEXT));
        assert!(long.len() <= MAX_TEXT && long.len() > MAX_TEXT - 10);
        assert_eq!(long.trim_start_matches('€'), " [cut]");
    }

    #[test]
    fn the_words_of_one_error_are_bounded_and_the_newest_are_told() {
        let mut attempts: Vec<_> = (1..=100).map(attempt).collect();
        let mut output = Some("€".repeat(TAIL / 3) + "end");
        bound(&mut attempts, &mut output);
        let output = output.expect("there is room for some of it");
        assert!(output.ends_with("€end") && output.len() > TAIL / 2, "{}", output.len());
        let words = |attempt: &AttemptBody| {
            let message = attempt.reason.as_ref().and_then(|reason| reason.message.as_ref());
            message.map_or(0, String::len) + attempt.stderr_tail.as_ref().map_or(0, String::len)
        };
        assert_eq!(words(&attempts[99]), MAX_TEXT + TAIL, "all of the newest");
        assert!(attempts.iter().map(words).sum::<usize>() + output.len() <= MAX_WORDS);
        assert!(attempts.iter().all(|attempt| attempt.reason.is_some()), "the reason itself is always told");
    }
}
