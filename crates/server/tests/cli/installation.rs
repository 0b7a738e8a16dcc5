//! Commands in the wrong directory, files of the wrong user, and the files that a shutdown leaves.

use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::os::unix::process::CommandExt;

use super::*;

/// A user without rights of its own, which every Linux has.
const NOBODY: u32 = 65_534;

/// Whether the tests may run programs as another user, which only root may.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("left out: only root can run programs as another user");
    }
    root
}

fn give_to(path: &Path, uid: u32) {
    chown(path, Some(uid), Some(uid)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_to(&entry.unwrap().path(), uid);
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

impl Place {
    fn as_nobody(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.uid(NOBODY).gid(NOBODY);
        command
    }

    fn run_as_nobody(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.as_nobody(arguments).output().unwrap())
    }
}

#[test]
fn commands_create_nothing_where_no_server_has_run() {
    let place = Place::new();
    let id = "0198c0de-7c1a-7000-8000-0123456789ab";
    for arguments in [
        &["user", "list"][..],
        &["user", "create", "ada"],
        &["user", "role", "ada", "admin"],
        &["user", "disable", "ada"],
        &["token", "list"],
        &["token", "create", "--client", "--email", "ops@example.com"],
        &["token", "revoke", id],
        &["epoch", "renew"],
        &["migrate"],
        &["backup", "copy.db"],
        &["doctor", "--port", "0", "--connections", "100"],
    ] {
        let ended = place.run(arguments);
        assert_eq!(ended.code, 1, "{arguments:?}: {}", ended.answer);
        let told = ended.answer + &ended.errors;
        assert!(told.contains("there is no database at sqlite:./chatsphere-data/chatsphere.db"), "{arguments:?}: {told}");
        assert!(told.contains("--data-dir"), "{arguments:?}: {told}");
        assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 0, "{arguments:?}");
    }
    // A directory with other files in it, or an empty file in place of the database, is not an installation either.
    fs::create_dir(place.directory.path().join("chatsphere-data")).unwrap();
    fs::write(place.data("chatsphere.db"), "").unwrap();
    for arguments in [&["epoch", "renew"][..], &["token", "list"], &["backup", "copy.db"]] {
        let ended = place.run(arguments);
        assert_eq!(ended.code, 1, "{arguments:?}: {}", ended.answer);
        assert_eq!(fs::metadata(place.data("chatsphere.db")).unwrap().len(), 0, "{arguments:?}");
    }
}

#[test]
fn the_doctor_in_the_wrong_directory_prevents_no_start() {
    let place = Place::new();
    let server = place.serve(&[]);
    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    let ended = Place::new().run(&["doctor", "--port", &port, "--connections", "100"]);
    assert_eq!(ended.code, 1);
    assert!(ended.answer.contains("is taken by") && !ended.answer.contains("stop it"), "{}", ended.answer);
    assert!(ended.answer.contains("its working directory"), "{}", ended.answer);
}

#[test]
fn files_of_another_user_are_reported_with_the_remedy() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    place.serve(&[]).stop();
    set_mode(place.directory.path(), 0o755);
    give_to(&place.data(""), NOBODY);
    let serve = ["serve", "--port", "0"];
    for (file, mode) in [("chatsphere.db", 0o644), ("chatsphere.db", 0o600), ("secrets.toml", 0o600), ("lock", 0o600)] {
        chown(place.data(file), Some(0), Some(0)).unwrap();
        set_mode(&place.data(file), mode);
        for arguments in [&serve[..], &["user", "list"], &["epoch", "renew"], &["doctor", "--port", "0"]] {
            if file == "lock" && arguments[0] != "serve" || file == "secrets.toml" && arguments[0] == "epoch" {
                continue;
            }
            let ended = place.run_as_nobody(arguments);
            let told = ended.answer + &ended.errors;
            assert_eq!(ended.code, 1, "{file} {mode:o} {arguments:?}: {told}");
            for part in [file, "root (uid 0)", "chown -R nobody: ", "chatsphere-data"] {
                assert!(told.contains(part), "{file} {mode:o} {arguments:?}: {part} is missing in {told}");
            }
        }
        chown(place.data(file), Some(NOBODY), Some(NOBODY)).unwrap();
        set_mode(&place.data(file), 0o600);
    }

    // If a parent directory may not be entered, the installation may exist nevertheless.
    set_mode(place.directory.path(), 0o700);
    let data_dir = place.data("");
    let mut command = place.as_nobody(&["user", "list", "--data-dir", data_dir.to_str().unwrap()]);
    let ended = Ended::from(command.current_dir("/").output().unwrap());
    assert_eq!(ended.code, 1);
    let above = place.directory.path().to_str().unwrap();
    assert!(ended.errors.contains("may not enter it") && ended.errors.contains(above), "{}", ended.errors);
}

