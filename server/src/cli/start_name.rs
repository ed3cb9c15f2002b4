//! The name of one start of a broker, which the names of its reports begin with.
//!
//! It owns the form: 13 digits in base 32, which order by time. They are the milliseconds since 1970 and 20 random bits,
//! so that brokers that start at the same moment have different ones.

use lifeboat_core::time::Timestamp;

use crate::observe::WallClock;

/// Without letters that look like digits.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// How many digits: 45 bits of time, 20 of chance.
const LENGTH: u32 = 13;

const CHANCE_BITS: u32 = 20;

/// A name for the start that happens now.
pub(super) fn now() -> String {
    let millis = WallClock::starting_at(Timestamp::ZERO).unix_millis(Timestamp::ZERO);
    name(millis << CHANCE_BITS | u64::from(fastrand::u32(..1 << CHANCE_BITS)))
}

fn name(value: u64) -> String {
    let digit = |place: u32| char::from(DIGITS[(value >> (5 * place)) as usize % DIGITS.len()]);
    (0..LENGTH).rev().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_length_and_order_by_their_value() {
        assert_eq!(name(0), "0000000000000");
        assert_eq!(name(31), "000000000000z");
        assert_eq!(name(1 << 5), "0000000000010");
        assert_eq!(name(u64::MAX), "fzzzzzzzzzzzz");
        assert!(name(1 << 59) < name(1 << 60));
    }

    #[test]
    fn two_starts_have_two_names() {
        let (first, second) = (now(), now());
        assert_eq!((first.len(), second.len()), (13, 13));
        assert_ne!(first, second);
    }
}
