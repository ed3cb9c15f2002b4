//! The two directories: where images come from and where thumbnails go.
//!
//! Owns the checks of both and how a thumbnail is put in its place. Must never let thumbnails become input.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::ThumbFormat;

/// Why a directory cannot be used.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// `DIR` cannot be entered.
    #[error("cannot read the directory {}: {source}", path.display())]
    Directory {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `DIR` is something else.
    #[error("{} is not a directory; give the directory that the images are in", path.display())]
    NotADirectory {
        /// As it was given.
        path: PathBuf,
    },
    /// `OUT` cannot be made or used.
    #[error("cannot write into the directory {}: {source}", path.display())]
    Out {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `OUT` does not exist and its path climbs.
    #[error("{} does not exist yet; write its path without `..`, or make it first", path.display())]
    Climbs {
        /// As it was given.
        path: PathBuf,
    },
    /// One directory is in the other, or both are the same.
    #[error(
        "{} and {} lie in each other: thumbnails and images would mix, and the next run would take thumbnails for \
         images; choose a directory elsewhere for --out", out.display(), directory.display()
    )]
    Nested {
        /// `DIR`, resolved.
        directory: PathBuf,
        /// `OUT`, resolved.
        out: PathBuf,
    },
}

/// Both directories, resolved. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) directory: Arc<Path>,
    pub(super) out: Arc<Path>,
}

impl Places {
    /// Looks at both; makes nothing yet.
    pub(super) fn new(directory: &Path, out: &Path) -> Result<Self, PlaceError> {
        let cannot_read = |source| PlaceError::Directory { path: directory.to_owned(), source };
        let found = directory.canonicalize().map_err(cannot_read)?;
        if !found.is_dir() {
            return Err(PlaceError::NotADirectory { path: directory.to_owned() });
        }
        // Whether it may be listed, too: nothing below could be told apart from an empty directory.
        fs::read_dir(&found).map_err(cannot_read)?;
        let resolved = resolve(out)?;
        if resolved.starts_with(&found) || found.starts_with(&resolved) {
            return Err(PlaceError::Nested { directory: found, out: resolved });
        }
        Ok(Self { directory: found.into(), out: resolved.into() })
    }

    /// Makes `OUT`.
    pub(super) fn make_out(&self) -> Result<(), PlaceError> {
        let cannot_make = |source| PlaceError::Out { path: self.out.to_path_buf(), source };
        fs::create_dir_all(&self.out).map_err(cannot_make)
    }

    /// The thumbnail's path: the file's, with its own suffix added, so that no two files share one.
    fn thumbnail(&self, file: &Path, format: ThumbFormat) -> PathBuf {
        let mut name = OsString::from(self.out.join(file));
        name.push(".");
        name.push(format.suffix());
        name.into()
    }

    /// Puts a thumbnail in its place, wholly or not at all. Blocks.
    pub(super) fn save(&self, file: &Path, format: ThumbFormat, bytes: &[u8]) -> io::Result<()> {
        /// Readable for everybody whom the umask allows, like any new file.
        const MODE: u32 = 0o666;
        let path = self.thumbnail(file, format);
        let directory = path.parent().unwrap_or(&self.out);
        fs::create_dir_all(directory)?;
        let mut part = tempfile::Builder::new()
            .prefix(".thumbnail-")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(directory)?;
        part.write_all(bytes)?;
        part.persist(&path)?;
        Ok(())
    }
}

/// The real path of a directory that need not exist yet.
fn resolve(out: &Path) -> Result<PathBuf, PlaceError> {
    let fail = |source| PlaceError::Out { path: out.to_owned(), source };
    let absolute = std::path::absolute(out).map_err(fail)?;
    let mut missing = Vec::new();
    for ancestor in absolute.ancestors() {
        match ancestor.canonicalize() {
            Ok(found) if !found.is_dir() => {
                return Err(fail(io::Error::other(format!("{} is not a directory", ancestor.display()))));
            }
            Ok(found) => return Ok(missing.into_iter().rev().fold(found, |path, part| path.join(part))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match ancestor.components().next_back() {
                    Some(Component::Normal(part)) => missing.push(part),
                    Some(_) | None => return Err(PlaceError::Climbs { path: out.to_owned() }),
                }
            }
            Err(error) => return Err(fail(error)),
        }
    }
    Err(fail(io::ErrorKind::NotFound.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_directories_are_refused_however_they_are_spelt() {
        let room = tempfile::tempdir().unwrap();
        let images = room.path().join("images");
        fs::create_dir(&images).unwrap();
        std::os::unix::fs::symlink(&images, room.path().join("link")).unwrap();
        for out in ["images", "images/thumbs/deep", "link", "link/thumbs", "images/../images/thumbs", "."] {
            let refused = Places::new(&images, &room.path().join(out)).expect_err(out);
            assert!(matches!(refused, PlaceError::Nested { .. }), "{out}: {refused}");
        }
        let places = Places::new(&images, &room.path().join("images-out/deep")).expect("beside it");
        assert!(places.out.ends_with("images-out/deep"));
        assert!(!places.out.exists());
    }

    #[test]
    fn what_is_no_directory_is_told() {
        let room = tempfile::tempdir().unwrap();
        let (file, out) = (room.path().join("file"), room.path().join("out"));
        fs::write(&file, "").unwrap();
        let missing = Places::new(&room.path().join("missing"), &out).expect_err("missing");
        assert!(matches!(missing, PlaceError::Directory { .. }), "{missing}");
        let plain = Places::new(&file, &out).expect_err("a file");
        assert!(matches!(plain, PlaceError::NotADirectory { .. }), "{plain}");
        let images = room.path().join("images");
        fs::create_dir(&images).unwrap();
        let blocked = Places::new(&images, &file.join("out")).expect_err("below a file");
        assert!(matches!(blocked, PlaceError::Out { .. }), "{blocked}");
        let climbing = Places::new(&images, &room.path().join("new/../out")).expect_err("climbs");
        assert!(matches!(climbing, PlaceError::Climbs { .. }), "{climbing}");
    }

    #[test]
    fn thumbnails_never_share_a_name() {
        let room = tempfile::tempdir().unwrap();
        let images = room.path().join("images");
        fs::create_dir(&images).unwrap();
        let places = Places::new(&images, &room.path().join("out")).unwrap();
        let name = |file: &str, format| places.thumbnail(Path::new(file), format);
        assert_ne!(name("a.png", ThumbFormat::Png), name("a.jpg", ThumbFormat::Jpeg));
        assert_ne!(name("a.webp", ThumbFormat::Png), name("a.webp.png", ThumbFormat::Png));
        places.save(Path::new("deep/a.webp"), ThumbFormat::Png, b"x").unwrap();
        assert_eq!(fs::read(room.path().join("out/deep/a.webp.png")).unwrap(), b"x");
        assert_eq!(fs::read_dir(room.path().join("out/deep")).unwrap().count(), 1, "nothing else is left");
    }
}
