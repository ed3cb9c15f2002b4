//! The vectors of what is said while a request runs: progress, partials, failed attempts, heartbeats.

use super::*;

/// To a client: about its request's first attempt.
const TO_CLIENT: Route = Route { attempt: 1, ..CLIENT.answer() };

fn partial(name: &'static str, route: Route, body: &Value) -> Vector {
    let mut bytes = Vec::new();
    let body = cbor(body);
    put_partial(&mut bytes, route, &body);
    let decodes = move |message: &Message<'_>| {
        assert_eq!(message.header, Header::Partial { route });
        assert_eq!(message.body, body);
    };
    Vector { name, message_type: MessageType::Partial, bytes, decodes: Box::new(decodes) }
}

pub(super) fn vectors() -> Vec<Vector> {
    let progress = |name, route, progress| control(name, MessageType::Progress, Some(route), progress);
    let pages = Progress {
        done: Some(Amount::Whole(3)),
        total: Some(Amount::Whole(10)),
        text: Some("page 3 of 10".into()),
    };
    let real = Progress { done: Some(Amount::Real(0.5)), total: Some(Amount::Real(1.25)), text: None };
    let accepted = Route { attempt: 0, time_left: TimeLeft::from_millis(4998), ..TO_CLIENT };
    let streamed = Ext { stream: true, ..Ext::default() };
    let restartable = Ext { restartable: true, ..streamed.clone() };
    vec![
        request("request_streamed", CLIENT, "resize", streamed, Value::Null),
        request("request_restartable", CLIENT, "resize", restartable, Value::Null),
        progress("progress", WORKER, pages.clone()),
        progress("progress_to_client", TO_CLIENT, pages),
        progress("progress_in_real_numbers", WORKER, real),
        progress("progress_saying_nothing", WORKER, Progress::default()),
        partial("partial", WORKER, &Value::Bytes(vec![0x89, 0x50, 0x4e, 0x47])),
        partial("partial_to_client", TO_CLIENT, &Value::Bytes(vec![0x89, 0x50, 0x4e, 0x47])),
        control(
            "attempt_failed",
            MessageType::AttemptFailed,
            Some(TO_CLIENT),
            attempt(1, AttemptEndLabel::Crashed, Some(segv())),
        ),
        control("accepted", MessageType::Accepted, Some(accepted), Accepted { request: 77 }),
        empty("heartbeat", MessageType::Heartbeat, None),
    ]
}
