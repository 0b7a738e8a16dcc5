//! Tests of a server that starts while another one runs, or has not ended yet.

use super::*;

/// A server that waits for the locks of another, and has logged that it does.
struct Waiting {
    child: Child,
    errors: BufReader<ChildStderr>,
    told: String,
}

impl Waiting {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = place.command(&[&["serve", "--port", "0"], arguments].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        while !told.contains("waiting up to 10 s") {
            assert!(errors.read_line(&mut told).unwrap() > 0, "it does not wait: {told}");
        }
        Self { child, errors, told }
    }

    /// Reads the log up to a line that contains `part`.
    fn read_to(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(self.errors.read_line(&mut line).unwrap() > 0, "it ended");
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_that_has_not_ended_yet_is_waited_for() {
    let place = Place::new();
    let first = place.serve(&[]);
    let mut second = Waiting::start(&place, &[]);
    assert!(second.told.contains(&format!("(process {})", first.child.id())), "{}", second.told);
    drop(first);
    second.read_to("listening");
    second.signal(Signal::TERM);
    assert_eq!(second.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_server_that_waits_can_be_stopped() {
    let place = Place::new();
    let _first = place.serve(&[]);
    let mut second = Waiting::start(&place, &[]);
    let began = Instant::now();
    second.signal(Signal::TERM);
    assert_eq!(second.child.wait().unwrap().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn one_server_a_database() {
    let place = Place::new();
    let server = place.serve(&[]);
    fs::create_dir(place.directory.path().join("other")).unwrap();
    let url = "sqlite:other/../chatsphere-data/chatsphere.db";
    let second = place.run(&["serve", "--port", "0", "--data-dir", "other/data", "--database-url", url]);
    assert_eq!(second.code, 1);
    for part in
        ["the database other/../chatsphere-data/chatsphere.db is in use", "--database-url", &server.child.id().to_string()]
    {
        assert!(second.errors.contains(part), "{}", second.errors);
    }
}
