//! Shuts down the writing direction of its socket: nothing more comes from it.

use std::net::Shutdown;

use super::raw::Link;

pub(super) fn commit(link: &Link) {
    link.shut(Shutdown::Write);
}
