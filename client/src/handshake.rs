//! From a path to a connection on which both sides have said hello.
//!
//! Owns the socket's options and the agreement on version and limits. Must never try twice: trying again is the
//! driver's.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use lifeboat_protocol::{
    ACCEPTED_FEATURE, DEFAULT_MAX_BODY, FrameLimit, Header, Hello, MessageType, POOL_FEATURE, Refused,
    RefusedCode, Role, VERSIONS, agree_version, decode, decode_body, put_control,
};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with, sockopt,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::inbox::{Frame, Got, Inbox};
use crate::readiness::watch;
use crate::session::Session;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::table::Window;
use crate::times::Times;
use crate::{ConnectError, ProtocolError};

/// With the default (208 KiB) a body of 1 MiB takes many writes and as many wake-ups of both sides; with 4 MiB one.
/// The kernel cuts it to `net.core.wmem_max`.
const SEND_BUFFER: usize = 4 * 1024 * 1024;

/// A connection on which both sides have said hello.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) window: Window,
    /// What the broker calls itself.
    pub(crate) software: String,
    /// What it told of its methods.
    pub(crate) times: Times,
}

/// Connects and says hello, once.
///
/// # Errors
///
/// [`ConnectError`]; whether trying again may help is its [`is_transient`](ConnectError::is_transient).
pub(crate) async fn open(shared: &Arc<Shared>) -> Result<Opened, ConnectError> {
    let settings = &shared.settings;
    let socket = connect_socket(settings).map_err(|error| socket_error(settings, error))?;
    let socket =
        watch(Arc::new(socket), Interest::READABLE).map_err(|error| socket_error(settings, error))?;
    send_hello(settings, socket.get_ref())?;
    let mut inbox = Inbox::new(FrameLimit::for_body(settings.max_body.unwrap_or(DEFAULT_MAX_BODY)));
    let hello = tokio::time::timeout(settings.connect_timeout, read_hello(settings, &socket, &mut inbox));
    let hello = hello.await.unwrap_or(Err(ConnectError::NoHello { after: settings.connect_timeout }))?;
    check_hello(settings, &hello, socket.get_ref())?;
    if settings.max_body.is_none() {
        inbox.set_limit(hello.frame_limit());
    }
    let limit = hello.frame_limit();
    let pools = hello.has_feature(POOL_FEATURE);
    let service = hello.service.unwrap_or_default();
    let times = Times::new(service.methods, service.after_deadline_ms);
    let window = Window {
        limit,
        max_in_flight: (service.max_in_flight.max(1) as usize).min(settings.max_in_flight),
        slack: times.slack(),
        pools,
        draining: false,
    };
    let session = Session::new(Arc::clone(shared), socket, inbox);
    Ok(Opened { session, window, software: hello.software, times })
}

/// A Unix socket's connect never waits: it succeeds, or says why not (`AGAIN`: the backlog is full).
fn connect_socket(settings: &Settings) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(&settings.path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    if let Err(errno) = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER) {
        tracing::debug!(%errno, "the send buffer keeps its default size");
    }
    connect(&socket, &address)?;
    Ok(socket)
}

fn send_hello(settings: &Settings, socket: &OwnedFd) -> Result<(), ConnectError> {
    let mut hello =
        Hello::new(Role::Client, settings.max_body.unwrap_or(DEFAULT_MAX_BODY), settings.software.as_str());
    hello.pid = Some(std::process::id());
    hello.features = vec![ACCEPTED_FEATURE.to_owned()];
    let mut out = Vec::new();
    if let Err(error) = put_control(&mut out, MessageType::Hello, None, &hello) {
        return Err(socket_error(settings, io::Error::other(error)));
    }
    // A fresh socket's buffer takes a hello at once. A peer that is gone already may have said why.
    match send(socket, &out, SendFlags::NOSIGNAL) {
        Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        Err(errno) => Err(socket_error(settings, errno.into())),
    }
}

async fn read_hello(
    settings: &Settings,
    socket: &AsyncFd<Arc<OwnedFd>>,
    inbox: &mut Inbox,
) -> Result<Hello, ConnectError> {
    loop {
        match inbox.next_frame() {
            Ok(Some(frame)) => return first_frame(settings, &frame),
            Ok(None) => {}
            Err(error) => return Err(protocol_error(settings, error)),
        }
        let mut ready = socket.readable().await.map_err(|error| socket_error(settings, error))?;
        match inbox.read_from(socket.get_ref()) {
            Ok(Got::Full) => {}
            Ok(Got::Short | Got::Nothing) => ready.clear_ready(),
            Ok(Got::Eof) | Err(Errno::CONNRESET) => return Err(ConnectError::ClosedEarly),
            Err(errno) => return Err(socket_error(settings, errno.into())),
        }
    }
}

fn first_frame(settings: &Settings, frame: &Frame<'_>) -> Result<Hello, ConnectError> {
    let message = decode(frame.bytes()).map_err(|error| protocol_error(settings, error))?;
    match message.header {
        Header::Hello => decode_body(message.body).map_err(|error| protocol_error(settings, error)),
        Header::Refused => match decode_body::<Refused>(message.body) {
            Ok(Refused { code, message }) => Err(ConnectError::Refused { code, message }),
            Err(error) => Err(protocol_error(settings, error)),
        },
        Header::Request { .. }
        | Header::Answer { .. }
        | Header::Failure { .. }
        | Header::Error { .. }
        | Header::Cancel { .. }
        | Header::Progress { .. }
        | Header::Partial { .. }
        | Header::Drain
        | Header::WorkersFailed
        | Header::Retire
        | Header::Heartbeat
        | Header::Panicked { .. }
        | Header::Cancelled { .. }
        | Header::AttemptFailed { .. }
        | Header::Accepted { .. }
        | Header::Operate { .. }
        | Header::Operated { .. }
        | Header::Save { .. }
        | Header::History { .. } => {
            Err(protocol_error(settings, ProtocolError::Unexpected(message.header.message_type())))
        }
    }
}

fn check_hello(settings: &Settings, hello: &Hello, socket: &OwnedFd) -> Result<(), ConnectError> {
    if hello.role != Role::Broker {
        return Err(protocol_error(settings, ProtocolError::Role(hello.role)));
    }
    if agree_version(VERSIONS, &hello.versions).is_some() {
        return Ok(());
    }
    let error = ConnectError::Version {
        ours: VERSIONS.to_vec(),
        theirs: hello.versions.clone(),
        software: hello.software.clone(),
    };
    let mut out = Vec::new();
    let refused = Refused::new(RefusedCode::UnsupportedVersion, error.to_string());
    if put_control(&mut out, MessageType::Refused, None, &refused).is_ok() {
        // Best effort: the broker learns why before the socket closes.
        let _ = send(socket, &out, SendFlags::NOSIGNAL);
    }
    Err(error)
}

fn socket_error(settings: &Settings, error: io::Error) -> ConnectError {
    ConnectError::Socket { path: settings.path.clone(), source: Arc::new(error) }
}

fn protocol_error(settings: &Settings, error: impl Into<ProtocolError>) -> ConnectError {
    ConnectError::Protocol { path: settings.path.clone(), source: error.into() }
}
