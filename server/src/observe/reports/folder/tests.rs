//! What is written, read back, and left alone.

use super::*;
use crate::observe::reports::report::Signature;

fn filed(number: usize, signature: &str) -> Filed {
    let id = format!("0start-{number}");
    let signature = Signature { id: signature.to_owned(), ..Signature::default() };
    let report = Report { id: id.clone(), signature: signature.clone(), ..Report::default() };
    Filed { id, signature: signature.id, json: report.to_json().expect("JSON").into() }
}

fn ids(reports: &[Report]) -> Vec<&str> {
    reports.iter().map(|report| report.id.as_str()).collect()
}

fn names(folder: &ReportFolder) -> Vec<String> {
    let entries = fs::read_dir(&folder.path).expect("a folder");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name().into_string()).collect();
    names.sort();
    names.into_iter().map(|name| name.expect("a text")).collect()
}

#[test]
fn names_are_checked_before_they_name_a_file() {
    assert_eq!(place("01kxyz-12"), Some(("01kxyz", 12)));
    for bad in ["", "-", "a-", "-1", "a-01", "a-+1", "../a-1", "a/b-1", "a-1/..", "a-1-2", "a\0-1", "é-1"] {
        assert_eq!(place(bad), None, "{bad:?}");
    }
}

#[test]
fn files_are_the_brokers_alone_and_come_back_in_order() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut folder, left) = ReportFolder::open(&room.path().join("state"));
    assert_eq!(left, []);
    for number in [9, 10, 11] {
        assert!(folder.write(&filed(number, "a")));
    }
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&folder.path), mode(&folder.file("0start-9"))), (0o700, 0o600));
    fs::write(folder.path.join("0start-12.json"), "").expect("written");
    fs::write(folder.path.join("0start-13.json"), "{\"id\": \"0start-9\"}").expect("written");
    fs::write(folder.path.join("0start-14.tmp"), "half").expect("written");
    fs::write(folder.path.join("notes.json"), "a person's").expect("written");
    std::os::unix::fs::symlink("/dev/zero", folder.path.join("0start-15.json")).expect("linked");
    drop(folder);
    let (folder, left) = ReportFolder::open(&room.path().join("state"));
    assert_eq!(ids(&left), ["0start-9", "0start-10", "0start-11"]);
    let stays = ["0start-10.json", "0start-11.json", "0start-9.json", "lock", "notes.json"];
    assert_eq!(names(&folder), stays, "what looks ours and is none is removed");
}

#[test]
fn the_folder_is_as_bounded_as_the_memory() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut folder, _) = ReportFolder::open(room.path());
    folder.write(&filed(1, "rare"));
    for number in 2..=MOST + 50 {
        folder.write(&filed(number, "crowd"));
    }
    assert_eq!(names(&folder).len(), MOST + 1);
    drop(folder);
    let (_, left) = ReportFolder::open(room.path());
    assert_eq!((ids(&left)[0], left.len()), ("0start-1", MOST));
}

#[test]
fn a_folder_that_cannot_be_costs_the_files_until_it_can() {
    let room = tempfile::tempdir().expect("a directory");
    let place = room.path().join("state");
    fs::write(&place, "no directory").expect("written");
    let (mut folder, left) = ReportFolder::open(&place);
    assert_eq!((left.len(), folder.write(&filed(1, "a"))), (0, false));
    fs::remove_file(&place).expect("removed");
    assert!(folder.write(&filed(2, "a")), "it is tried again");
}

#[test]
fn a_folder_has_one_broker_at_a_time() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut first, _) = ReportFolder::open(room.path());
    assert!(first.write(&filed(1, "a")));
    let (mut second, left) = ReportFolder::open(room.path());
    assert_eq!((left.len(), second.write(&filed(2, "b"))), (0, false));
    drop(first);
    assert!(second.write(&filed(3, "b")), "it takes over");
    assert_eq!(names(&second), ["0start-1.json", "0start-3.json", "lock"]);
}

#[test]
fn what_was_there_counts_although_it_could_not_be_read_at_the_start() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut folder, _) = ReportFolder::open(room.path());
    (1..=MOST).for_each(|number| assert!(folder.write(&filed(number, "a"))));
    let (mut late, _) = ReportFolder::open(room.path());
    drop(folder);
    (MOST + 1..=MOST + 9).for_each(|number| assert!(late.write(&filed(number, "b"))));
    assert_eq!(names(&late).len(), MOST + 1);
}

#[test]
fn a_folder_is_the_brokers_users_alone() {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().join("reports");
    fs::create_dir(&path).expect("made");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("ours");
    let (mut folder, _) = ReportFolder::open(room.path());
    assert!(folder.write(&filed(1, "a")));
    assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o700);

    let elsewhere = room.path().join("elsewhere");
    fs::rename(&path, &elsewhere).expect("renamed");
    std::os::unix::fs::symlink(&elsewhere, &path).expect("linked");
    assert!(!folder.write(&filed(2, "a")), "a link is not followed");
    drop(folder);
    let (mut folder, left) = ReportFolder::open(room.path());
    assert_eq!((left.len(), folder.write(&filed(3, "a"))), (0, false));
}
