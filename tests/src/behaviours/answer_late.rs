//! Answers only once it was told to stop, which is after its limit. The answer says when it was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lifeboat_protocol::{Header, Route, decode};

use super::raw::Link;
use crate::act::{Act, Told};
use crate::clock::now;

/// How often a worker that waits for SIGTERM looks.
const LOOK: Duration = Duration::from_millis(1);

pub(super) fn commit(link: &mut Link, act: &Act, route: Route, told: Told) {
    match told {
        Told::Cancel => {
            let frame = link.read_frame().expect("the broker says more while this request runs");
            let header = decode(&frame).expect("the broker sends frames that can be read").header;
            let cancelled = matches!(header, Header::Cancel { route: it } if it.id == route.id);
            assert!(cancelled, "nothing but a cancel was due: {header:?}");
        }
        Told::Sigterm => {
            let terminated = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&terminated))
                .expect("SIGTERM can be caught");
            while !terminated.load(Ordering::SeqCst) {
                thread::sleep(LOOK);
            }
        }
    }
    let answer = link.answer(act, route, Some(now()));
    link.write(&answer);
    if told == Told::Sigterm {
        // It answered, and does not leave by itself.
        super::hang::commit();
    }
}
