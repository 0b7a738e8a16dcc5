use std::io::Read;
use std::net::TcpStream;

/// A frame as received, and its content.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// A text frame of a server.
    pub(super) fn text(payload: Vec<u8>) -> Self {
        let mut bytes = vec![0x81];
        match payload.len() {
            length @ 0..=125 => bytes.push(length as u8),
            length @ 126..=65_535 => {
                bytes.push(126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&payload);
        Self { bytes, payload }
    }
}

/// The next complete frame; `None` at the end.
pub(super) fn read_frame(stream: &mut TcpStream) -> Option<Frame> {
    let mut bytes = vec![0; 2];
    stream.read_exact(&mut bytes).ok()?;
    let masked = bytes[1] & 0x80 != 0;
    let length = match bytes[1] & 0x7F {
        126 => u64::from(u16::from_be_bytes(more(stream, &mut bytes, 2)?.try_into().unwrap())),
        127 => u64::from_be_bytes(more(stream, &mut bytes, 8)?.try_into().unwrap()),
        length => u64::from(length),
    };
    let mask = if masked { more(stream, &mut bytes, 4)? } else { vec![0; 4] };
    let mut payload = more(stream, &mut bytes, length as usize)?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some(Frame { bytes, payload })
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>, count: usize) -> Option<Vec<u8>> {
    let mut read = vec![0; count];
    stream.read_exact(&mut read).ok()?;
    bytes.extend_from_slice(&read);
    Some(read)
}
