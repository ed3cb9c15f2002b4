//! Says why something failed, at great length.

use lifeboat_protocol::{Failure, MessageType, Panicked, Route, WorkersFailed, put_control};

use super::raw::Link;
use crate::act::Words;

pub(super) fn commit(link: &mut Link, route: Route, words: Words, len: usize) {
    let (text, mut out) = ("w".repeat(len), Vec::new());
    let put = match words {
        Words::Failure => {
            let failure = Failure { retryable: true, ..Failure::new("long", text) };
            put_control(&mut out, MessageType::Failure, Some(route), &failure)
        }
        Words::Panicked => {
            let panicked = Panicked { message: text.clone(), location: Some(text), kept: false };
            put_control(&mut out, MessageType::Panicked, Some(route), &panicked)
        }
        Words::WorkersFailed => {
            let failed = WorkersFailed { reasons: vec![text; 3] };
            put_control(&mut out, MessageType::WorkersFailed, None, &failed)
        }
    };
    put.expect("a text can be encoded");
    link.write(&out);
    if words != Words::Failure {
        // As one does whose slots are gone.
        std::process::exit(70);
    }
}
