//! Tests that signals without a meaning for the server do not end it.

use super::*;

#[test]
fn signals_without_a_meaning_are_ignored() {
    let place = Place::new();
    let server = place.serve(&[]);
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::PIPE, Signal::ALARM, Signal::IO, Signal::XFSZ] {
        server.signal(signal);
        assert_eq!(server.get("/livez", "").0, 200, "{signal:?}");
    }
    let written = server.stop();
    assert!(written.contains("SIGHUP was ignored"), "{written}");
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let place = Place::new();
    let mut server = place.serve(&[]);
    let mut slow = TcpStream::connect(&server.address).unwrap();
    write!(slow, "POST /api/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n").unwrap();
    assert_eq!(server.get("/livez", "").0, 200);
    server.signal(Signal::INT);
    while TcpStream::connect(&server.address).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.signal(Signal::INT);
    assert!([0, 1].contains(&server.wait()));
}
