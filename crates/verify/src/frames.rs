//! Encodes and parses WebSocket frames (RFC 6455, section 5.2).

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// Appends a masked frame. Masks protect proxies from web pages; a zero mask saves work.
pub(crate) fn frame(bytes: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    bytes.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => bytes.push(0x80 | length),
        (_, Ok(length)) => {
            bytes.push(0x80 | 126);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
}

/// The opcode and the lengths of header and payload, once the header of a server's frame is complete.
pub(crate) fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let opcode = first & 0x0F;
    Some(match second & 0x7F {
        126 => (opcode, 4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (opcode, 10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (opcode, 2, usize::from(length)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_read_as_they_were_written() {
        for (length, head) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let mut bytes = Vec::new();
            frame(&mut bytes, TEXT, &vec![b'x'; length]);
            assert_eq!(bytes.len(), head + length);
            // A server's frame has no mask, which takes four bytes.
            assert_eq!(header(&bytes), Some((TEXT, head - 4, length)));
            assert_eq!(header(&bytes[..1]), None);
        }
    }
}
