//! The hot path allocates nothing: counted by the allocator itself.

#![expect(
    unsafe_code,
    reason = "a counting allocator can only be an unsafe impl; it forwards every call unchanged"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use lifeboat_protocol::*;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that is being torn down has nothing to count.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to `System` with the arguments it came with; counting touches only a const-initialised
// thread-local without a destructor, which does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `alloc`'s contract, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract; every block came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `realloc`'s contract; every block came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

#[test]
fn the_hot_path_allocates_nothing() {
    assert_eq!(allocations(|| drop(vec![1])), 1, "the counter counts");
    let route = Route::request(7, TimeLeft::from_millis(1000));
    let ext = Ext {
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        limits: Limits { attempt_timeout_ms: Some(500), ..Limits::default() },
        metadata: vec![("tenant".into(), "blue".into())],
        stream: true,
        ..Ext::default()
    };
    let progress = Progress {
        done: Some(Amount::Whole(3)),
        total: Some(Amount::Real(7.5)),
        text: Some("x".repeat(2 * MAX_PROGRESS_TEXT)),
    };
    let mut wishes = Vec::new();
    Ext { stream: true, restartable: true, limits: ext.limits, ..Ext::default() }.encode_into(&mut wishes);
    let mut out = Vec::with_capacity(4096);
    let limit = FrameLimit::for_body(DEFAULT_MAX_BODY);
    let work = || {
        for id in 0..100 {
            out.clear();
            put_request(&mut out, Route { id, ..route }, "resize", &ext, &[0xf6]);
            put_answer(&mut out, Route { id, ..route }, &[0xf6]);
            put_empty(&mut out, MessageType::Cancel, Some(route));
            put_partial(&mut out, Route { id, ..route }, &[0xf6]);
            assert!(put_control(&mut out, MessageType::Progress, Some(route), &progress).is_ok());
            assert!(Ext::decode(&wishes).is_ok_and(|ext| ext.stream && ext.restartable));
            patch_route(&mut out[LENGTH_PREFIX..], route);
            let mut left = &out[..];
            while let Ok(Split::Frame { frame, rest }) = split_frame(left, limit) {
                assert!(decode(frame).is_ok_and(|message| message.header.route().is_some()));
                left = rest;
            }
            assert!(left.is_empty());
        }
    };
    assert_eq!(allocations(work), 0);
}

#[test]
fn claims_allocate_nothing() {
    let limit = FrameLimit::for_body(DEFAULT_MAX_BODY);
    let claim = [0x9b, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x00];
    let work = || {
        assert!(matches!(split_frame(&[0xff; 4], limit), Err(FrameError::TooLarge { .. })));
        assert!(decode_body::<Vec<u64>>(&claim).is_err());
        assert!(decode_body::<Value>(&claim).is_err());
        assert!(Ext::decode(&[0xa1, 4, 0xbb, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).is_err());
    };
    assert_eq!(allocations(work), 0);
}
