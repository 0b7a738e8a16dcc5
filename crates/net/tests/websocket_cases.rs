//! The decoder against cases in the order of the Autobahn test suite, and against random input.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use bytes::Bytes;
use chatsphere_net::websocket::{Incoming, ProtocolError};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{client_frame, decode_in_chunks};

const MAX: usize = 64 * 1024;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// The same without FIN.
const TEXT_BEGIN: u8 = 0x01;
const BINARY_BEGIN: u8 = 0x02;
const CONTINUE: u8 = 0x00;
const CONTINUE_END: u8 = 0x80;

fn text(data: impl Into<Vec<u8>>) -> Incoming {
    Incoming::Text(Bytes::from(data.into()))
}

fn binary(data: impl Into<Vec<u8>>) -> Incoming {
    Incoming::Binary(Bytes::from(data.into()))
}

fn ping(data: impl Into<Vec<u8>>) -> Incoming {
    Incoming::Ping(Bytes::from(data.into()))
}

fn pong(data: impl Into<Vec<u8>>) -> Incoming {
    Incoming::Pong(Bytes::from(data.into()))
}

fn close(code: Option<u16>, reason: &str) -> Incoming {
    Incoming::Close { code, reason: reason.to_owned() }
}

/// A case: its frames, the expected messages, and the expected error, if any.
struct Case {
    name: String,
    bytes: Vec<u8>,
    messages: Vec<Incoming>,
    error: Option<ProtocolError>,
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(
        &mut self,
        name: impl Into<String>,
        frames: &[(u8, &[u8])],
        messages: impl Into<Vec<Incoming>>,
        error: Option<ProtocolError>,
    ) {
        let bytes = frames.iter().flat_map(|(first, payload)| client_frame(*first, payload, *b"mask")).collect();
        self.raw(name, bytes, messages, error);
    }

    fn raw(
        &mut self,
        name: impl Into<String>,
        bytes: Vec<u8>,
        messages: impl Into<Vec<Incoming>>,
        error: Option<ProtocolError>,
    ) {
        self.0.push(Case { name: name.into(), bytes, messages: messages.into(), error });
    }
}

#[test]
fn every_case_has_its_outcome_however_it_is_cut() {
    let mut cases = Cases::default();
    framing(&mut cases);
    pings_and_pongs(&mut cases);
    reserved(&mut cases);
    fragmentation(&mut cases);
    utf8(&mut cases);
    closing(&mut cases);
    limits(&mut cases);
    assert!(cases.0.len() > 200, "{} cases", cases.0.len());
    for Case { name, bytes, messages, error } in cases.0 {
        for chunk in [usize::MAX, 1, 2, 3, 5, 7, 1021] {
            let decoded = decode_in_chunks(&bytes, MAX, &[chunk]);
            assert!(decoded == (messages.clone(), error), "{name}, in pieces of {chunk}: {decoded:?}");
        }
    }
}

/// Autobahn's sections 1 and 10: lengths.
fn framing(cases: &mut Cases) {
    for length in [0, 1, 7, 8, 9, 124, 125, 126, 127, 128, 255, 256, 65535, 65536] {
        let star = vec![b'*'; length];
        let fe = vec![0xfe; length];
        cases.add(format!("text of {length}"), &[(TEXT, &star)], [text(star.clone())], None);
        cases.add(format!("binary of {length}"), &[(BINARY, &fe)], [binary(fe.clone())], None);
        let mut pieces: Vec<(u8, &[u8])> = star.chunks(1300).map(|piece| (CONTINUE, piece)).collect();
        pieces.insert(0, (TEXT_BEGIN, b""));
        pieces.push((CONTINUE_END, b""));
        cases.add(format!("text of {length} in pieces"), &pieces, [text(star.clone())], None);
    }
    // The client examples of RFC 6455 section 5.7.
    let hello = [0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    cases.raw("5.7: text", [&[0x81, 0x85], &hello[..]].concat(), [text("Hello")], None);
    cases.raw("5.7: pong", [&[0x8a, 0x85], &hello[..]].concat(), [pong("Hello")], None);
    // And the examples that only a server may send.
    for frame in [&b"\x81\x05Hello"[..], b"\x01\x03Hel\x80\x02lo", b"\x89\x05Hello", b"\x82\x7e\x01\x00"] {
        cases.raw("5.7: unmasked", frame.to_vec(), [], Some(ProtocolError::Unmasked));
    }
    for (bytes, error) in [
        (&[0x81, 0xfe, 0, 0, 1, 2, 3, 4][..], ProtocolError::NonMinimalLength),
        (&[0x81, 0xfe, 0, 125, 1, 2, 3, 4], ProtocolError::NonMinimalLength),
        (&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4], ProtocolError::NonMinimalLength),
        (&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4], ProtocolError::NonMinimalLength),
        (&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], ProtocolError::LengthOverflow),
        (&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4], ProtocolError::LengthOverflow),
    ] {
        cases.raw(format!("length {bytes:x?}"), bytes.to_vec(), [], Some(error));
    }
    // Incomplete input is no error, and delivers nothing.
    for bytes in [&[][..], &[0x81], &[0x81, 0x85], &[0x81, 0x85, 1, 2, 3, 4, 5, 6], &[0x81, 0xfe, 1]] {
        cases.raw(format!("cut short {bytes:x?}"), bytes.to_vec(), [], None);
    }
}

