//! `/readyz` reports a database file that was removed or replaced.

use std::os::unix::fs::{FileExt, chown};
use std::os::unix::process::CommandExt;

use super::*;

const NOBODY: u32 = 65_534;

fn waits_for(server: &Server, status: u16) {
    let began = Instant::now();
    while server.get("/readyz", "").0 != status {
        assert!(began.elapsed() < PATIENCE, "/readyz does not become {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_damaged_file_is_not_ready() {
    let place = Place::new();
    place.serve(&[]).stop();
    let server = place.serve(&[]);
    waits_for(&server, 200);
    let file = fs::OpenOptions::new().write(true).open(place.data("chatsphere.db")).unwrap();
    let length = file.metadata().unwrap().len();
    file.write_all_at(&vec![0x5a; usize::try_from(length).unwrap()], 0).unwrap();
    waits_for(&server, 503);
    assert_eq!(server.get("/livez", "").0, 200);
}

#[test]
fn a_file_that_is_gone_or_replaced_is_not_ready() {
    let place = Place::new();
    let server = place.serve(&[]);
    waits_for(&server, 200);
    let aside = place.data("aside.db");
    fs::rename(place.data("chatsphere.db"), &aside).unwrap();
    waits_for(&server, 503);
    assert!(!place.data("chatsphere.db").exists(), "the probe has made another");
    fs::copy(&aside, place.data("chatsphere.db")).unwrap();
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(server.get("/readyz", "").0, 503);
    fs::rename(&aside, place.data("chatsphere.db")).unwrap();
    waits_for(&server, 200);
}

#[test]
fn a_file_that_can_not_be_written_is_not_ready() {
    if !rustix::process::geteuid().is_root() {
        println!("left out: only root can run programs as another user");
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(place.data("")).unwrap();
    chown(place.data(""), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = place.command(&["serve", "--port", "0"]);
    let server = Server::start(command.uid(NOBODY).gid(NOBODY).stderr(Stdio::piped()));
    waits_for(&server, 200);
    let mode = |mode| fs::set_permissions(place.data("chatsphere.db"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o400);
    waits_for(&server, 503);
    mode(0o600);
    waits_for(&server, 200);
}
