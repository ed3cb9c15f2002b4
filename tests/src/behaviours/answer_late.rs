//! Answers only once it was told to stop, which is after its limit. The answer says when it was told.

use lifeboat_protocol::{Header, Route, decode};

use super::ignore_sigterm;
use super::raw::Link;
use crate::act::{Act, Told};
use crate::clock::now;

pub(super) fn commit(link: &mut Link, act: &Act, route: Route, told: Told) {
    match told {
        Told::Cancel => {
            let frame = link.read_frame().expect("the broker says more while this request runs");
            let header = decode(&frame).expect("the broker sends frames that can be read").header;
            let cancelled = matches!(header, Header::Cancel { route: it } if it.id == route.id);
            assert!(cancelled, "nothing but a cancel was due: {header:?}");
        }
        Told::Sigterm => ignore_sigterm::wait(&ignore_sigterm::begin()),
    }
    let answer = link.answer(act, route, Some(now()));
    link.write(&answer);
    if told == Told::Sigterm {
        // It answered, and does not leave by itself.
        super::hang::commit();
    }
}
