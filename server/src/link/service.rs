//! What clients are told of the service when they connect.
//!
//! It owns how much of the configuration that is. It must never tell more than fits a hello.

use std::time::Duration;

use lifeboat_core::settings::{MethodSettings, Settings};
use lifeboat_protocol::{MethodTimes, OTHER_METHOD, Service};

/// Requests that one connection is told it may have open. The core's own bound is over all clients.
const MAX_IN_FLIGHT: u32 = 65_536;

/// How much of a hello may be about methods, in bytes: a client that has not read it yet expects no frame of more than
/// [`FRAME_OVERHEAD`](lifeboat_protocol::FRAME_OVERHEAD) beside the body that it accepts, which may be nothing.
const MAX_METHODS: usize = 48 << 10;

/// What a method takes beside its name, in bytes, at most: two keys, two numbers, and the heads of all.
const ENTRY: usize = 64;

/// What a broker with these settings says of its service: as many methods as fit, in the order of the configuration. Where they
/// do not all fit, nothing is told of all others: one that was left out would be taken for one of them.
pub(super) fn told(settings: &Settings) -> Service {
    let after = settings.methods.iter().map(|method| times(settings, method)).map(after_deadline);
    let after_deadline_ms = after.max();
    let mut service = Service { max_in_flight: MAX_IN_FLIGHT, after_deadline_ms, ..Service::default() };
    let mut len = 0;
    for method in &settings.methods {
        len += method.name.len() + ENTRY;
        if len > MAX_METHODS {
            service.methods.remove(OTHER_METHOD);
            break;
        }
        service.methods.insert(method.name.clone(), times(settings, method));
    }
    service
}

/// At its deadline a request's process is killed without grace, and its outcome waits until the process is dead or, after
/// `kill_timeout`, given up.
fn times(settings: &Settings, method: &MethodSettings) -> MethodTimes {
    let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let kill_timeout = settings.pool(method.pool).kill_timeout;
    MethodTimes {
        deadline_ms: millis(method.deadline),
        answer_within_ms: millis(method.deadline.saturating_add(kill_timeout)),
    }
}

const fn after_deadline(times: MethodTimes) -> u64 {
    times.answer_within_ms.saturating_sub(times.deadline_ms)
}

#[cfg(test)]
mod tests {
    use lifeboat_core::ids::PoolId;
    use lifeboat_protocol::{FRAME_OVERHEAD, encode_body};

    use super::*;
    use crate::engine::tests::settings;

    #[test]
    fn a_client_is_told_when_the_outcome_is_there_at_the_latest() {
        let mut settings = settings();
        settings.methods.truncate(1);
        settings.pools[0].kill_timeout = Duration::from_millis(1500);
        settings.methods[0].deadline = Duration::from_secs(30);
        let any = MethodSettings { name: OTHER_METHOD.to_owned(), ..settings.methods[0].clone() };
        let name = settings.methods[0].name.clone();
        settings.methods.push(any);
        let times = MethodTimes { deadline_ms: 30_000, answer_within_ms: 31_500 };
        let methods = [(name, times), (OTHER_METHOD.to_owned(), times)].into();
        let after_deadline_ms = Some(1500);
        assert_eq!(told(&settings), Service { max_in_flight: MAX_IN_FLIGHT, methods, after_deadline_ms });
    }

    #[test]
    fn a_hello_tells_of_as_many_methods_as_it_has_room_for() {
        let mut settings = settings();
        let one = settings.methods.remove(0);
        let name = |number| format!("{number:0>255}");
        settings.methods =
            (0..4096).map(|number| MethodSettings { name: name(number), ..one.clone() }).collect();
        settings.methods.insert(0, MethodSettings { name: OTHER_METHOD.to_owned(), ..one });
        // The last pool, whose method is cut off, takes the longest to kill.
        let mut pool = settings.pool(one.pool).clone();
        pool.kill_timeout = Duration::from_secs(7);
        let last = settings.methods.last_mut().expect("there are thousands");
        last.pool = PoolId(u16::try_from(settings.pools.len()).expect("one"));
        settings.pools.push(pool);
        let service = told(&settings);
        assert_eq!(service.after_deadline_ms, Some(7000), "of all methods");
        assert!(!service.methods.contains_key(OTHER_METHOD), "what is cut off is not one of the others");
        assert!(service.methods.contains_key(&name(0)) && !service.methods.contains_key(&name(4095)));
        let len = encode_body(&service).expect("encoded").len();
        assert!(len > MAX_METHODS / 2 && len < FRAME_OVERHEAD - 1024, "{len} bytes");
    }
}
