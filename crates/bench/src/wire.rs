//! WebSocket frames and their texts as bytes, with minimal parsing.

use serde_json::Value;

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// Appends a masked frame (RFC 6455, section 5.2). Masks protect proxies from web pages; a zero mask saves work.
pub(crate) fn frame(bytes: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    head(bytes, opcode, payload.len(), 0x80);
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
}

/// Appends an unmasked frame, like a server.
pub(crate) fn server_frame(bytes: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    head(bytes, opcode, payload.len(), 0);
    bytes.extend_from_slice(payload);
}

fn head(bytes: &mut Vec<u8>, opcode: u8, length: usize, mask: u8) {
    bytes.push(0x80 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..=125), _) => bytes.push(mask | length),
        (_, Ok(length)) => {
            bytes.push(mask | 126);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
}

/// The opcode and the lengths of header and payload, once the header is complete.
pub(crate) fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let opcode = first & 0x0F;
    Some(match second & 0x7F {
        126 => (opcode, 4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (opcode, 10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (opcode, 2, usize::from(length)),
    })
}

/// The content of a close frame.
pub(crate) fn closed(payload: &[u8]) -> String {
    let code = payload.get(..2).and_then(|code| Some(u16::from_be_bytes(code.try_into().ok()?))).unwrap_or(1005);
    format!("the server closed a socket with {code}: {}", String::from_utf8_lossy(payload.get(2..).unwrap_or_default()))
}

/// The `seq` of a `new_message` frame. Its first fields have fixed lengths, so it is not parsed.
pub(crate) fn new_message(text: &[u8]) -> Option<u64> {
    numbered(text, br#"{"type":"new_message","roomId":""#)
}

/// Frames of this kind begin with type, room and `seq`.
fn numbered(text: &[u8], start: &[u8]) -> Option<u64> {
    const ROOM: usize = 36;
    number(text.strip_prefix(start)?.get(ROOM..)?.strip_prefix(br#"","seq":"#)?)
}

/// The number at the start of a text.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = text.get(..digits).filter(|digits| !digits.is_empty())?;
    Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// An answer to a `join`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JoinAnswer {
    /// `join_confirmation`, with the room's newest `seq`.
    Confirmed(u64),
    /// `previous_messages`, and whether more of them follow.
    Page { more: bool },
    /// `error`.
    Refused(String),
}

/// Recognises an answer to a `join`. A page is parsed only if it does not end as expected.
pub(crate) fn join_answer(text: &[u8]) -> Option<JoinAnswer> {
    if text.starts_with(br#"{"type":"previous_messages""#) {
        if text.ends_with(br#","more":false}"#) {
            return Some(JoinAnswer::Page { more: false });
        }
        if text.ends_with(br#","more":true}"#) {
            return Some(JoinAnswer::Page { more: true });
        }
    }
    if let Some(seq) = numbered(text, br#"{"type":"join_confirmation","roomId":""#) {
        return Some(JoinAnswer::Confirmed(seq));
    }
    if text.starts_with(br#"{"type":"new_message""#) {
        return None;
    }
    let frame: Value = serde_json::from_slice(text).ok()?;
    match frame["type"].as_str()? {
        "join_confirmation" => Some(JoinAnswer::Confirmed(frame["seq"].as_u64().unwrap_or(0))),
        "previous_messages" => Some(JoinAnswer::Page { more: frame["more"] == true }),
        "error" => Some(JoinAnswer::Refused(frame.to_string())),
        _ => None,
    }
}

/// The `code` of an `error` frame.
pub(crate) fn error_code(text: &[u8]) -> Option<String> {
    if !text.starts_with(br#"{"type":"error""#) {
        return None;
    }
    let frame: Value = serde_json::from_slice(text).ok()?;
    Some(frame["code"].as_str().unwrap_or("an error").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_read_as_they_were_written() {
        for (length, head) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let (mut bytes, mut of_server) = (Vec::new(), Vec::new());
            frame(&mut bytes, TEXT, &vec![b'x'; length]);
            server_frame(&mut of_server, TEXT, &vec![b'x'; length]);
            assert_eq!((bytes.len(), of_server.len()), (head + length, head - 4 + length));
            assert_eq!(header(&of_server), Some((TEXT, head - 4, length)));
            assert_eq!(header(&bytes), Some((TEXT, head - 4, length)));
            assert_eq!(header(&bytes[..1]), None);
        }
    }

    #[test]
    fn the_number_is_found_without_parsing() {
        let text = br#"{"type":"new_message","roomId":"0198c0de-7c1a-7000-8000-0123456789ab","seq":1234,"message":{}}"#;
        assert_eq!(new_message(text), Some(1234));
        assert_eq!(new_message(br#"{"type":"pong"}"#), None);
        assert_eq!(new_message(b""), None);
    }

    #[test]
    fn answers_to_a_join_are_told_apart() {
        let confirmed = br#"{"type":"join_confirmation","roomId":"0198c0de-7c1a-7000-8000-0123456789ab","seq":7,"epoch":"e"}"#;
        assert_eq!(join_answer(confirmed), Some(JoinAnswer::Confirmed(7)));
        assert_eq!(join_answer(br#"{"seq":7,"type":"join_confirmation"}"#), Some(JoinAnswer::Confirmed(7)));
        let page = |end: &str| join_answer(format!(r#"{{"type":"previous_messages","messages":[]{end}"#).as_bytes());
        assert_eq!(page(r#","more":false}"#), Some(JoinAnswer::Page { more: false }));
        assert_eq!(page(r#","more":true}"#), Some(JoinAnswer::Page { more: true }));
        assert_eq!(page(r#","more":true,"ref":"r"}"#), Some(JoinAnswer::Page { more: true }));
        assert!(matches!(join_answer(br#"{"type":"error","code":"not_a_member"}"#), Some(JoinAnswer::Refused(_))));
        assert_eq!(join_answer(br#"{"type":"hello"}"#), None);
        assert_eq!(error_code(br#"{"type":"error","code":"rate_limited"}"#).as_deref(), Some("rate_limited"));
    }
}
