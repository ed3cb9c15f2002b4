//! The body of a progress message: the work moves.
//!
//! Owns its shape and the bound on its text. Must never be needed to pass a progress message on: the broker does not
//! read it.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest text that goes with progress, in bytes; what is longer is cut when it is written.
pub const MAX_PROGRESS_TEXT: usize = 1024;

/// The body of a progress message. Everything may be missing: that the message came says enough.
///
/// ```
/// use lifeboat_protocol::{Amount, Progress};
///
/// let told = Progress { done: Some(Amount::Whole(3)), total: Some(Amount::Real(4.0)), text: None };
/// assert_eq!(told.fraction(), Some(0.75));
/// assert_eq!(Progress { total: None, ..told }.fraction(), None);
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Amount>,
    /// How much there is to do, in the same unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Amount>,
    /// What is being done, for people. At most [`MAX_PROGRESS_TEXT`] bytes of it are written, whole characters.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "write_cut")]
    pub text: Option<String>,
}

impl Progress {
    /// The part that is done, from 0 to 1. `None` unless both numbers are said and make sense: finite, not negative,
    /// and something to do.
    #[must_use]
    pub fn fraction(&self) -> Option<f64> {
        let (done, total) = (self.done?.as_f64(), self.total?.as_f64());
        let sensible = done.is_finite() && total.is_finite() && done >= 0.0 && total > 0.0;
        sensible.then(|| (done / total).min(1.0))
    }
}

#[expect(clippy::ref_option, reason = "serde passes the field")]
fn write_cut<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    let cut = text.as_ref().map(|text| &text[..text.floor_char_boundary(MAX_PROGRESS_TEXT)]);
    cut.serialize(serializer)
}

/// How much: a whole number, or one with a fraction.
///
/// ```
/// # use lifeboat_protocol::Amount;
/// let pages = Amount::from(7_u64);
/// let seconds = Amount::from(2.5);
/// assert_eq!((pages, seconds), (Amount::Whole(7), Amount::Real(2.5)));
/// assert_eq!(pages.as_f64() / seconds.as_f64(), 2.8);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// A whole number.
    Whole(u64),
    /// Any other number. One that is negative or not finite says nothing.
    Real(f64),
}

impl Amount {
    /// The number; whole ones above 2^53 are rounded.
    #[must_use]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Real(number) => number,
        }
    }
}

impl From<u64> for Amount {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for Amount {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(number) => serializer.serialize_u64(*number),
            Self::Real(number) => serializer.serialize_f64(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AmountVisitor)
    }
}

struct AmountVisitor;

impl Visitor<'_> for AmountVisitor {
    type Value = Amount;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an unsigned integer or a float")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Amount, E> {
        Ok(Amount::Whole(number))
    }

    /// Some formats read every integer as a signed one.
    fn visit_i64<E: Error>(self, number: i64) -> Result<Amount, E> {
        let unsigned =
            u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))?;
        Ok(Amount::Whole(unsigned))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Amount, E> {
        Ok(Amount::Real(number))
    }
}
