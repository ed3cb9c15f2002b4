//! Answers with a header and a body of an exact size, within the limits or not.

use lifeboat_protocol::Route;

use super::raw::Link;
use crate::sized::answer_of;

pub(super) fn commit(link: &mut Link, route: Route, header: usize, body: usize) {
    link.write(&answer_of(route, header, body));
}
