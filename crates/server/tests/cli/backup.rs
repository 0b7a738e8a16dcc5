//! Backups during traffic, and restores with the server stopped.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

impl Place {
    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn refused(&self, arguments: &[&str], parts: &[&str]) {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 1, "{arguments:?}: {}", ended.answer);
        for part in parts {
            assert!(ended.errors.contains(part), "{arguments:?}: {part} is missing in {}", ended.errors);
        }
    }

    /// Returns all files of the data directory with their contents, except locks.
    fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let Ok(entries) = fs::read_dir(self.data("")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = paths
            .filter(|path| !path.to_str().unwrap().ends_with("lock"))
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }
}

fn post(server: &Server, token: &str, room: &str, n: usize) {
    let (status, body) = server.post(&format!("/api/rooms/{room}/messages"), token, &format!(r#"{{"content":"message {n}"}}"#));
    assert_eq!(status, 201, "{body}");
}

/// Returns the numbers in a room's messages.
fn stored(server: &Server, token: &str, room: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let after = numbers.last().copied().unwrap_or(0);
        let page = server.get(&format!("/api/rooms/{room}/messages?limit=200&after={after}"), token).1;
        let page: serde_json::Value = serde_json::from_str(&page).unwrap();
        let page = page.as_array().unwrap().clone();
        if page.is_empty() {
            return numbers;
        }
        numbers.extend(page.iter().map(|message| message["seq"].as_u64().unwrap()));
    }
}

#[test]
fn a_backup_is_one_moment_of_a_busy_server() {
    let place = Place::new().with("CHATSPHERE_RATE_LIMIT", "off");
    let server = place.serve(&[]);
    let token = place.client_token();
    let room = server.room(&token);
    let (posted, enough) = (AtomicUsize::new(0), AtomicBool::new(false));
    let before = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::SeqCst) {
                post(&server, &token, &room, posted.load(Ordering::SeqCst));
                posted.fetch_add(1, Ordering::SeqCst);
            }
        });
        while posted.load(Ordering::SeqCst) < 50 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let before = posted.load(Ordering::SeqCst);
        let ended = place.run(&["backup", "copy.db", "--with-secrets"]);
        enough.store(true, Ordering::SeqCst);
        assert_eq!(ended.code, 0, "{}", ended.errors);
        assert!(ended.errors.contains("copy.db.secrets.toml"), "{}", ended.errors);
        before
    });
    for file in ["copy.db", "copy.db.secrets.toml"] {
        assert_eq!(mode(&place.directory.path().join(file)), 0o600, "{file}");
    }
    let files: BTreeSet<_> = fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    let after = posted.load(Ordering::SeqCst);
    server.stop();

    let other = Place::new();
    let told = other.run(&["restore", &place.path("copy.db")]);
    assert_eq!(told.code, 0, "{}", told.errors);
    assert!(told.errors.contains("the epoch is now"), "{}", told.errors);
    assert_eq!((mode(&other.data("chatsphere.db")), mode(&other.data("secrets.toml"))), (0o600, 0o600));
    let restored = other.serve(&[]);
    let numbers = stored(&restored, &token, &room);
    assert!((before..=after).contains(&numbers.len()), "{} of {before} to {after}", numbers.len());
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    post(&restored, &token, &room, 0);
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 3, "the backup itself is only read");
}