/// Autobahn's section 2.
fn pings_and_pongs(cases: &mut Cases) {
    let long = vec![0xfe; 125];
    cases.add("ping without payload", &[(PING, b"")], [ping("")], None);
    cases.add("ping with text", &[(PING, b"Hello")], [ping("Hello")], None);
    cases.add("ping with bytes", &[(PING, b"\x00\xff\xfe")], [ping(*b"\x00\xff\xfe")], None);
    cases.add("ping of 125", &[(PING, &long)], [ping(long.clone())], None);
    cases.add("pong nobody asked for", &[(PONG, b"?"), (PING, b"!")], [pong("?"), ping("!")], None);
    cases.add("ten pings", &[(PING, &b"a"[..]); 10], vec![ping("a"); 10], None);
    for control in [PING, PONG, CLOSE] {
        let name = format!("{control:x} of 126");
        cases.add(name, &[(control, &[0; 126])], [], Some(ProtocolError::LongControl));
        let bytes = vec![control, 0xff, 0, 0, 0, 0, 0, 0, 0, 1];
        cases.raw(format!("{control:x} with a long length"), bytes, [], Some(ProtocolError::LongControl));
    }
}

/// Autobahn's sections 3 and 4: reserved bits and opcodes, after a valid message.
fn reserved(cases: &mut Cases) {
    for rsv in 1..8 {
        for first in [TEXT, BINARY, PING, PONG, CLOSE] {
            let frames: [(u8, &[u8]); 3] = [(TEXT, b"before"), (first | (rsv << 4), b""), (TEXT, b"after")];
            let name = format!("reserved bits {rsv} on {first:x}");
            cases.add(name, &frames, [text("before")], Some(ProtocolError::ReservedBits));
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in [&b""[..], b"content"] {
            let frames = [(TEXT, &b"before"[..]), (0x80 | opcode, payload), (PING, b"after")];
            let name = format!("reserved opcode {opcode}");
            cases.add(name, &frames, [text("before")], Some(ProtocolError::ReservedOpcode));
        }
    }
}

/// Autobahn's section 5.
fn fragmentation(cases: &mut Cases) {
    for control in [PING, PONG, CLOSE] {
        let frames: [(u8, &[u8]); 2] = [(control & 0x0f, b""), (CONTINUE_END, b"")];
        let name = format!("fragmented control {control:x}");
        cases.add(name, &frames, [], Some(ProtocolError::FragmentedControl));
    }
    let halves: [(u8, &[u8]); 2] = [(TEXT_BEGIN, b"one "), (CONTINUE_END, b"two")];
    cases.add("two halves", &halves, [text("one two")], None);
    cases.add(
        "pings between fragments",
        &[(PING, b"0"), (TEXT_BEGIN, b"one "), (PING, b"1"), (CONTINUE, b""), (PONG, b"2"), (CONTINUE_END, b"two")],
        [ping("0"), ping("1"), pong("2"), text("one two")],
        None,
    );
    cases.add(
        "binary after text",
        &[(TEXT_BEGIN, b"a"), (CONTINUE_END, b"b"), (BINARY_BEGIN, b"\xff"), (CONTINUE_END, b"\xfe")],
        [text("ab"), binary(*b"\xff\xfe")],
        None,
    );
    cases.add("nothing but empty fragments", &[(TEXT_BEGIN, b""), (CONTINUE, b""), (CONTINUE_END, b"")], [text("")], None);
    for first in [CONTINUE, CONTINUE_END] {
        let unexpected = Some(ProtocolError::UnexpectedContinuation);
        cases.add("continuation of nothing", &[(first, b"x"), (TEXT, b"y")], [], unexpected);
        cases.add("continuation after a whole one", &[(TEXT, b"y"), (first, b"x")], [text("y")], unexpected);
        let frames: [(u8, &[u8]); 3] = [(TEXT_BEGIN, b"a"), (CONTINUE_END, b"b"), (first, b"c")];
        cases.add("continuation after the end", &frames, [text("ab")], unexpected);
    }
    for first in [TEXT, BINARY, TEXT_BEGIN, BINARY_BEGIN] {
        let frames: [(u8, &[u8]); 3] = [(TEXT_BEGIN, b"a"), (PING, b""), (first, b"b")];
        let name = format!("{first:x} inside a message");
        cases.add(name, &frames, [ping("")], Some(ProtocolError::InterleavedMessage));
    }
    cases.add("close inside a message", &[(TEXT_BEGIN, b"a"), (CLOSE, b"")], [close(None, "")], None);
}

/// Autobahn's section 6.
fn utf8(cases: &mut Cases) {
    let valid: [&[u8]; 14] = [
        "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
        "κόσμε".as_bytes(),
        b"\x00",
        b"\x7f",
        b"\xc2\x80",
        b"\xdf\xbf",
        b"\xe0\xa0\x80",
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\xef\xbf\xbd",
        b"\xef\xbf\xbf",
        b"\xf0\x90\x80\x80",
        b"\xf4\x8f\xbf\xbf",
        b"\xef\xb7\x90",
    ];
    let invalid: [&[u8]; 25] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80",
        b"\xc0 ",
        b"\xc3",
        b"\xc3(",
        b"\xe2\x82",
        b"\xe2(\xa1",
        b"\xf0\x90\x80",
        b"\xf0\x28\x8c\xbc",
        b"\xfe",
        b"\xff",
        // Overlong encodings.
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\xaf",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\xaf",
        b"\xf0\x8f\xbf\xbf",
        // Beyond the last code point.
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        // Surrogates.
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
    ];
    let outcomes = valid.iter().map(|data| (*data, None));
    let outcomes = outcomes.chain(invalid.iter().map(|data| (*data, Some(ProtocolError::InvalidUtf8))));
    for (data, error) in outcomes {
        let message = if error.is_none() { vec![text(data)] } else { vec![] };
        cases.add(format!("{data:x?}"), &[(TEXT, data)], message.clone(), error);
        let mut pieces: Vec<(u8, &[u8])> = data.chunks(1).map(|byte| (CONTINUE, byte)).collect();
        pieces[0].0 = TEXT_BEGIN;
        pieces.push((CONTINUE_END, b""));
        cases.add(format!("{data:x?} byte by byte"), &pieces, message, error);
        cases.add(format!("{data:x?} as binary"), &[(BINARY, data)], [binary(data)], None);
        let reason = [b"\x03\xe8", data].concat();
        let closed = if error.is_none() { vec![close(Some(1000), std::str::from_utf8(data).unwrap())] } else { vec![] };
        cases.add(format!("{data:x?} as a reason"), &[(CLOSE, &reason)], closed, error);
    }
}