#[test]
fn the_server_believes_no_files_of_others() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    place.serve(&[]).stop();
    let refused = |words: &[&str]| {
        let ended = place.run(&["serve", "--port", "0"]);
        assert_eq!(ended.code, 1, "{words:?}");
        for part in words {
            assert!(ended.errors.contains(part), "{part} is missing in {}", ended.errors);
        }
    };
    let data = place.data("");
    give_to(&data, NOBODY);
    refused(&["belongs to nobody (uid 65534)", "root (uid 0)", "chown -R root: "]);
    // Root may still use the installation, and files that it creates there belong to the owner of the directory.
    place.answer(&["user", "create", "ada"]);
    for entry in fs::read_dir(&data).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), NOBODY, "{:?}", entry.path());
    }

    give_to(&data, 0);
    for mode in [0o770, 0o707, 0o1777] {
        set_mode(&data, mode);
        refused(&["other users can write to the data directory", "chmod go-w"]);
    }
    set_mode(&data, 0o700);
    for (file, mode) in [("chatsphere.db", 0o666), ("secrets.toml", 0o660)] {
        set_mode(&place.data(file), mode);
        refused(&["other users can write", file]);
        set_mode(&place.data(file), 0o600);
    }
    chown(place.data("secrets.toml"), Some(NOBODY), None).unwrap();
    refused(&["secrets.toml", "belongs to nobody"]);
    chown(place.data("secrets.toml"), Some(0), None).unwrap();
    place.serve(&[]).stop();
}

#[test]
fn links_in_the_place_of_its_files_are_not_followed() {
    let place = Place::new();
    place.serve(&[]).stop();
    let target = place.directory.path().join("precious");
    for name in ["lock", "chatsphere.db.lock"] {
        let kept = fs::read(place.data(name)).unwrap();
        fs::write(&target, &kept).unwrap();
        fs::remove_file(place.data(name)).unwrap();
        symlink(&target, place.data(name)).unwrap();
        let ended = place.run(&["serve", "--port", "0"]);
        assert_eq!(ended.code, 1, "{name}");
        assert!(ended.errors.contains(name) && ended.errors.contains("symbolic link"), "{name}: {}", ended.errors);
        assert_eq!(fs::read(&target).unwrap(), kept, "{name}");
        fs::remove_file(place.data(name)).unwrap();
        fs::write(place.data(name), kept).unwrap();
    }
    // The file of the first token replaces a link, and is not written through it.
    let place = Place::new();
    fs::create_dir(place.directory.path().join("chatsphere-data")).unwrap();
    symlink(&target, place.data("client-token")).unwrap();
    place.serve(&[]).stop();
    assert!(place.data("client-token").symlink_metadata().unwrap().is_file());
}

/// Secrets behind symbolic links, as in Kubernetes and Nix.
#[test]
fn secrets_are_read_through_a_link() {
    let place = Place::new();
    place.serve(&[]).stop();
    let (file, target) = (place.data("secrets.toml"), place.directory.path().join("precious"));
    fs::rename(&file, &target).unwrap();
    symlink(&target, &file).unwrap();
    place.serve(&[]).stop();
    // The target of the link must belong to the same user.
    let refused = |words: &str| {
        let ended = place.run(&["serve", "--port", "0"]);
        assert_eq!(ended.code, 1, "{words}");
        assert!(ended.errors.contains("secrets.toml") && ended.errors.contains(words), "{words}: {}", ended.errors);
    };
    set_mode(&target, 0o602);
    refused("other users can write");
    set_mode(&target, 0o600);
    if is_root() {
        chown(&target, Some(NOBODY), None).unwrap();
        refused("belongs to nobody");
    }
    fs::remove_file(&target).unwrap();
    refused("leads to nothing");
    assert!(!target.exists());
}

