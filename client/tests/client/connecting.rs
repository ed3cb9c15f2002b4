//! Getting a connection: who is tried again, who is believed at once.

use std::os::unix::net::UnixListener as StdListener;

use lifeboat_client::{CallError, Client, ConnectError, ProtocolError, RefusedCode};
use lifeboat_protocol::{Hello, MessageType, Role};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::support::{Broker, Got, Resize, limit};

#[tokio::test]
async fn a_broker_that_starts_later_is_found() {
    let mut broker = Broker::absent();
    let client = Client::builder().socket(broker.path()).connect_lazily();
    let call = tokio::spawn(client.call(Resize { width: 5 }));
    // No file, then a file with nobody behind it, then a broker.
    tokio::task::yield_now().await;
    drop(StdListener::bind(broker.path()).expect("bound"));
    tokio::task::yield_now().await;
    std::fs::remove_file(broker.path()).expect("removed");
    broker.listen();
    let mut peer = broker.accept().await;
    let request = peer.request().await;
    peer.echo(&request).await;
    assert_eq!(limit(call).await.expect("no panic").expect("answered"), 5);
}

#[tokio::test]
async fn a_full_backlog_is_waited_for() {
    let broker = Broker::absent();
    let address = SocketAddrUnix::new(broker.path()).expect("a short path");
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        || rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a socket");
    let listener = socket();
    rustix::net::bind(&listener, &address).expect("bound");
    rustix::net::listen(&listener, 1).expect("listening");
    let mut fillers = Vec::new();
    loop {
        let filler = socket();
        match rustix::net::connect(&filler, &address) {
            Ok(()) => fillers.push(filler),
            Err(Errno::AGAIN) => break,
            Err(errno) => panic!("{errno}"),
        }
    }
    let client = tokio::spawn(Client::connect(broker.path()));
    // Time to meet the full backlog; the test holds without it too.
    tokio::task::yield_now().await;
    let listener = tokio::net::UnixListener::from_std(StdListener::from(listener)).expect("registered");
    for _ in &fillers {
        limit(listener.accept()).await.expect("a filler");
    }
    let (_stream, _) = limit(listener.accept()).await.expect("the client, at last");
    client.abort();
}

#[tokio::test]
async fn a_refusal_is_believed_at_once() {
    let broker = Broker::new();
    let serve = async {
        let mut peer = broker.accept_silently().await;
        peer.refuse(RefusedCode::UnsupportedVersion, "this broker speaks 7").await;
    };
    let (client, ()) = tokio::join!(limit(Client::connect(broker.path())), serve);
    let error = client.expect_err("refused");
    assert!(
        matches!(&error, ConnectError::Refused { code: RefusedCode::UnsupportedVersion, .. }),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "the broker refused the connection (unsupported_version): this broker speaks 7"
    );
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_broker_with_too_many_connections_is_tried_again() {
    let broker = Broker::new();
    let serve = async {
        let mut peer = broker.accept_silently().await;
        peer.refuse(RefusedCode::TooManyConnections, "full").await;
        drop(peer);
        broker.accept().await
    };
    let (client, _peer) = tokio::join!(limit(Client::connect(broker.path())), serve);
    client.expect("connected the second time");
}

#[tokio::test]
async fn no_version_in_common_is_said_to_both_sides() {
    let broker = Broker::new();
    let accept = broker.accept_with(|hello| hello.versions = vec![98, 99]);
    let (client, mut peer) = tokio::join!(limit(Client::connect(broker.path())), accept);
    let error = client.expect_err("no version");
    assert!(matches!(&error, ConnectError::Version { theirs, .. } if *theirs == [98, 99]), "{error:?}");
    assert!(error.to_string().contains("(fake-broker) speaks versions [98, 99]"), "{error}");
    let Got::Refused(refused) = peer.next().await else { panic!("the broker is told") };
    assert_eq!(refused.code, RefusedCode::UnsupportedVersion);
}

#[tokio::test]
async fn what_is_no_broker_is_recognised() {
    let broker = Broker::new();
    let http = async {
        let mut peer = broker.accept_silently().await;
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    };
    let (client, ()) = tokio::join!(limit(Client::connect(broker.path())), http);
    let error = client.expect_err("not Lifeboat");
    assert!(matches!(&error, ConnectError::Protocol { source: ProtocolError::Frame(_), .. }), "{error:?}");

    let worker = async {
        let mut peer = broker.accept_silently().await;
        peer.control(MessageType::Hello, None, &Hello::new(Role::Worker, 1, "x")).await;
    };
    let (client, ()) = tokio::join!(limit(Client::connect(broker.path())), worker);
    let error = client.expect_err("a worker");
    assert!(matches!(&error, ConnectError::Protocol { source: ProtocolError::Role(_), .. }), "{error:?}");
}

#[tokio::test]
async fn a_path_that_cannot_be_one_is_no_reason_to_wait() {
    let path = std::path::PathBuf::from("/x".repeat(100));
    let error = limit(Client::connect(&path)).await.expect_err("too long");
    assert!(matches!(&error, ConnectError::Socket { .. }) && !error.is_transient(), "{error:?}");
    let client = Client::builder().socket(&path).connect_lazily();
    let error = limit(client.call(Resize { width: 1 })).await.expect_err("too long");
    assert!(matches!(&error, CallError::Connect(ConnectError::Socket { .. })) && !error.is_retryable());
}

#[tokio::test]
async fn the_name_is_part_of_the_hello() {
    let broker = Broker::new();
    let client = Client::builder().socket(broker.path()).name("billing").max_body(777).connect_lazily();
    let call = tokio::spawn(client.call(Resize { width: 1 }));
    let mut peer = broker.accept_silently().await;
    let Got::Hello(hello) = peer.next().await else { panic!("a hello") };
    assert_eq!(hello.software, concat!("lifeboat-client/", env!("CARGO_PKG_VERSION"), " (billing)"));
    assert_eq!(hello.max_body, 777);
    call.abort();
}
