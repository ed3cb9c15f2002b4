//! The place of the clients' socket: one broker per path, and nothing left of a dead one.
//!
//! A lock file beside the socket, held for the broker's life, decides who owns the path; it is never deleted, since a
//! deleted lock can be held twice. Whoever holds it may remove a stale socket. The socket is removed at the end only if
//! it is still ours.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;

/// Clients that may wait to be accepted. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// The longest path a socket's address can hold, in bytes.
const MAX_PATH: usize = 107;

/// Why the socket cannot be had.
#[derive(Debug, Error)]
pub enum BindError {
    /// The path does not fit a socket's address.
    #[error(
        "the socket path {path} has {len} bytes, more than the {MAX_PATH} that the system allows; choose a shorter one"
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        len: usize,
    },
    /// The directory cannot be made.
    #[error(
        "the directory {path} for the socket cannot be made: {source}; make it, or choose another socket"
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The lock file cannot be opened.
    #[error("the lock file {path} cannot be opened: {source}; the broker needs a directory it may write to")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another broker holds the path.
    #[error("another broker is running on {path} (it holds {lock}); stop it, or choose another socket")]
    InUse {
        /// The socket.
        path: PathBuf,
        /// Its lock file.
        lock: PathBuf,
    },
    /// Somebody who is not a broker listens there.
    #[error("{path} is in use by a program that is not this broker; choose another socket")]
    Foreign {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket is there.
    #[error("{path} exists and is not a socket; remove it, or choose another socket")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("the socket {path} cannot be made: {source}")]
    Bind {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A listening socket at its path, and the right to it. Dropping it removes the socket if it is still ours.
#[derive(Debug)]
pub struct Seat {
    path: PathBuf,
    inode: (u64, u64),
    /// Held, never read; the lock goes with the descriptor.
    _lock: File,
}

/// Takes a path: locks it, removes what a dead broker left, listens. The socket is for its owner alone (mode 0600); a
/// missing directory is made for its owner alone (mode 0700).
///
/// # Errors
///
/// When another broker is there, when the path cannot be a socket's, or when the system refuses.
pub fn take(path: &Path) -> Result<(Seat, OwnedFd), BindError> {
    let len = path.as_os_str().len();
    if len > MAX_PATH {
        return Err(BindError::PathTooLong { path: path.to_owned(), len });
    }
    make_directory(path)?;
    let lock = lock(path)?;
    remove_stale(path)?;
    let bind = |source: io::Error| BindError::Bind { path: path.to_owned(), source };
    let listener = listen(path).map_err(|errno| bind(errno.into()))?;
    let metadata = fs::symlink_metadata(path).map_err(bind)?;
    Ok((Seat { path: path.to_owned(), inode: (metadata.dev(), metadata.ino()), _lock: lock }, listener))
}

impl Drop for Seat {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket could not be removed");
        }
    }
}

fn make_directory(path: &Path) -> Result<(), BindError> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else {
        return Ok(());
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| BindError::Directory { path: directory.to_owned(), source })
}

/// Locks the file beside the socket, and makes sure that the locked file is still the one at that path.
fn lock(path: &Path) -> Result<File, BindError> {
    let lock = lock_path(path);
    let failed = |source: io::Error| BindError::Lock { path: lock.clone(), source };
    loop {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(BindError::InUse { path: path.to_owned(), lock }),
            Err(errno) => return Err(failed(errno.into())),
        }
        let held = file.metadata().map_err(failed)?;
        if fs::metadata(&lock).is_ok_and(|found| (found.dev(), found.ino()) == (held.dev(), held.ino())) {
            return Ok(file);
        }
    }
}

/// The lock file of a socket.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BindError::Bind { path: path.to_owned(), source }),
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|source| BindError::Bind { path: path.to_owned(), source })
        }
        Ok(_) | Err(_) => Err(BindError::Foreign { path: path.to_owned() }),
    }
}

fn listen(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&listener, &SocketAddrUnix::new(path)?)?;
    // The directory keeps others out until the mode is set; a client could not be served before listen anyway.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/on/the/way/broker.sock");
        (directory, path)
    }

    #[test]
    fn a_path_has_one_broker_at_a_time() {
        let (_directory, path) = place();
        let (seat, _listener) = take(&path).unwrap();
        assert!(matches!(take(&path), Err(BindError::InUse { .. })));
        UnixStream::connect(&path).unwrap();
        drop(seat);
        assert!(!path.exists(), "the socket goes with its broker");
        assert!(lock_path(&path).exists(), "the lock file stays");
        take(&path).unwrap();
    }

    #[test]
    fn the_socket_and_its_directory_are_for_their_owner_alone() {
        let (_directory, path) = place();
        let (_seat, _listener) = take(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }

    #[test]
    fn a_dead_brokers_socket_is_taken_over() {
        let (_directory, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_seat, _listener) = take(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn what_is_not_a_dead_brokers_is_left_alone() {
        let (_directory, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let foreign = UnixListener::bind(&path).unwrap();
        assert!(matches!(take(&path), Err(BindError::Foreign { .. })));
        drop(foreign);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(take(&path), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_seat_does_not_remove_another_ones_socket() {
        let (_directory, path) = place();
        let (seat, _listener) = take(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(seat);
        assert!(path.exists());
    }

    #[test]
    fn a_path_that_fits_no_address_is_refused() {
        let path = Path::new("/").join("x".repeat(MAX_PATH));
        assert!(matches!(take(&path), Err(BindError::PathTooLong { len: 108, .. })));
    }
}