/// A volume of an `fsGroup` in Kubernetes: its root directory belongs to root, and the group may write to all of it.
#[test]
fn a_volume_of_a_group_is_used_where_that_is_trusted() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    set_mode(place.directory.path(), 0o755);
    fs::create_dir(place.data("")).unwrap();
    chown(place.data(""), Some(0), Some(NOBODY)).unwrap();
    set_mode(&place.data(""), 0o2775);
    let ended = place.run_as_nobody(&["serve", "--port", "0"]);
    assert_eq!(ended.code, 1);
    assert!(ended.errors.contains("CHATSPHERE_TRUST_GROUP=on"), "{}", ended.errors);
    let serve = ["serve", "--port", "0", "--trust-group"];
    Server::start(place.as_nobody(&serve).stderr(Stdio::piped())).stop();
    for file in ["chatsphere.db", "secrets.toml", "lock"] {
        set_mode(&place.data(file), 0o660);
    }
    Server::start(place.as_nobody(&serve).stderr(Stdio::piped())).stop();
    set_mode(&place.data("chatsphere.db"), 0o666);
    let ended = place.run_as_nobody(&serve);
    assert_eq!(ended.code, 1);
    assert!(ended.errors.contains("other users can write"), "{}", ended.errors);
}

#[test]
fn a_process_with_secrets_has_no_core_dump() {
    let place = Place::new();
    let server = place.serve(&[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    drop(server);
    if !is_root() {
        return;
    }
    // The files of a process in /proc belong to root if the process must not be dumped (proc(5)).
    set_mode(place.directory.path(), 0o755);
    give_to(&place.data(""), NOBODY);
    let server = Server::start(place.as_nobody(&["serve", "--port", "0"]).stderr(Stdio::piped()));
    assert_eq!(fs::metadata(format!("/proc/{}/environ", server.child.id())).unwrap().uid(), 0);
}

#[test]
fn after_a_stop_the_database_alone_holds_everything() {
    let place = Place::new();
    let server = place.serve(&[]);
    let token = place.client_token();
    let room = server.room(&token);
    // Readers and a command have connections of their own, which must be closed too.
    let path = format!("/api/rooms/{room}/messages");
    for n in 0..50 {
        assert_eq!(server.post(&path, &token, &format!(r#"{{"content":"message {n}"}}"#)).0, 201);
        assert_eq!(server.get(&path, &token).0, 200);
    }
    place.answer(&["user", "list"]);
    server.stop();
    for gone in ["chatsphere.db-wal", "chatsphere.db-shm"] {
        assert!(!place.data(gone).exists(), "{gone}");
    }
    let copy = Place::new();
    fs::create_dir(copy.directory.path().join("chatsphere-data")).unwrap();
    for file in ["chatsphere.db", "secrets.toml"] {
        fs::copy(place.data(file), copy.data(file)).unwrap();
    }
    let server = copy.serve(&[]);
    assert!(server.get(&path, &token).1.contains("message 49"));
    drop(server);
    // After a crash, a command without a running server applies the log.
    place.answer(&["user", "list"]);
    assert!(!place.data("chatsphere.db-wal").exists());
}

#[test]
fn a_log_beside_a_damaged_database_is_named() {
    for spoilt in [0, 100] {
        let place = Place::new();
        place.serve(&[]).stop();
        let mut bytes = fs::read(place.data("chatsphere.db")).unwrap();
        bytes[spoilt..spoilt + 400].fill(0x5a);
        fs::write(place.data("chatsphere.db"), &bytes).unwrap();
        fs::write(place.data("chatsphere.db-wal"), vec![1; 4_096]).unwrap();
        for arguments in [&["serve", "--port", "0"][..], &["user", "list"], &["doctor", "--port", "0"]] {
            let ended = place.run(arguments);
            let told = ended.answer + &ended.errors;
            assert_eq!(ended.code, 1, "{arguments:?}: {told}");
            for part in ["is damaged", "chatsphere.db-wal", "mv ", "chatsphere restore"] {
                assert!(told.contains(part), "{spoilt} {arguments:?}: {part} is missing in {told}");
            }
        }
        fs::remove_file(place.data("chatsphere.db-wal")).unwrap();
        let ended = place.run(&["serve", "--port", "0"]);
        assert!(ended.code == 1 && !ended.errors.contains("-wal"), "{}", ended.errors);
    }
}
