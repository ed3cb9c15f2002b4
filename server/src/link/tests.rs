//! The buffers against real sockets: whatever the sizes of reads and writes, the frames are the same.

mod checkpoints;
mod ends;
mod fit;
mod hello;
mod logs;
mod turns;

use std::io::{IoSlice, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use lifeboat_protocol::{FrameError, FrameLimit};
use tokio::runtime::{Builder, LocalOptions};

use super::intake::{Intake, Scratch};
use super::outbox::{Flushed, Outbox};
use super::socket::{Received, Socket};

/// Runs on a runtime like the data plane's.
fn on_data_plane<T>(test: impl AsyncFnOnce() -> T) -> T {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(test())
}

/// The broker's end, and the peer's.
fn pair() -> (Socket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Socket::new(OwnedFd::from(ours)).unwrap(), theirs)
}

fn frame(content: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(content);
    frame
}

/// Reads until the peer has closed; gives every whole frame.
async fn read_all(socket: &Socket, limit: FrameLimit) -> Result<(Vec<Vec<u8>>, usize), FrameError> {
    let (mut intake, mut scratch) = (Intake::new(limit), Scratch::new());
    let mut frames = Vec::new();
    loop {
        let mut guard = socket.readable().await.unwrap();
        match intake.read(socket, &mut scratch, usize::MAX) {
            Received::Short(_) | Received::Nothing => guard.clear_ready(),
            Received::Full(_) => {}
            Received::Eof => return Ok((frames, intake.unfinished())),
            Received::Failed(errno) => panic!("reading failed: {errno}"),
        }
        while let Some(inbound) = intake.next_frame(&mut scratch)? {
            frames.push(inbound.bytes(&scratch).to_vec());
        }
    }
}

#[test]
fn frames_of_every_size_are_cut_the_same_however_they_arrive() {
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..12 {
        let sizes = [1, 2, 63, 4096, 65_530, 65_536, 262_140, 262_144, 262_150, 1 << 20];
        let sent: Vec<Vec<u8>> =
            (0..40).map(|_| vec![random.u8(..); sizes[random.usize(..sizes.len())]]).collect();
        let stream: Vec<u8> = sent.iter().flat_map(|content| frame(content)).collect();
        let most = [1 << 10, 100_000, 1 << 21][round % 3];
        let mut cuts = random.fork();
        let (frames, unfinished) = on_data_plane(async || {
            let (socket, mut peer) = pair();
            let writer = std::thread::spawn(move || {
                let mut rest = &stream[..];
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(cuts.usize(1..=most).min(rest.len()));
                    peer.write_all(now).unwrap();
                    rest = later;
                }
            });
            let read = read_all(&socket, FrameLimit::for_body(2 << 20)).await.unwrap();
            writer.join().unwrap();
            read
        });
        assert_eq!(unfinished, 0);
        assert!(frames == sent, "round {round}: the frames differ from what was sent");
    }
}

#[test]
fn a_frame_cut_short_is_never_given() {
    for (content, kept) in [(100, 0), (100, 3), (100, 4), (100, 103), (1 << 20, 5), (1 << 20, 1 << 20)] {
        let whole = frame(b"whole");
        let cut = frame(&vec![9; content]);
        let (frames, unfinished) = on_data_plane(async || {
            let (socket, mut peer) = pair();
            let writer = std::thread::spawn(move || {
                peer.write_all(&whole).unwrap();
                peer.write_all(&cut[..kept]).unwrap();
            });
            let read = read_all(&socket, FrameLimit::for_body(2 << 20)).await.unwrap();
            writer.join().unwrap();
            read
        });
        assert_eq!(frames, [b"whole"]);
        assert_eq!(unfinished, kept);
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_length_alone() {
    let limit = FrameLimit::for_body(1 << 10);
    let longest = limit.max_frame();
    for (len, accepted) in [(longest, true), (longest + 1, false), (u32::MAX as usize, false)] {
        let outcome = on_data_plane(async || {
            let (socket, mut peer) = pair();
            peer.write_all(&u32::try_from(len).unwrap().to_be_bytes()).unwrap();
            drop(peer);
            read_all(&socket, limit).await
        });
        assert_eq!(outcome.is_ok(), accepted, "a frame of {len} bytes");
    }
}

#[test]
fn what_is_put_into_the_outbox_comes_out_in_order_whatever_the_peer_takes() {
    let mut random = fastrand::Rng::with_seed(11);
    let (mut outbox, mut expected) = (Outbox::default(), Vec::new());
    let received = on_data_plane(async || {
        let (socket, mut peer) = pair();
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).unwrap();
            received
        });
        for _ in 0..400 {
            let piece = vec![random.u8(..); random.usize(1..30_000)];
            expected.extend_from_slice(&piece);
            if random.bool() {
                outbox.tail().extend_from_slice(&piece);
            } else {
                outbox.push_body(Bytes::from(piece));
            }
            if random.u8(..4) == 0 {
                flush(&mut outbox, &socket);
            }
        }
        let writable = socket.writable().unwrap();
        while !flush(&mut outbox, &socket) {
            writable.writable().await.unwrap().clear_ready();
        }
        drop((writable, socket));
        reader.join().unwrap()
    });
    assert_eq!(outbox.pending(), 0);
    assert!(received == expected, "the bytes differ from what was put in");
}

/// Whether everything is written.
fn flush(outbox: &mut Outbox, socket: &Socket) -> bool {
    match outbox.flush(socket) {
        Flushed::All => true,
        Flushed::Blocked => false,
        Flushed::Failed(errno) => panic!("writing failed: {errno}"),
    }
}

#[test]
fn a_peer_that_is_gone_fails_the_flush_and_keeps_the_bytes() {
    on_data_plane(async || {
        let (socket, peer) = pair();
        drop(peer);
        let mut outbox = Outbox::default();
        outbox.tail().extend_from_slice(b"late");
        assert!(matches!(outbox.flush(&socket), Flushed::Failed(rustix::io::Errno::PIPE)));
        assert_eq!(outbox.pending(), 4);
    });
}

#[test]
fn an_end_with_bytes_unread_is_told_once() {
    on_data_plane(async || {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"the last answer").unwrap();
        assert_eq!(ours.send(&[IoSlice::new(b"one more request")]).unwrap(), 16);
        drop(theirs);
        let mut room = [0; 64];
        assert!(matches!(ours.receive(&mut room), Received::Short(15)), "what it wrote comes first");
        assert!(matches!(ours.receive(&mut room), Received::Failed(rustix::io::Errno::CONNRESET)));
        assert!(matches!(ours.receive(&mut room), Received::Eof));

        let (ours, mut theirs) = pair();
        assert_eq!(ours.send(&[IoSlice::new(b"one more request")]).unwrap(), 16);
        theirs.read_exact(&mut [0; 16]).unwrap();
        drop(theirs);
        assert!(matches!(ours.receive(&mut room), Received::Eof), "it has read everything");
    });
}
