use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::outbound::{Flushed, Socket};

/// More than the system holds for a socket.
const LARGE: usize = 32 << 20;

/// Every way that this machine has.
fn ways() -> Vec<Box<dyn Batch>> {
    let mut ways: Vec<Box<dyn Batch>> = vec![Box::new(OneByOne)];
    #[cfg(target_os = "linux")]
    match ring::Ring::open() {
        Ok(ring) => ways.push(Box::new(ring)),
        Err(error) => println!("io_uring is not tested, this machine forbids it: {error}"),
    }
    ways
}

async fn connection() -> (Arc<Outbound>, Arc<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let socket = Arc::new(accepted.unwrap().0);
    (Arc::new(Outbound::new(Socket::Direct(socket.clone()), LARGE)), socket, client.unwrap())
}

#[tokio::test]
async fn each_socket_gets_its_frames_in_order() {
    for mut batch in ways() {
        let mut connections = Vec::new();
        for _ in 0..40 {
            connections.push(connection().await);
        }
        // More than one call can take, and several to the same socket in one batch.
        for round in 0..30_u8 {
            for (place, (outbound, ..)) in (0_u8..).zip(&connections) {
                batch.send(outbound, Bytes::copy_from_slice(&[place, round]));
            }
            if round % 10 == 9 {
                batch.submit();
            }
        }
        for (place, (outbound, _, client)) in (0_u8..).zip(&mut connections) {
            let mut read = [0; 60];
            client.read_exact(&mut read).await.unwrap();
            let expected: Vec<u8> = (0..30).flat_map(|round| [place, round]).collect();
            assert_eq!(&read[..], expected);
            assert_eq!(outbound.waiting_bytes(), 0);
        }
    }
}

#[tokio::test]
async fn a_socket_that_takes_no_more_loses_nothing_and_holds_up_nobody() {
    for mut batch in ways() {
        let (slow, socket, mut slow_client) = connection().await;
        let (quick, _, mut quick_client) = connection().await;
        let mut sent = Vec::new();
        let mut number = 0_u32;
        while slow.waiting_bytes() < 100_000 {
            let frame: Vec<u8> = (0..1_000)
                .flat_map(|_| {
                    number += 1;
                    number.to_be_bytes()
                })
                .collect();
            sent.extend_from_slice(&frame);
            batch.send(&slow, frame.into());
            batch.send(&quick, Bytes::from_static(b"quick"));
            batch.submit();
            quick_client.read_exact(&mut [0; 5]).await.unwrap();
        }
        assert_eq!(slow.flush(), Flushed::Blocked);
        let (mut read, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        while read.len() < sent.len() {
            tokio::select! {
                taken = slow_client.read(&mut buffer) => read.extend_from_slice(&buffer[..taken.unwrap()]),
                writable = socket.writable(), if slow.waiting_bytes() > 0 => {
                    writable.unwrap();
                    slow.flush();
                }
            }
        }
        assert!(read == sent, "what was read is not what was sent");
    }
}

#[tokio::test]
async fn a_client_that_is_gone_breaks_its_own_connection_alone() {
    for mut batch in ways() {
        let (gone, socket, client) = connection().await;
        let (there, _, mut there_client) = connection().await;
        // Unread bytes make of this end a reset.
        gone.send(Bytes::from_static(b"x"));
        client.readable().await.unwrap();
        drop(client);
        socket.ready(tokio::io::Interest::READABLE).await.unwrap();
        while !gone.is_broken() {
            batch.send(&gone, Bytes::from_static(b"gone"));
            batch.send(&there, Bytes::from_static(b"there"));
            batch.submit();
            there_client.read_exact(&mut [0; 5]).await.unwrap();
        }
        assert!(!there.is_ended());
    }
}
