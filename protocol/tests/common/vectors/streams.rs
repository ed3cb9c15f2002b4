//! The vectors of what is said while a request runs: progress, partials, saves, failed attempts, heartbeats.

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

fn save(name: &'static str, body: &Value) -> Vector {
    let mut bytes = Vec::new();
    let body = cbor(body);
    put_save(&mut bytes, WORKER, &body);
    let decodes = move |message: &Message<'_>| {
        assert_eq!(message.header, Header::Save { route: WORKER });
        assert_eq!(message.body, body);
    };
    Vector { name, message_type: MessageType::Save, bytes, decodes: Box::new(decodes) }
}

fn histories() -> [Vector; 2] {
    let history = |name, route, history| control(name, MessageType::History, Some(route), history);
    let crashed = PreviousAttempt {
        number: 1,
        worker: "images-0".into(),
        incarnation: 7,
        end: AttemptEndLabel::Crashed,
        reason: Some("signal".into()),
        duration_ms: 345,
    };
    let failed = PreviousAttempt { end: AttemptEndLabel::Failed, reason: None, ..crashed.clone() };
    let saved = Some(SavedItem(cbor(&page())));
    [
        history("history_to_slot", to_slot(WORKER), History { previous: vec![crashed], saved }),
        history("history_to_worker", WORKER, History { previous: vec![failed], saved: None }),
    ]
}

fn page() -> Value {
    Value::Map(vec![(Value::from("page"), Value::from(3))])
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
    let mut all = vec![
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
        save("save", &page()),
    ];
    all.extend(histories());
    all
}
