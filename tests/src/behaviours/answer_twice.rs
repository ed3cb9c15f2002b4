//! Answers the same request twice.

use super::raw::Link;

pub(super) fn commit(link: &mut Link, answer: &[u8]) {
    link.write(answer);
    link.write(answer);
}
