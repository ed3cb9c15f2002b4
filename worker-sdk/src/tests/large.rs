//! Frames of several slots on one socket.

use std::collections::BTreeMap;

use lifeboat_protocol::MessageType;

use super::broker::{Broker, drain, request_in};
use crate::Bytes;
use crate::prelude::*;

/// What a request of this id is answered with: as long as it says, and not to be mistaken for another.
fn text(id: u64, len: usize) -> String {
    let unit = format!("<{id}>");
    unit.chars().cycle().take(len).collect()
}

/// Answers with `text`, typed or raw, blocking or not, after a partial and a progress of the same size.
fn worker() -> Worker {
    let answer = |body: &Bytes, context: &Context| -> Result<(Vec<u8>, Vec<u8>), HandlerError> {
        let len: usize = lifeboat_protocol::decode_body(body)?;
        let text = text(context.request_id(), len);
        context.progress(Progress::new().text(&text));
        Ok((lifeboat_protocol::encode_body(&text)?, lifeboat_protocol::encode_body(&text)?))
    };
    Worker::new()
        .handle_raw_blocking("blocking", move |body, context| {
            let (part, whole) = answer(&body, &context)?;
            context.partial_raw_blocking(part.into())?;
            Ok::<_, HandlerError>(whole.into())
        })
        .handle_raw("async", move |body, context| async move {
            let (part, whole) = answer(&body, &context)?;
            context.partial_raw(part.into()).await?;
            Ok::<_, HandlerError>(whole.into())
        })
}

#[test]
fn large_frames_of_many_slots_at_once_are_never_interleaved() {
    const SLOTS: u8 = 8;
    let mut random = fastrand::Rng::with_seed(7);
    let mut broker = Broker::with_slots(SLOTS.into(), worker);
    let mut lengths = BTreeMap::new();
    let mut partials = BTreeMap::new();
    let mut next = 1;
    let mut ask = |broker: &mut Broker, lengths: &mut BTreeMap<u64, (u8, usize)>, slot: u8| {
        let len = 1 << random.u32(0..21);
        let len = random.usize(len / 2..=len);
        lengths.insert(next, (slot, len));
        let method = if random.bool() { "blocking" } else { "async" };
        broker.send(&request_in(slot, next, method, &len));
        next += 1;
    };
    (0..SLOTS).for_each(|slot| ask(&mut broker, &mut lengths, slot));
    let mut answers = 0;
    while answers < 200 {
        let got = broker.next();
        let id = got.route.unwrap().id;
        let (slot, len) = lengths[&id];
        if got.kind == MessageType::Progress {
            let told: lifeboat_protocol::Progress = got.expect(MessageType::Progress, id);
            assert!(text(id, len).starts_with(&told.text.unwrap()));
        } else if got.kind == MessageType::Partial {
            assert_eq!(got.expect::<String>(MessageType::Partial, id), text(id, len));
            assert!(partials.insert(id, len).is_none());
        } else {
            assert_eq!(got.expect::<String>(MessageType::Answer, id), text(id, len));
            assert_eq!(partials.get(&id), Some(&len), "the part came before");
            answers += 1;
            if lengths.len() < 200 {
                ask(&mut broker, &mut lengths, slot);
            }
        }
    }
    broker.send(&drain());
    assert!(broker.end().is_ok());
}
