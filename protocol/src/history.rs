//! The body of a history message: the attempts before this one, and what they saved.
//!
//! Owns its shape and the bounds on both. Must never be needed for a first attempt.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::AttemptEndLabel;

/// The longest body of a save message, in bytes: 1 MiB.
///
/// ```
/// use lifeboat_protocol::MAX_SAVED;
///
/// // What is longer is put somewhere else, and its name is saved.
/// let thumbnails = vec![0_u8; 3 * 1024 * 1024];
/// assert!(lifeboat_protocol::encode_body(&thumbnails)?.len() > MAX_SAVED);
/// # Ok::<_, lifeboat_protocol::EncodeError>(())
/// ```
pub const MAX_SAVED: usize = 1024 * 1024;

/// The attempts told in one history, at most: the newest. It keeps what is told beside the saved item within
/// [`FRAME_OVERHEAD`](crate::FRAME_OVERHEAD).
pub const MAX_PREVIOUS_ATTEMPTS: usize = 100;

/// The body of a history message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// The attempts before this one, oldest first; of many the newest [`MAX_PREVIOUS_ATTEMPTS`].
    #[serde(default)]
    pub previous: Vec<PreviousAttempt>,
    /// What the last of them that saved something has saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<SavedItem>,
}

/// An attempt that was made before this one, as its successor is told of it.
///
/// ```
/// use std::time::Duration;
///
/// use lifeboat_protocol::{AttemptEndLabel, PreviousAttempt};
///
/// /// Whether the next attempt should be made with less at a time.
/// fn was_too_much(previous: &[PreviousAttempt]) -> bool {
///     previous.last().is_some_and(|last| match last.end {
///         AttemptEndLabel::Crashed => matches!(last.reason.as_deref(), Some("oom" | "memory_limit")),
///         AttemptEndLabel::TimedOut => last.duration() > Duration::from_secs(10),
///         _ => false,
///     })
/// }
///
/// let killed = PreviousAttempt {
///     number: 1,
///     worker: "images-1".to_owned(),
///     incarnation: 4,
///     end: AttemptEndLabel::Crashed,
///     reason: Some("oom".to_owned()),
///     duration_ms: 1_500,
/// };
/// assert!(was_too_much(&[killed]));
/// assert!(!was_too_much(&[]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousAttempt {
    /// Which one, from 1.
    pub number: u16,
    /// The worker's stable name.
    pub worker: String,
    /// Which life of the worker.
    pub incarnation: u64,
    /// How it ended.
    pub end: AttemptEndLabel,
    /// The crash reason's label, if its process or slot ended. Text and not a closed list here, so that a worker can
    /// show a reason that is newer than itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
}

impl PreviousAttempt {
    /// How long it ran.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }
}

/// The bytes of an item that was saved, as they came: one CBOR item inside a CBOR byte string.
#[derive(Clone, PartialEq, Eq)]
pub struct SavedItem(pub Vec<u8>);

impl fmt::Debug for SavedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SavedItem({} bytes)", self.0.len())
    }
}

impl Serialize for SavedItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for SavedItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(SavedVisitor)
    }
}

struct SavedVisitor;

impl Visitor<'_> for SavedVisitor {
    type Value = SavedItem;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a byte string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<SavedItem, E> {
        Ok(SavedItem(bytes.to_vec()))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<SavedItem, E> {
        Ok(SavedItem(bytes))
    }
}
