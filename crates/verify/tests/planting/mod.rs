//! A proxy in front of a real server that violates one rule on the wire, once.

mod faults;
mod frames;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub(crate) use faults::Fault;
use faults::{Planter, Towards};
use frames::{Frame, read_frame};

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) url: String,
    planter: Arc<Planter>,
}

impl Proxy {
    /// Starts a proxy for the server at this address; without a fault it changes nothing.
    pub(crate) fn start(server: &str, fault: Option<Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let planter = Arc::new(Planter::new(fault));
        let (server, planting) = (server.strip_prefix("http://").unwrap().to_owned(), planter.clone());
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let (server, planter) = (server.clone(), planting.clone());
                thread::spawn(move || pass(near, &server, &planter));
            }
        });
        Self { url, planter }
    }

    /// Whether the fault was planted.
    pub(crate) fn has_planted(&self) -> bool {
        self.planter.is_done()
    }
}

/// Forwards one connection.
fn pass(mut near: TcpStream, server: &str, planter: &Arc<Planter>) {
    let Ok(mut far) = TcpStream::connect(server) else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let Some(head) = read_head(&mut near) else { return };
    let _ = far.write_all(&head);
    let is_socket = String::from_utf8_lossy(&head).to_ascii_lowercase().contains("upgrade: websocket");
    if !is_socket {
        return pass_bytes(near, far);
    }
    let Some(answer) = read_head(&mut far) else { return };
    let _ = near.write_all(&answer);
    // The other direction's thread writes to the same sockets.
    let client = Arc::new(Mutex::new(near.try_clone().unwrap()));
    let number = planter.connection(client.clone());
    let (mut from_client, mut from_server) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let up = {
        let planter = planter.clone();
        let mut far = far.try_clone().unwrap();
        thread::spawn(move || {
            while let Some(frame) = read_frame(&mut from_client) {
                for frame in planter.pass(number, Towards::Server, frame) {
                    if far.write_all(&frame.bytes).is_err() {
                        break;
                    }
                }
            }
            let _ = far.shutdown(Shutdown::Both);
        })
    };
    while let Some(frame) = read_frame(&mut from_server) {
        for frame in planter.pass(number, Towards::Client, frame) {
            if client.lock().unwrap().write_all(&frame.bytes).is_err() {
                break;
            }
        }
    }
    let _ = near.shutdown(Shutdown::Both);
    let _ = up.join();
}

fn pass_bytes(near: TcpStream, far: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (from, to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let up = thread::spawn(move || copy(from, to));
    copy(far, near);
    let _ = up.join();
}

/// Reads up to the empty line byte by byte, because the following bytes are not part of the head.
fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(head)
}

impl Frame {
    fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.payload).ok()
    }
}
