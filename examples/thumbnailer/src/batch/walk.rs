//! Which files there are.
//!
//! Owns the walk and what is told about what cannot be sent. Must never open a file: a pipe would wait for ever.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::End;
use super::places::Places;

/// All regular files below the directory, relative to it, in the order of their names; and the ends of what cannot be
/// sent: loops, broken links, directories that may not be entered, pipes and devices.
pub(super) fn walk(places: &Places) -> (Vec<PathBuf>, Vec<End>) {
    let root = &*places.directory;
    let (mut files, mut ends) = (Vec::new(), Vec::new());
    let mut walk = WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let file = relative(error.path().unwrap_or(root), root);
                ends.push(End::not_sent(file, explain(&error, root)));
                continue;
            }
        };
        let (kind, path) = (entry.file_type(), entry.path());
        if kind.is_file() {
            files.push(relative(path, root));
        } else if kind.is_dir() {
            // Only through a link: the directories themselves lie apart.
            if entry.path_is_symlink() && path.canonicalize().is_ok_and(|path| path.starts_with(&places.out))
            {
                ends.push(End::not_sent(relative(path, root), "a link to the thumbnails"));
                walk.skip_current_dir();
            }
        } else {
            ends.push(End::not_sent(relative(path, root), "not a regular file"));
        }
    }
    (files, ends)
}

fn relative(path: &Path, root: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

fn explain(error: &walkdir::Error, root: &Path) -> String {
    match (error.loop_ancestor(), error.io_error()) {
        (Some(ancestor), _) => {
            let ancestor = relative(ancestor, root);
            let name = if ancestor.as_os_str().is_empty() { Path::new(".") } else { &ancestor };
            format!("a link that leads in a circle, back to {}", name.display())
        }
        (None, Some(source)) => format!("cannot be read: {source}"),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn everything_is_found_or_told() {
        let room = tempfile::tempdir().unwrap();
        let images = room.path().join("images");
        fs::create_dir_all(images.join("deep/deeper")).unwrap();
        fs::create_dir(room.path().join("elsewhere")).unwrap();
        for file in ["images/b", "images/deep/deeper/a", "elsewhere/c"] {
            fs::write(room.path().join(file), "").unwrap();
        }
        fs::create_dir(room.path().join("out")).unwrap();
        symlink("../elsewhere", images.join("link")).unwrap();
        symlink("../..", images.join("deep/deeper/circle")).unwrap();
        symlink("nowhere", images.join("dangling")).unwrap();
        symlink("../out", images.join("thumbnails")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(images.join("socket")).unwrap();

        let (files, ends) = walk(&Places::new(&images, &room.path().join("out")).unwrap());
        assert_eq!(files, ["b", "deep/deeper/a", "link/c"].map(PathBuf::from));
        let mut told: Vec<_> =
            ends.iter().map(|end| (end.file.to_str().unwrap(), end.reason.as_str())).collect();
        told.sort_unstable();
        assert_eq!(
            told,
            [
                ("dangling", "cannot be read: No such file or directory (os error 2)"),
                ("deep/deeper/circle", "a link that leads in a circle, back to ."),
                ("socket", "not a regular file"),
                ("thumbnails", "a link to the thumbnails"),
            ]
        );
    }
}
