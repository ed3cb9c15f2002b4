//! `docs/protocol.md` shows the frozen bytes, lists every message type, and names every word.

mod common;

use common::*;
use lifeboat_protocol::*;

const PAGE: &str = include_str!("../../docs/protocol.md");

/// The page's dumps: name and bytes. A dump is a fenced block that begins "```hex name"; text after `;` explains.
fn dumps() -> Vec<(&'static str, Vec<u8>)> {
    let mut dumps: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut inside = false;
    for line in PAGE.lines() {
        if let Some(name) = line.strip_prefix("```hex ") {
            dumps.push((name, Vec::new()));
            inside = true;
        } else if line == "```" {
            inside = false;
        } else if inside && let Some((_, bytes)) = dumps.last_mut() {
            let hex = line.split(';').next().unwrap_or_default().split_whitespace();
            bytes.extend(hex.map(|byte| u8::from_str_radix(byte, 16).expect("hex")));
        }
    }
    dumps
}

#[test]
fn every_dump_is_the_frozen_vector() {
    let files = golden_files();
    for (name, bytes) in dumps() {
        assert_eq!(files.get(name), Some(&bytes), "the dump `{name}`");
    }
}

#[test]
fn every_message_type_is_shown() {
    let dumps = dumps();
    let shown = |message_type: MessageType| {
        let mut frames = dumps.iter().map(|(_, bytes)| decode(only_frame(bytes)).expect("a message"));
        frames.any(|message| message.header.message_type() == message_type)
    };
    for message_type in MessageType::ALL {
        let row = format!("| {} | `{message_type}` |", message_type.number());
        assert!(PAGE.contains(&row), "no row {row}");
        assert!(shown(message_type), "no dump of {message_type}");
    }
}

#[test]
fn every_word_of_the_closed_lists_is_named() {
    let mut words: Vec<_> = OutcomeLabel::ALL.iter().map(|word| word.as_str()).collect();
    words.extend(TimeoutWhich::ALL.iter().map(|word| word.as_str()));
    words.extend(RejectWhy::ALL.iter().map(|word| word.as_str()));
    words.extend(AttemptEndLabel::ALL.iter().map(|word| word.as_str()));
    words.extend(ConfidenceLabel::ALL.iter().map(|word| word.as_str()));
    words.extend(RefusedCode::ALL.iter().map(|word| word.as_str()));
    words.extend(Operation::ALL.iter().map(|word| word.as_str()));
    words.extend(PoolStateLabel::ALL.iter().map(|word| word.as_str()));
    words.extend(SlotStateLabel::ALL.iter().map(|word| word.as_str()));
    words.extend(RequestStateLabel::ALL.iter().map(|word| word.as_str()));
    words.extend([
        HEARTBEAT_FEATURE,
        HISTORY_FEATURE,
        SAVE_FEATURE,
        RETIRE_FEATURE,
        ACCEPTED_FEATURE,
        POOL_FEATURE,
        RECORDER_FEATURE,
    ]);
    for word in words {
        assert!(PAGE.contains(&format!("`{word}`")), "`{word}` is not on the page");
    }
}