#[test]
fn a_restore_keeps_the_old_database() {
    let place = Place::new();
    let server = place.serve(&[]);
    let token = place.client_token();
    let room = server.room(&token);
    post(&server, &token, &room, 1);
    place.answer(&["backup", "copy.db"]);
    post(&server, &token, &room, 2);
    // The restore waits for the running server, and fails because the server does not end.
    place.refused(&["restore", "copy.db"], &["in use by another chatsphere server", &server.child.id().to_string()]);
    // A crash leaves a write-ahead log, which belongs to the old database.
    drop(server);
    assert!(place.data("chatsphere.db-wal").exists());
    let told = place.run(&["restore", "copy.db"]);
    assert_eq!(told.code, 0, "{}", told.errors);
    let kept = told.errors.lines().find_map(|line| line.strip_prefix("what was there is kept as ")).unwrap().to_owned();
    assert!(Path::new(&format!("{kept}-wal")).exists() && !place.data("chatsphere.db-wal").exists(), "{kept}");
    let server = place.serve(&[]);
    let history = server.get(&format!("/api/rooms/{room}/messages"), &token).1;
    assert!(history.contains("message 1") && !history.contains("message 2"), "{history}");
    server.stop();
    // The old database is complete.
    let url = format!("sqlite:{kept}");
    let server = place.serve(&["--database-url", &url]);
    assert!(server.get(&format!("/api/rooms/{room}/messages"), &token).1.contains("message 2"));
}

#[test]
fn a_file_that_is_no_backup_changes_nothing() {
    let place = Place::new();
    place.serve(&[]).stop();
    place.answer(&["backup", "copy.db"]);
    let whole = fs::read(place.path("copy.db")).unwrap();
    fs::write(place.path("text"), "these are words").unwrap();
    fs::write(place.path("empty"), "").unwrap();
    fs::write(place.path("cut"), &whole[..whole.len() / 2]).unwrap();
    let mut spoilt = whole.clone();
    spoilt[8_192..].fill(0x5a);
    fs::write(place.path("spoilt"), spoilt).unwrap();
    let before = place.contents();
    for file in ["text", "empty", "cut", "spoilt", "absent", "chatsphere-data"] {
        place.refused(&["restore", file], &[file]);
        assert!(place.contents() == before, "{file}");
    }
    // The database of another program, or of a newer version, is not a backup either.
    for sql in
        ["CREATE TABLE other (x)", "CREATE TABLE schema_version (version INTEGER); INSERT INTO schema_version VALUES (9999)"]
    {
        let made = Command::new("python3")
            .args([
                "-c",
                "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])",
                &place.path("foreign"),
                sql,
            ])
            .status()
            .unwrap();
        assert!(made.success());
        place.refused(&["restore", "foreign"], &["foreign", "nothing was changed"]);
        assert!(place.contents() == before);
        fs::remove_file(place.path("foreign")).unwrap();
    }
    place.serve(&[]).stop();
}

#[test]
fn a_backup_needs_its_secrets() {
    let place = Place::new();
    place.serve(&[]).stop();
    let token = place.client_token();
    let told = place.run(&["backup", "copy.db"]);
    assert!(told.code == 0 && told.errors.contains("secrets.toml with it"), "{}", told.errors);
    let copy = place.path("copy.db");

    let other = Place::new();
    other.refused(&["restore", &copy], &["other secrets", "--secrets"]);
    assert!(other.contents().is_empty());
    other.serve(&[]).stop();
    let before = other.contents();
    other.refused(&["restore", &copy], &["other secrets than those that are here"]);
    assert!(other.contents() == before);
    let secrets = place.data("secrets.toml");
    other.answer(&["restore", &copy, "--secrets", secrets.to_str().unwrap()]);
    let server = other.serve(&[]);
    assert_eq!(server.get("/api/users", &token).0, 200);
    server.stop();

    let lost = Place::new();
    lost.answer(&["restore", &copy, "--forget-secrets"]);
    let server = lost.serve(&[]);
    assert_eq!(server.get("/api/users", &token).0, 401);
    let new = lost.answer(&["token", "create", "--client", "--email", "ops@example.com"]);
    assert_eq!(server.get("/api/users", &new).0, 200);
}

