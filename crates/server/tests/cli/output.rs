//! Tests that the server runs and stops correctly, whatever happens to standard output and standard error.

use super::*;

/// Opens a WebSocket and waits for `hello`.
fn socket(server: &Server, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = &server.address;
    write!(
        stream,
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let mut seen = Vec::new();
    while !contains(&seen, b"hello") {
        let mut some = [0; 4_096];
        let count = stream.read(&mut some).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&some[..count]);
    }
    stream
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Reads to the end. Asserts that a close frame with 1001 was received (RFC 6455, section 5.5.1).
fn closed_with_1001(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(contains(&rest, &1_001_u16.to_be_bytes()), "{rest:?}");
}

/// Makes many calls on one connection, each of which is logged.
fn make_it_log(server: &Server, lines: usize) {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let call = format!("GET /api/nothing HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    for _ in 0..lines {
        stream.write_all(call.as_bytes()).unwrap();
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            assert!(answers.read_line(&mut line).unwrap() > 0, "the connection was lost");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        answers.read_exact(&mut vec![0; length]).unwrap();
    }
}

fn serve_to(place: &Place, stderr: impl Into<Stdio>) -> Server {
    Server::start(place.command(&["serve", "--port", "0"]).stderr(stderr))
}

fn lines_dropped(server: &Server, token: &str) -> u64 {
    let metrics = server.get("/metrics", token).1;
    let line = metrics.lines().find_map(|line| line.strip_prefix("chatsphere_log_lines_dropped_total ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn a_reader_of_the_log_that_goes_away_takes_nothing_with_it() {
    let place = Place::new();
    let mut server = serve_to(&place, Stdio::piped());
    drop(server.errors.take());
    let token = place.client_token();
    let socket = socket(&server, &token);
    // A process that another test starts at the moment may hold the other end of the pipe for a moment, and a line gets
    // through.
    let deadline = Instant::now() + PATIENCE;
    while lines_dropped(&server, &token) < 50 {
        assert!(Instant::now() < deadline, "lines that nobody reads are not counted");
        make_it_log(&server, 10);
    }
    server.signal(Signal::TERM);
    closed_with_1001(socket);
    assert_eq!(server.wait(), 0);
}

#[test]
fn a_reader_of_the_log_that_reads_nothing_holds_nobody_up() {
    let place = Place::new();
    // This pipe is not the one that the helper reads for the error's text after a failed start, because nobody may read this
    // one.
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut server = serve_to(&place, writer);
    let socket = socket(&server, &place.client_token());
    make_it_log(&server, 1_500);
    assert_eq!(server.get("/livez", "").0, 200);
    server.signal(Signal::TERM);
    closed_with_1001(socket);
    assert_eq!(server.wait(), 0);
}

#[test]
fn a_full_disk_under_the_log_holds_nobody_up() {
    let place = Place::new();
    let mut server = serve_to(&place, fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    make_it_log(&server, 50);
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), 0);
}

#[test]
fn without_standard_descriptors_the_database_takes_no_log_lines() {
    let place = Place::new();
    place.serve(&[]).stop();
    let mut command = Command::new("sh");
    let script = format!("exec {PROGRAM} serve --port 0 2>&- <&-");
    command.args(["-c", &script]).current_dir(place.directory.path()).env_clear().stderr(Stdio::null());
    let mut server = Server::start(&mut command);
    make_it_log(&server, 50);
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), 0);
    assert_eq!(place.answer(&["user", "list"]).lines().count(), 2);
}

#[test]
fn a_reader_of_an_answer_that_goes_away_is_no_error() {
    let place = Place::new();
    place.serve(&[]).stop();
    for arguments in [&["config", "docs"][..], &["user", "list"], &["openapi"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = Ended::from(place.command(arguments).stdout(writer).output().unwrap());
        assert_eq!((ended.code, ended.errors.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn an_answer_that_can_not_be_written_is_an_error() {
    let place = Place::new();
    place.serve(&[]).stop();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = Ended::from(place.command(&["user", "list"]).stdout(full).output().unwrap());
    assert_eq!(ended.code, 1);
    assert!(ended.errors.contains("could not be written"), "{}", ended.errors);
}
