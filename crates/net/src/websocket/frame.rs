//! Decodes a client's frame: header and mask (RFC 6455 sections 5.2 and 5.3).

use super::ProtocolError;

/// The type of a frame (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A valid frame header of a client (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    /// The announced payload length, not yet compared with a limit.
    pub(super) payload: u64,
    /// The length of the header in bytes.
    pub(super) size: usize,
}

impl Header {
    /// Parses the header at the start of `bytes`; `None` if it is incomplete.
    ///
    /// Parsing up to 14 bytes again is cheaper than keeping parser state in every idle connection.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(ProtocolError::ReservedOpcode)?;
        if second & 0x80 == 0 {
            return Err(ProtocolError::Unmasked);
        }
        let fin = first & 0x80 != 0;
        let short = second & 0x7f;
        if opcode.is_control() {
            if !fin {
                return Err(ProtocolError::FragmentedControl);
            }
            if short > 125 {
                return Err(ProtocolError::LongControl);
            }
        }

        let (payload, extended) = match short {
            126 => {
                let Some(bytes) = rest.first_chunk() else { return Ok(None) };
                let length = u16::from_be_bytes(*bytes);
                if length < 126 {
                    return Err(ProtocolError::NonMinimalLength);
                }
                (u64::from(length), bytes.len())
            }
            127 => {
                let Some(bytes) = rest.first_chunk() else { return Ok(None) };
                let length = u64::from_be_bytes(*bytes);
                if length >> 63 != 0 {
                    return Err(ProtocolError::LengthOverflow);
                }
                if length <= u64::from(u16::MAX) {
                    return Err(ProtocolError::NonMinimalLength);
                }
                (length, bytes.len())
            }
            length => (u64::from(length), 0),
        };
        let Some(mask) = rest.get(extended..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
        Ok(Some(Self { fin, opcode, mask: *mask, payload, size: 2 + extended + mask.len() }))
    }
}

/// Unmasks a complete payload in place (section 5.3).
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    // Native byte order on both sides, so the order does not matter.
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    // Eight is a multiple of four, so the remainder begins with the first byte of the mask.
    for (byte, mask) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(bytes: &[u8]) -> Result<Option<Header>, ProtocolError> {
        Header::parse(bytes)
    }

    #[test]
    fn the_masked_hello_of_section_5_7() {
        let mut frame = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let header = parse(&frame).unwrap().unwrap();
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        assert_eq!(header, Header { fin: true, opcode: Opcode::Text, mask, payload: 5, size: 6 });
        unmask(&mut frame[6..], mask);
        assert_eq!(&frame[6..], b"Hello");
    }

    #[test]
    fn a_header_is_read_at_its_last_byte_and_not_before() {
        for (header, payload) in [
            (vec![0x82, 0x80, 1, 2, 3, 4], 0),
            (vec![0x82, 0xfd, 1, 2, 3, 4], 125),
            (vec![0x82, 0xfe, 0, 126, 1, 2, 3, 4], 126),
            (vec![0x82, 0xfe, 0xff, 0xff, 1, 2, 3, 4], 0xffff),
            (vec![0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], 0x1_0000),
            (vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4], u64::MAX >> 1),
        ] {
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Ok(None), "{header:?} up to {end}");
            }
            let read = parse(&header).unwrap().unwrap();
            assert_eq!((read.payload, read.size, read.mask), (payload, header.len(), [1, 2, 3, 4]));
        }
    }

    #[test]
    fn lengths_not_in_their_shortest_form_are_refused() {
        assert_eq!(parse(&[0x81, 0xfe, 0, 125]), Err(ProtocolError::NonMinimalLength));
        assert_eq!(parse(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Err(ProtocolError::NonMinimalLength));
        assert_eq!(parse(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(ProtocolError::LengthOverflow));
    }

    #[test]
    fn the_first_two_bytes_are_judged_at_once() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let control = matches!(first & 0x0f, 8..=10);
                let expected = if first & 0x70 != 0 {
                    Err(ProtocolError::ReservedBits)
                } else if !matches!(first & 0x0f, 0..=2 | 8..=10) {
                    Err(ProtocolError::ReservedOpcode)
                } else if second < 0x80 {
                    Err(ProtocolError::Unmasked)
                } else if control && first < 0x80 {
                    Err(ProtocolError::FragmentedControl)
                } else if control && second & 0x7f > 125 {
                    Err(ProtocolError::LongControl)
                } else {
                    Ok(None)
                };
                assert_eq!(parse(&[first, second]), expected, "{first:#x} {second:#x}");
            }
        }
    }

    proptest! {
        #[test]
        fn unmasking_is_what_section_5_3_says(bytes: Vec<u8>, mask: [u8; 4]) {
            let expected: Vec<u8> = bytes.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
            let mut payload = bytes;
            unmask(&mut payload, mask);
            prop_assert_eq!(payload, expected);
        }
    }
}
