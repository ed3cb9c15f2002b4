//! Who waits for room, and what is kept of those who gave up.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use tower::{ServiceBuilder, ServiceExt};

use super::*;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A client whose window has one place, and the call that has it.
fn full() -> (Client, RawCall) {
    let client = Client::builder().socket("/nowhere/lifeboat.sock").max_in_flight(1).connect_lazily();
    let mut call = client.call_raw("resize", "");
    assert!(pin!(&mut call).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(!client.has_room());
    (client, call)
}

fn waiting(client: &Client) -> usize {
    client.handle().shared.lock().table.room_wanted()
}

#[tokio::test]
async fn who_gives_up_leaves_nothing_behind() {
    let (client, call) = full();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut real = client.raw_service();
    assert!(real.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    let shed = ServiceBuilder::new().load_shed().service(client.raw_service());
    for number in 0..100_000 {
        // Each in a task of its own, with a waker of its own.
        let own = Waker::from(Arc::new(Woken::default()));
        let mut once = pin!(shed.clone().oneshot(RawRequest::new("resize", "")));
        let refused = once.as_mut().poll(&mut Context::from_waker(&own));
        assert!(matches!(refused, Poll::Ready(Err(_))), "the window is full");
        assert!(waiting(&client) <= 2, "{} after {number}", waiting(&client));
    }
    drop(shed);
    assert_eq!((waiting(&client), woken.0.load(Ordering::Relaxed)), (1, 0));
    drop(call);
    assert_eq!((waiting(&client), woken.0.load(Ordering::Relaxed)), (0, 1));
    assert!(real.poll_ready(&mut Context::from_waker(&waker)).is_ready());
}

#[tokio::test]
async fn a_service_waits_once_however_often_and_by_whom_it_is_asked() {
    let (client, call) = full();
    let wakers: Vec<_> = (0..3).map(|_| Arc::new(Woken::default())).collect();
    let mut service = client.raw_service();
    for woken in &wakers {
        let waker = Waker::from(Arc::clone(woken));
        assert!(service.poll_ready(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(waiting(&client), 1);
    }
    let clone = service.clone();
    drop(clone);
    assert_eq!(waiting(&client), 1, "a clone waits for itself");
    drop(call);
    let woken: Vec<_> = wakers.iter().map(|woken| woken.0.load(Ordering::Relaxed)).collect();
    assert_eq!(woken, [0, 0, 1], "who asked last");
}

#[tokio::test]
async fn who_was_woken_and_finds_the_place_taken_keeps_its_turn() {
    let (client, call) = full();
    let mut cx = Context::from_waker(Waker::noop());
    let (mut first, mut second) = (client.raw_service(), client.raw_service());
    assert!(first.poll_ready(&mut cx).is_pending());
    assert!(second.poll_ready(&mut cx).is_pending());
    drop(call);
    let mut taken = client.call_raw("resize", "");
    assert!(pin!(&mut taken).poll(&mut cx).is_pending());
    // Asked in the other order: the one that waits longest is still the first to be woken.
    assert!(second.poll_ready(&mut cx).is_pending());
    assert!(first.poll_ready(&mut cx).is_pending());
    assert!(first.wait.ticket < second.wait.ticket);
    assert_eq!(waiting(&client), 2);
}
