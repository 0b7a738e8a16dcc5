use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::error::RunError;
use crate::wire::{self, TEXT};

/// The data that the reader sends on each socket, twice, before the first message, like a client's handshake and `join`. The
/// kernel treats a socket that never received anything as receive-only, and acknowledges its data when it is read, in the
/// reader's time; for other sockets in the writer's time.
pub(super) const QUESTION: &[u8] = &[b'?'; 128];
pub(super) const QUESTIONS: usize = 2;
/// Writes that answer it, like the confirmation and the page of a `join`.
pub(super) const ANSWERS: usize = 2;

/// Writes frames to sockets; started by `floor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    sockets: usize,
    #[arg(long)]
    frame_bytes: usize,
    #[arg(long)]
    in_flight: usize,
}

/// Accepts the sockets, then writes a message to each of them for every byte on standard input, with as many messages per write
/// as may be in flight. Ends with standard input.
pub(crate) fn run(args: &Args) -> Result<(), RunError> {
    serve(args).map_err(|source| RunError::Io { what: "writing the floor", source })
}

fn serve(args: &Args) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    let mut sockets = Vec::with_capacity(args.sockets);
    for _ in 0..args.sockets {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        for _ in 0..QUESTIONS {
            socket.read_exact(&mut [0; QUESTION.len()])?;
            for _ in 0..ANSWERS {
                socket.write_all(&new_message(0, args.frame_bytes))?;
            }
        }
        sockets.push(socket);
    }
    writeln!(out, "ready")?;
    out.flush()?;

    let mut asked = io::stdin().lock();
    let mut places = vec![0; args.in_flight];
    let mut last = 0;
    while let Ok(()) = asked.read_exact(&mut places) {
        let frames: Vec<Vec<u8>> = places.iter().zip(last + 1..).map(|(_, seq)| new_message(seq, args.frame_bytes)).collect();
        last += frames.len() as u64;
        match frames.as_slice() {
            [frame] => sockets.iter_mut().try_for_each(|socket| socket.write_all(frame))?,
            frames => sockets.iter_mut().try_for_each(|socket| write_all(socket, frames))?,
        }
    }
    Ok(())
}

/// Writes all frames at once, unless the socket accepts less.
fn write_all(socket: &mut TcpStream, frames: &[Vec<u8>]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let written = socket.write_vectored(rest)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// A frame that has the server's length, and the fields that the reader uses.
fn new_message(seq: u64, bytes: usize) -> Vec<u8> {
    let start = format!(r#"{{"type":"new_message","roomId":"00000000-0000-7000-8000-000000000000","seq":{seq},"message":""#);
    let padding = bytes.saturating_sub(start.len() + 2);
    let text = format!("{start}{}\"}}", "x".repeat(padding));
    let mut frame = Vec::with_capacity(bytes + 10);
    wire::server_frame(&mut frame, TEXT, text.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_long_as_asked_for_and_numbered() {
        for seq in [1, 1_000_000] {
            let frame = new_message(seq, 575);
            let (opcode, head, length) = wire::header(&frame).unwrap();
            assert_eq!((opcode, length, frame.len()), (TEXT, 575, head + 575));
            assert_eq!(wire::new_message(&frame[head..]), Some(seq));
        }
    }
}
