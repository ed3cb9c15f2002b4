//! What crashes of one kind have in common.
//!
//! It owns which of them are called the same. The text must be the same for the same crash in another process, at another
//! address and with another request, and its hash in every broker.

use lifeboat_core::reason::{CrashReason, StartFailure};

use super::report::Signature;
use crate::observe::describe::{describe, printable};

/// How much of a worker's line counts, in characters.
const LINE_LIMIT: usize = 160;

/// How many methods count, of those that were executed.
const METHODS: usize = 8;

/// The signature of a crash that nothing is known of but this. `methods` are those it executed.
pub(super) fn signature(pool: &str, reason: &CrashReason, methods: &[&str], stderr: &str) -> Signature {
    let mut text = format!("{pool}: {}", reason.label());
    let mut methods = methods.to_vec();
    methods.sort_unstable();
    methods.dedup();
    let more = if methods.len() > METHODS { ", …" } else { "" };
    methods.truncate(METHODS);
    let executing =
        if methods.is_empty() { String::new() } else { format!(" in {}{more}", methods.join(", ")) };
    let said = telling_line(stderr).map_or_else(String::new, |line| format!(": {}", without_numbers(line)));
    for part in [detail(reason), executing, said] {
        text.push_str(&part);
    }
    Signature { id: format!("{:016x}", fnv1a(text.as_bytes())), text, count: 1, first_at: 0 }
}

/// What tells crashes of the same label apart: numbers are kept where they are the kind.
fn detail(reason: &CrashReason) -> String {
    let told = describe(reason);
    let told = told.trim_start_matches("signal ").trim_end_matches(", core dumped");
    let is_kind = matches!(
        reason,
        CrashReason::Exit { .. }
            | CrashReason::Signal { .. }
            | CrashReason::StoppedFromOutside { .. }
            | CrashReason::StartFailed(StartFailure::Exit { .. } | StartFailure::Signal { .. })
    );
    let told = if is_kind { told.to_owned() } else { without_numbers(told) };
    if told.is_empty() { told } else { format!(" ({told})") }
}

/// The last line that has a letter, but for the hint that Rust's panics end with.
fn telling_line(stderr: &str) -> Option<&str> {
    let tells = |line: &&str| line.contains(char::is_alphabetic) && !line.starts_with("note: ");
    stderr.lines().rev().map(str::trim).find(tells)
}

/// With `#` for each number and each address, and nothing that a terminal would act on.
fn without_numbers(text: &str) -> String {
    let text: String = printable(text).chars().take(LINE_LIMIT).collect();
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric();
        let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if is_word(first) {
            push_word(&mut kept, word)
        } else {
            kept.push_str(word)
        }
        rest = after;
    }
    kept
}

fn push_word(kept: &mut String, word: &str) {
    let is_hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has_digit = word.contains(|c: char| c.is_ascii_digit());
    let is_address =
        word.strip_prefix("0x").is_some_and(is_hex) || has_digit && word.len() >= 8 && is_hex(word);
    if is_address {
        kept.push('#');
        return;
    }
    let mut in_number = false;
    for c in word.chars() {
        let digit = c.is_ascii_digit();
        if !digit {
            kept.push(c);
        } else if !in_number {
            kept.push('#');
        }
        in_number = digit;
    }
}

/// FNV-1a: the same in every build and on every machine, which the standard library's hashes do not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reason: &CrashReason, methods: &[&str], stderr: &str) -> String {
        signature("images", reason, methods, stderr).text
    }

    #[test]
    fn numbers_and_addresses_do_not_tell_crashes_apart() {
        let exit = CrashReason::Exit { code: 3 };
        let one = "x\nerror: at 0x7ffd12 in frame 12 of 7f3a9c1e22d0 for job17\nnote: run with `X`\n---\n";
        let two = "error: at 0xdeadbeef in frame 9 of 00aa9c1e2211 for job4\n";
        assert_eq!(
            text(&exit, &["b", "a", "b"], one),
            "images: exit (exit code 3) in a, b: error: at # in frame # of # for job#"
        );
        assert_eq!(text(&exit, &["a", "b"], two), text(&exit, &["b", "a"], one));
        assert_ne!(text(&exit, &["a"], two), text(&exit, &["b"], two));
        assert_ne!(text(&CrashReason::Exit { code: 4 }, &[], ""), text(&exit, &[], ""));
    }

    #[test]
    fn only_some_of_many_methods_are_told() {
        let methods: Vec<_> = (0..256).map(|number| format!("m{number:03}")).collect();
        let methods: Vec<_> = methods.iter().map(String::as_str).collect();
        let told = "images: oom in m000, m001, m002, m003, m004, m005, m006, m007";
        assert_eq!(text(&CrashReason::Oom, &methods, ""), format!("{told}, …"));
        assert_eq!(text(&CrashReason::Oom, &methods[..8], ""), told);
    }

    #[test]
    fn words_stay_words() {
        assert_eq!(without_numbers("deadbeef é1 \u{1b}[2J added"), "deadbeef é# \u{fffd}[#J added");
        assert_eq!(text(&CrashReason::Oom, &[], "\n--\n \n"), "images: oom");
    }

    #[test]
    fn the_hash_is_for_ever() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        let signal = CrashReason::Signal { signal: 11, core_dumped: false };
        assert_eq!(signature("p", &signal, &["m"], "").text, "p: signal (SIGSEGV) in m");
    }
}
