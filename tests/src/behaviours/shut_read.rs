//! Shuts down the reading direction of its socket: nothing can be written to it any more.

use std::net::Shutdown;

use super::raw::Link;

pub(super) fn commit(link: &Link) {
    link.shut(Shutdown::Read);
}