#[test]
fn a_backup_replaces_nothing_by_accident() {
    let place = Place::new();
    place.serve(&[]).stop();
    // The file of a killed backup does not prevent the next one.
    fs::write(place.path("copy.db.partial"), "half").unwrap();
    place.answer(&["backup", "copy.db"]);
    assert!(!Path::new(&place.path("copy.db.partial")).exists());
    place.refused(&["backup", "copy.db"], &["is there already", "--force"]);
    place.answer(&["backup", "copy.db", "--force"]);
    fs::write(place.path("letter"), "dear").unwrap();
    place.refused(&["backup", "letter", "--force"], &["is no backup"]);
    place.refused(&["backup", "chatsphere-data/chatsphere.db", "--force"], &["belongs to the database itself"]);
    place.refused(
        &["backup", "chatsphere-data/../chatsphere-data/chatsphere.db-wal", "--force"],
        &["belongs to the database itself"],
    );
    place.refused(&["backup", "."], &["is a directory"]);
    place.refused(&["backup", "nowhere/copy.db"], &["is not there"]);
    place.refused(&["backup", "/dev/full/copy.db"], &["/dev/full/copy.db"]);
    assert_eq!(place.answer(&["user", "list"]).lines().count(), 2);
}

#[test]
fn no_server_starts_on_half_a_restore() {
    let place = Place::new();
    place.serve(&[]).stop();
    place.answer(&["backup", "copy.db"]);
    fs::remove_file(place.data("chatsphere.db")).unwrap();
    fs::write(place.data("chatsphere.db.restore-under-way"), "").unwrap();
    place.refused(&["serve", "--port", "0"], &["a restore was cut off", "chatsphere restore"]);
    place.answer(&["restore", "copy.db"]);
    place.serve(&[]).stop();
}

#[test]
fn a_restore_that_was_cut_off_goes_on_where_it_was() {
    let place = Place::new();
    place.serve(&[]).stop();
    place.answer(&["backup", "copy.db"]);
    let aside = ".before-restore-20260101T000000Z";
    let name = |ending: &str| place.data(&format!("chatsphere.db{aside}{ending}"));
    let mark = place.data("chatsphere.db.restore-under-way");
    // The restore was killed after it had set the database aside and before its log: the next run sets the log aside, too.
    fs::rename(place.data("chatsphere.db"), name("")).unwrap();
    fs::write(place.data("chatsphere.db-wal"), "its log").unwrap();
    fs::write(&mark, aside).unwrap();
    place.answer(&["restore", "copy.db"]);
    assert_eq!(fs::read_to_string(name("-wal")).unwrap(), "its log");
    assert!(!mark.exists() && name("").exists());
    // The restore was killed when the copy was in place; the old database that was set aside stays.
    fs::write(name(""), "the database").unwrap();
    fs::write(&mark, aside).unwrap();
    place.answer(&["restore", "copy.db"]);
    assert_eq!(fs::read_to_string(name("")).unwrap(), "the database");
    // Symbolic links are not written through, and a suffix with a path is not trusted.
    let target = place.directory.path().join("precious");
    for text in ["precious", ".before-restore-/../x"] {
        fs::write(&target, text).unwrap();
        std::os::unix::fs::symlink(&target, &mark).unwrap();
        place.answer(&["restore", "copy.db"]);
        assert_eq!(fs::read_to_string(&target).unwrap(), text);
        assert!(mark.symlink_metadata().is_err());
    }
    place.serve(&[]).stop();
}

#[test]
fn postgresql_has_its_own_tools() {
    let place = Place::new().with("DATABASE_URL", "postgresql://ada:s3cret@db.example:5433/chat");
    let to = "postgresql://ada@db.example:5433/chat";
    place.refused(&["backup", "copy.dump"], &[&format!("pg_dump --format=custom --file='copy.dump' --dbname='{to}'")]);
    place.refused(&["restore", "copy.dump"], &["pg_restore", to, "chatsphere epoch renew"]);
    for arguments in [["backup", "copy.dump"], ["restore", "copy.dump"]] {
        assert!(!place.run(&arguments).errors.contains("s3cret"));
    }
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 0);
}
