//! Sends a frame that says nothing in the protocol.

use super::raw::Link;

pub(super) fn commit(link: &mut Link) -> ! {
    link.write(b"\0\0\0\x10GET / HTTP/1.1\r\n");
    super::hang::commit()
}