/// Autobahn's section 7.
fn closing(cases: &mut Cases) {
    cases.add("close without body", &[(CLOSE, b"")], [close(None, "")], None);
    cases.add("close with half a code", &[(CLOSE, b"\x03")], [], Some(ProtocolError::TruncatedCloseCode));
    let longest = [b"\x03\xe8", "*".repeat(123).as_bytes()].concat();
    cases.add("the longest reason", &[(CLOSE, &longest)], [close(Some(1000), &"*".repeat(123))], None);
    for (first, payload) in [(TEXT, &b"x"[..]), (PING, b"x"), (CLOSE, b""), (0xff, b"x")] {
        cases.add("after a close", &[(CLOSE, b"\x03\xe9"), (first, payload)], [close(Some(1001), "")], None);
    }
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4501, 4999_u16] {
        cases.add(format!("close {code}"), &[(CLOSE, &code.to_be_bytes())], [close(Some(code), "")], None);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535_u16] {
        let body = [&code.to_be_bytes(), &b"why"[..]].concat();
        cases.add(format!("close {code}"), &[(CLOSE, &body)], [], Some(ProtocolError::InvalidCloseCode));
    }
}

/// Autobahn's section 9, inverted: messages over the limit.
fn limits(cases: &mut Cases) {
    let full = vec![b'x'; MAX];
    let too_big = Some(ProtocolError::TooBig);
    cases.add("one byte too many", &[(TEXT, &vec![b'x'; MAX + 1])], [], too_big);
    cases.add("full and an end", &[(TEXT_BEGIN, &full), (CONTINUE_END, b"")], [text(full.clone())], None);
    cases.add("full and one more", &[(TEXT_BEGIN, &full), (CONTINUE_END, b"x")], [], too_big);
    cases.add("full and a ping", &[(TEXT_BEGIN, &full), (PING, b"p"), (CONTINUE, b"x")], [ping("p")], too_big);
    let huge = vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    cases.raw("the largest length there is", huge, [], too_big);
}

