//! The `[broker]` table.
//!
//! Owns the broker's own settings and their defaults. Must never touch the file system.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::error::ProblemKind;
use super::reader::{Reader, Set};
use super::section::Section;
use super::shapes::{Count, DAY, Or, Shape as _, Size, Time};
use super::texts::{AbsolutePath, Address, Choice};
use super::tree::Origin;

/// The longest path that fits into a Unix socket address: `sun_path` holds 108 bytes with its terminator (unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;

/// The variable that names the login session's directory for sockets.
pub(super) const RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The bodies' default bound, the same as the wire's.
const DEFAULT_MAX_BODY: u64 = 16 * MIB;
const DEFAULT_CLIENT_BACKLOG: u64 = 16 * MIB;
const DEFAULT_HTTP_PORT: u16 = 9464;
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_MAX_OPEN_REQUESTS: u32 = 65_536;

/// A line per worker more often than this is a flood.
const STATUS_INTERVAL: Time = Time { least: Duration::from_secs(1), most: DAY };

/// The most that a request's id can tell apart, [`lifeboat_core::ids::RequestId::INDEX_BITS`].
pub(super) const MOST_OPEN_REQUESTS: u32 = 1 << lifeboat_core::ids::RequestId::INDEX_BITS;

/// The broker's own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Where clients connect; absolute, at most [`MAX_SOCKET_PATH`] bytes.
    pub socket: PathBuf,
    /// Where HTTP listens; default `127.0.0.1:9464`.
    pub http: HttpListen,
    /// The largest body in bytes, both ways; default 16 MiB. Frames may be 64 KiB larger.
    pub max_body: usize,
    /// How many bytes of answers a client may leave unread before the newest, default 16 MiB: at half the broker stops
    /// reading it, and another answer while more is unread closes it. At least `max_body`.
    pub client_backlog: usize,
    /// From the beginning of a shutdown until running attempts are ended; default 30 s; zero is at once.
    pub drain_timeout: Duration,
    /// How many requests may be open at once, over all clients; default 65 536.
    pub max_open_requests: u32,
    /// How often a line for each worker is logged; `None`, the default, is never.
    pub status_interval: Option<Duration>,
    /// Where reports are kept in files; absolute; `None`, the default, is nowhere.
    pub state_dir: Option<PathBuf>,
    /// Whether each worker's process gets a cgroup of its own; default where that is possible.
    pub cgroups: Cgroups,
}

/// What is to be done about cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// They are used as far as they are there.
    Auto,
    /// They are not used.
    Off,
    /// The broker does not start where they cannot limit memory and processes.
    Required,
}

/// Where HTTP listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpListen {
    /// At this address; port 0 is any free one.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

/// The broker's settings, and those that pools are compared with.
pub(super) struct Read {
    pub(super) broker: BrokerConfig,
    pub(super) max_body: Set<u64>,
    pub(super) max_open_requests: Set<u32>,
    pub(super) cgroups: Set<Cgroups>,
}

pub(super) fn read(reader: &mut Reader<'_>, root: &mut Section, runtime_dir: Option<&str>) -> Read {
    let mut section = reader.section(root, "broker");
    let default = default_socket(section.path("socket"), runtime_dir);
    let socket = reader.value_or(&mut section, "socket", &AbsolutePath, &default);
    let default_http = HttpListen::At(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_HTTP_PORT)));
    let http = reader.value(&mut section, "http", &Address, default_http);
    let max_body = Size { least: 1 << 10, most: GIB };
    let max_body = reader.value(&mut section, "max_body", &max_body, DEFAULT_MAX_BODY);
    let backlog = Size { least: 1 << 10, most: 16 * GIB };
    // The default follows a larger body, since a smaller backlog could never deliver one.
    let default_backlog = DEFAULT_CLIENT_BACKLOG.max(max_body.value);
    let client_backlog = reader.value(&mut section, "client_backlog", &backlog, default_backlog);
    let drain_timeout = reader.value(&mut section, "drain_timeout", &Time::GRACE, DEFAULT_DRAIN_TIMEOUT);
    let open = Count { least: 1, most: MOST_OPEN_REQUESTS };
    let max_open_requests = reader.value(&mut section, "max_open_requests", &open, DEFAULT_MAX_OPEN_REQUESTS);
    let status_interval = reader.value(&mut section, "status_interval", &Or(STATUS_INTERVAL, "off"), None);
    let state_dir = reader.value(&mut section, "state_dir", &Or(AbsolutePath, "off"), None);
    let cgroups = Choice(&[("auto", Cgroups::Auto), ("off", Cgroups::Off), ("required", Cgroups::Required)]);
    let cgroups = reader.value(&mut section, "cgroups", &cgroups, Cgroups::Auto);
    reader.finish(section, |_| None);

    check_socket(reader, &socket);
    check_http(reader, &http);
    super::order::at_least(reader, &client_backlog, &max_body, "cannot hold an answer as large as");
    let broker = BrokerConfig {
        socket: PathBuf::from(socket.value),
        http: http.value,
        max_body: bytes(max_body.value),
        client_backlog: bytes(client_backlog.value),
        drain_timeout: drain_timeout.value,
        max_open_requests: max_open_requests.value,
        status_interval: status_interval.value,
        state_dir: state_dir.value.map(PathBuf::from),
        cgroups: cgroups.value,
    };
    Read { broker, max_body, max_open_requests, cgroups }
}

/// A size as memory; where `usize` is smaller, no more than it can hold.
pub(super) fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// In the directory that the login session has for sockets, if there is one.
fn default_socket(key: String, runtime_dir: Option<&str>) -> Set<String> {
    let session = runtime_dir.filter(|directory| directory.starts_with('/'));
    let base = session.unwrap_or("/run").trim_end_matches('/');
    let value = format!("{base}/lifeboat/lifeboat.sock");
    let origin = session.map_or(Origin::Default, |_| Origin::Variable(RUNTIME_DIR.to_owned()));
    Set { key, shown: AbsolutePath.show(&value), value, origin, sound: true }
}

fn check_socket(reader: &mut Reader<'_>, socket: &Set<String>) {
    let length = socket.value.len();
    if length > MAX_SOCKET_PATH {
        let kind = ProblemKind::BadValue {
            key: socket.key.clone(),
            expected: format!(
                "at most {MAX_SOCKET_PATH} bytes long, as socket addresses are (it has {length})"
            ),
            found: socket.value.clone(),
        };
        let help = "choose a shorter path, such as \"/run/lifeboat/lifeboat.sock\"".to_owned();
        reader.problem(&socket.origin, kind, Some(help));
    } else if socket.value.ends_with('/') {
        let expected = "the path of a file, not of a directory".to_owned();
        let kind = ProblemKind::BadValue { key: socket.key.clone(), expected, found: socket.value.clone() };
        reader.problem(&socket.origin, kind, None);
    }
}

fn check_http(reader: &mut Reader<'_>, http: &Set<HttpListen>) {
    if let HttpListen::At(address) = http.value
        && !address.ip().is_loopback()
    {
        let message = format!(
            "`{}` is reachable from other machines ({address}); it is read-only, but it shows what runs, why it crashed \
             and what workers wrote, and it asks for no password",
            http.key
        );
        reader.warn(&http.origin, message);
    }
}
