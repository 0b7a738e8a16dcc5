use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use chatsphere_core::{Access, Caller, ConnectionId, Event, EventKind, RoomId, Seq, Timestamp, UserId, UserRef, Username};
use chatsphere_net::websocket;
use chatsphere_protocol::close;

use super::*;
use crate::room::{Remaining, Room};
use crate::subscriber::Subscriber;
use crate::write_queue::{Flushed, Socket};

const START: Timestamp = Timestamp::from_millis(1_795_341_370_000);

/// More bytes than the system buffers for a socket.
const LARGE: usize = 32 << 20;

/// Every implementation that this machine supports.
fn implementations() -> Vec<Box<dyn Batch>> {
    let mut batches: Vec<Box<dyn Batch>> = vec![Box::new(OneByOne)];
    #[cfg(target_os = "linux")]
    match io_uring::IoUring::open() {
        Ok(batch) => batches.push(Box::new(batch)),
        Err(error) => println!("io_uring is not tested, this machine forbids it: {error}"),
    }
    batches
}

async fn connection() -> (Arc<WriteQueue>, Arc<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let socket = Arc::new(accepted.unwrap().0);
    (Arc::new(WriteQueue::new(Socket::Direct(socket.clone()), LARGE)), socket, client.unwrap())
}

async fn connections(count: usize) -> Vec<(Arc<WriteQueue>, Arc<TcpStream>, TcpStream)> {
    let mut made = Vec::new();
    while made.len() < count {
        made.push(connection().await);
    }
    made
}

#[tokio::test]
async fn each_socket_gets_its_frames_in_order() {
    for mut batch in implementations() {
        let mut connections = connections(40).await;
        // More than one system call takes, and several frames for the same socket in one batch.
        for pass in 0..30_u8 {
            for (place, (write_queue, ..)) in (0_u8..).zip(&connections) {
                batch.send(write_queue, Bytes::copy_from_slice(&[place, pass]));
            }
            if pass % 10 == 9 {
                batch.submit();
            }
        }
        for (place, (write_queue, _, client)) in (0_u8..).zip(&mut connections) {
            let mut read = [0; 60];
            client.read_exact(&mut read).await.unwrap();
            let expected: Vec<u8> = (0..30).flat_map(|pass| [place, pass]).collect();
            assert_eq!(&read[..], expected);
            assert_eq!(write_queue.waiting_bytes(), 0);
        }
    }
}

#[tokio::test]
async fn more_sockets_than_one_call_takes_are_written_to() {
    for mut batch in implementations() {
        let mut connections = connections(300).await;
        for (write_queue, ..) in &connections {
            batch.send(write_queue, Bytes::from_static(b"all"));
        }
        batch.submit();
        for (_, _, client) in &mut connections {
            client.read_exact(&mut [0; 3]).await.unwrap();
        }
    }
}

/// A shard serves a large room while other threads close some of the connections and send to all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_room_gets_its_events_in_order_whatever_else_is_sent() {
    const EVENTS: u64 = 200;
    let user = UserRef { id: UserId::new(START), username: Username::from_stored("ada".to_owned()) };
    let room = Arc::new(Room::new(RoomId::new(START)));
    let mut clients = Vec::new();
    let mut write_queues = Vec::new();
    for _ in 0..40 {
        let (write_queue, socket, client) = connection().await;
        let caller = Arc::new(Caller::operator(user.clone(), START));
        let subscriber = Arc::new(Subscriber::new(ConnectionId::new(START), caller, write_queue.clone()));
        room.subscribe(&subscriber, Access::Any, Seq::ZERO, 1 << 20, None);
        write_queues.push(write_queue);
        clients.push((client, socket));
    }
    let shard = std::thread::spawn({
        let (room, user) = (room.clone(), user.clone());
        move || {
            let mut batch = fastest_batch();
            for seq in 1..=EVENTS {
                let kind = EventKind::MemberJoined { user: user.clone(), by: user.clone() };
                room.accept(&[Arc::new(Event { room_id: room.id, seq: Seq::new(seq), at: START, kind })], None);
                while room.advance_pass(&mut Vec::new(), &mut *batch, None).remaining != Remaining::Nothing {}
            }
        }
    });
    for pass in 0..500 {
        for write_queue in &write_queues {
            write_queue.send(websocket::text_frame("between"));
        }
        if pass == 250 {
            write_queues[..10].iter().for_each(|write_queue| write_queue.close(close::NORMAL, "bye"));
        }
    }
    shard.join().unwrap();
    for (number, (client, socket)) in clients.iter_mut().enumerate() {
        let write_queue = &write_queues[number];
        let (mut decoder, mut seqs, mut between) = (Vec::new(), Vec::new(), 0);
        while number < 10 || seqs.len() < EVENTS as usize || between < 500 {
            let mut buffer = vec![0; 64 * 1024];
            let read = tokio::select! {
                read = client.read(&mut buffer) => read.unwrap(),
                _ = socket.writable(), if write_queue.waiting_bytes() > 0 => {
                    write_queue.flush();
                    continue;
                }
            };
            assert!(read > 0, "{number} ended without a close");
            decoder.extend_from_slice(&buffer[..read]);
            let closed = take_texts(&mut decoder, |text| match text {
                "between" => between += 1,
                event => seqs.push(serde_json::from_str::<serde_json::Value>(event).unwrap()["seq"].as_u64().unwrap()),
            });
            if closed {
                break;
            }
        }
        assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "{number} got {seqs:?}");
        assert!(number < 10 || (seqs.len() as u64, between) == (EVENTS, 500));
    }
}

/// Removes complete server frames from the buffer; returns whether one was a close.
fn take_texts(bytes: &mut Vec<u8>, mut on_text: impl FnMut(&str)) -> bool {
    loop {
        let (head, length) = match bytes[..] {
            [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
            [_, length, ..] if length < 126 => (2, usize::from(length)),
            _ => return false,
        };
        if bytes.len() < head + length {
            return false;
        }
        let frame: Vec<u8> = bytes.drain(..head + length).collect();
        match frame[0] {
            0x81 => on_text(std::str::from_utf8(&frame[head..]).unwrap()),
            0x88 => return true,
            other => panic!("an opcode {other:x}"),
        }
    }
}

#[tokio::test]
async fn a_socket_that_takes_no_more_loses_nothing_and_holds_up_nobody() {
    for mut batch in implementations() {
        let (slow, socket, mut slow_client) = connection().await;
        let (quick, _, mut quick_client) = connection().await;
        let mut sent = Vec::new();
        let mut number = 0_u32;
        // The kernel may grow its buffer.
        while slow.waiting_bytes() < 100_000 || slow.flush() != Flushed::Blocked {
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
    for mut batch in implementations() {
        let (gone, socket, client) = connection().await;
        let (there, _, mut there_client) = connection().await;
        // With unread bytes, closing the socket resets the connection.
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