/// A message of a well-behaved client, and its fragments.
#[derive(Clone, Debug)]
enum Sent {
    Text(String, Vec<usize>),
    Binary(Vec<u8>, Vec<usize>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    let cuts = || vec(0_usize..400, 0..4);
    prop_oneof![
        ("\\PC{0,120}", cuts()).prop_map(|(text, cuts)| Sent::Text(text, cuts)),
        (vec(any::<u8>(), 0..400), cuts()).prop_map(|(data, cuts)| Sent::Binary(data, cuts)),
        vec(any::<u8>(), 0..=125).prop_map(Sent::Ping),
        vec(any::<u8>(), 0..=125).prop_map(Sent::Pong),
    ]
}

impl Sent {
    /// Writes a data message in fragments, with a ping after each but the last.
    fn write(&self, mask: [u8; 4], bytes: &mut Vec<u8>, expected: &mut Vec<Incoming>) {
        let (opcode, data, cuts) = match self {
            Self::Text(data, cuts) => (1, data.as_bytes(), cuts),
            Self::Binary(data, cuts) => (2, &data[..], cuts),
            Self::Ping(data) => {
                bytes.extend(client_frame(PING, data, mask));
                return expected.push(ping(&data[..]));
            }
            Self::Pong(data) => {
                bytes.extend(client_frame(PONG, data, mask));
                return expected.push(pong(&data[..]));
            }
        };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(data.len())).collect();
        cuts.sort_unstable();
        let mut opcode = opcode;
        let mut start = 0;
        for cut in cuts {
            bytes.extend(client_frame(opcode, &data[start..cut], mask));
            bytes.extend(client_frame(PING, &mask, mask));
            expected.push(ping(mask));
            (opcode, start) = (0, cut);
        }
        bytes.extend(client_frame(0x80 | opcode, &data[start..], mask));
        expected.push(if matches!(self, Self::Text(..)) { text(data) } else { binary(data) });
    }
}

/// Bytes similar enough to frames to pass the first header.
fn frame_like() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        10 => proptest::sample::select(vec![0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => vec(any::<u8>(), 0..20),
        4 => "[a-zé語🦀]{0,12}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 120..300),
    ];
    let frame = (first, payload, any::<[u8; 4]>()).prop_map(|(first, data, mask)| client_frame(first, &data, mask));
    vec(frame, 1..12).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn however_the_stream_is_cut_the_messages_are_the_same(
        sent in vec((sent(), any::<[u8; 4]>()), 0..8),
        code in proptest::option::of(3000_u16..5000),
        sizes in vec(1_usize..200, 1..20),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (message, mask) in &sent {
            message.write(*mask, &mut bytes, &mut expected);
        }
        bytes.extend(client_frame(CLOSE, &code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default(), *b"last"));
        expected.push(close(code, ""));
        let expected = (expected, None);
        prop_assert_eq!(&decode_in_chunks(&bytes, MAX, &sizes), &expected);
        prop_assert_eq!(&decode_in_chunks(&bytes, MAX, &[usize::MAX]), &expected);
    }

    #[test]
    fn garbage_has_one_outcome_and_stays_within_the_limit(
        bytes in prop_oneof![vec(any::<u8>(), 0..600), frame_like()],
        sizes in vec(1_usize..40, 1..20),
        max in 0_usize..200,
    ) {
        let cut = decode_in_chunks(&bytes, max, &sizes);
        let whole = decode_in_chunks(&bytes, max, &[usize::MAX]);
        prop_assert_eq!(&cut, &whole);
        for message in cut.0 {
            match message {
                Incoming::Text(data) => prop_assert!(data.len() <= max && std::str::from_utf8(&data).is_ok()),
                Incoming::Binary(data) => prop_assert!(data.len() <= max),
                Incoming::Ping(data) | Incoming::Pong(data) => prop_assert!(data.len() <= 125),
                Incoming::Close { reason, .. } => prop_assert!(reason.len() <= 123),
            }
        }
    }
}
