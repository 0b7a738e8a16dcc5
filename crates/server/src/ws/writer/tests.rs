use chatsphere_protocol::close;
use chatsphere_realtime::Socket;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, duplex};
use tokio::net::TcpListener;
use tokio::task::yield_now;

use super::*;

/// Far longer than any step takes, so that a busy machine fails no test.
const AMPLE: Duration = Duration::from_secs(20);

/// Each phase of a connection ends on time, whatever write is in progress.
async fn end_a_phase_while_blocked(writer: &mut Writer, write_queue: &WriteQueue) {
    assert!(writer.run(write_queue, AMPLE).now_or_never().is_none(), "it has all been written");
    yield_now().await;
}

#[tokio::test]
async fn what_was_taken_for_writing_outlives_a_phase() {
    let (stream, mut client) = duplex(64);
    let mut writer = Writer::of_stream(stream);
    let write_queue = WriteQueue::new(Socket::Queued, 1 << 20);
    let mut expected = Vec::new();
    for n in 0..20 {
        expected.extend([n; 1_000]);
        write_queue.send(vec![n; 1_000].into());
    }
    let mut received = Vec::new();
    while received.len() < expected.len() / 2 {
        end_a_phase_while_blocked(&mut writer, &write_queue).await;
        let read = client.read_buf(&mut received).now_or_never();
        assert!(read.is_some(), "after {} bytes the rest is lost", received.len());
    }
    write_queue.close(close::NORMAL, "");
    let ending = async {
        writer.run(&write_queue, AMPLE).await;
        drop(writer);
    };
    tokio::join!(ending, client.read_to_end(&mut received)).1.unwrap();
    let (frames, close) = received.split_at(expected.len());
    assert!(frames == expected, "frames were cut");
    assert_eq!(close, [0x88, 2, 0x03, 0xe8]);
}

#[tokio::test]
async fn a_blocked_socket_is_written_to_in_the_next_phase_too() {
    let subscriber = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(subscriber.local_addr().unwrap()), subscriber.accept());
    let (mut client, socket) = (client.unwrap(), Arc::new(accepted.unwrap().0));
    let mut writer = Writer::Direct(socket.clone());
    let write_queue = WriteQueue::new(Socket::Direct(socket), 64 << 20);
    // More bytes than the system buffers.
    write_queue.send(vec![b'x'; 32 << 20].into());
    end_a_phase_while_blocked(&mut writer, &write_queue).await;
    let mut received = vec![0; 32 << 20];
    tokio::select! {
        () = writer.run(&write_queue, AMPLE) => panic!("an end without a reason"),
        read = timeout(AMPLE, client.read_exact(&mut received)) => drop(read.expect("nobody writes the rest").unwrap()),
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_reads_nothing_of_what_waits_is_closed() {
    let (stream, mut client) = duplex(64);
    let mut writer = Writer::of_stream(stream);
    let write_queue = WriteQueue::new(Socket::Queued, 1 << 20);
    write_queue.send(vec![0; 1_000].into());
    let ends = writer.run(&write_queue, AMPLE);
    tokio::pin!(ends);
    // A client that reads slowly stays connected.
    for _ in 0..5 {
        assert!(timeout(UNREAD * 9 / 10, &mut ends).await.is_err() && write_queue.closing().is_none());
        client.read_exact(&mut [0; 64]).await.unwrap();
    }
    timeout(UNREAD + 2 * AMPLE, ends).await.unwrap();
    assert_eq!(write_queue.closing(), Some(close::SLOW_CONSUMER));
}
