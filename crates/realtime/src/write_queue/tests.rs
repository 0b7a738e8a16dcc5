use futures_util::FutureExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::state::MAX_UNACCOUNTED;
use super::*;

fn queued(max_bytes: usize) -> WriteQueue {
    WriteQueue::new(Socket::Queued, max_bytes)
}

#[test]
fn a_queue_over_its_bound_ends_with_4008_and_skips_nothing_before() {
    let write_queue = queued(10);
    write_queue.send(Bytes::from_static(b"12345678"));
    assert_eq!(write_queue.closing(), None);
    write_queue.send(Bytes::from_static(b"12345678"));
    assert_eq!(write_queue.closing(), Some(close::SLOW_CONSUMER));
    write_queue.send(Bytes::from_static(b"later"));
    let taken = write_queue.take();
    assert_eq!(taken.len(), 2, "how long to wait, and the close frame: what waited is given up whole");
    assert_eq!(write_queue.taken_written(), Flushed::End);
}

#[test]
fn a_frame_larger_than_the_bound_passes_alone() {
    let write_queue = queued(10);
    write_queue.send(Bytes::from_static(b"12345678901234567890"));
    assert_eq!(write_queue.closing(), None);
    write_queue.send(Bytes::from_static(b"1"));
    assert_eq!(write_queue.closing(), Some(close::SLOW_CONSUMER));
}

#[test]
fn a_close_comes_after_what_waits() {
    let write_queue = queued(100);
    write_queue.send(Bytes::from_static(b"a"));
    write_queue.close(close::GOING_AWAY, "bye");
    write_queue.close(close::TOKEN_INVALID, "too late");
    let taken = write_queue.take();
    assert_eq!(&taken[0][..], b"a");
    assert!((1_000..=2_000).contains(&wait(&taken[1], 1001)));
    assert_eq!(&taken[2][2..4], &1001u16.to_be_bytes());
    assert_eq!(taken.len(), 3);
}

/// The delay that a `closing` frame asks for.
fn wait(frame: &[u8], code: u16) -> u64 {
    let closing: serde_json::Value = serde_json::from_slice(&frame[2..]).unwrap();
    assert_eq!((&closing["type"], &closing["code"]), (&"closing".into(), &code.into()));
    closing["retryAfterMs"].as_u64().unwrap()
}

#[test]
fn a_close_says_how_long_to_wait_where_that_helps() {
    for code in [close::GOING_AWAY, close::TRY_AGAIN_LATER, close::SLOW_CONSUMER, close::FLOOD] {
        let write_queue = queued(100);
        write_queue.close_with_retry_after(code, "", Duration::from_millis(700));
        let taken = write_queue.take();
        assert_eq!((taken.len(), wait(&taken[0], code)), (2, 700));
    }
    for code in [close::NORMAL, close::TOKEN_EXPIRED, close::TOKEN_INVALID, close::PROTOCOL_ERROR] {
        let write_queue = queued(100);
        write_queue.close(code, "");
        assert_eq!(write_queue.take().len(), 1, "{code}");
    }
}

#[test]
fn partial_writes_keep_their_place() {
    let mut state = State::default();
    for frame in [&b"abc"[..], b"de", b"f"] {
        state.queued.push_back(Bytes::copy_from_slice(frame));
        state.queued_bytes += frame.len();
    }
    state.advance(4);
    assert_eq!(
        (state.queued_bytes, state.queued.len(), &state.queued[0][..], state.head_partly_written),
        (2, 2, &b"e"[..], true)
    );
    state.begin_close(close::SLOW_CONSUMER, "", None, false);
    assert_eq!((state.queued.len(), &state.queued[0][..]), (3, &b"e"[..]), "the begun frame is finished first");
}

#[tokio::test]
async fn room_is_made_by_progress_or_by_the_end() {
    let write_queue = Arc::new(queued(10));
    write_queue.send(Bytes::from_static(b"123456789"));
    let waiter = tokio::spawn({
        let write_queue = write_queue.clone();
        async move { write_queue.wait_for_capacity().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    let _ = write_queue.take();
    write_queue.taken_written();
    waiter.await.unwrap();
}

/// A direct socket and its client side.
async fn direct(max_bytes: usize) -> (WriteQueue, Arc<TcpStream>, TcpStream) {
    let subscriber = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(subscriber.local_addr().unwrap()), subscriber.accept());
    let socket = Arc::new(accepted.unwrap().0);
    (WriteQueue::new(Socket::Direct(socket.clone()), max_bytes), socket, client.unwrap())
}

/// More bytes than the system buffers for a socket.
const LARGE: usize = 32 << 20;

fn frame(bytes: usize) -> Bytes {
    vec![b'x'; bytes].into()
}

/// Reads all sent bytes, while `write` stands in for a thread other than the connection's task.
async fn drain(client: &mut TcpStream, socket: &TcpStream, write_queue: &WriteQueue, bytes: usize, write: impl Fn()) {
    let (mut read, mut buffer) = (0, vec![0; 64 * 1024]);
    while read < bytes {
        tokio::select! {
            taken = client.read(&mut buffer) => read += taken.unwrap(),
            writable = socket.writable(), if write_queue.waiting_bytes() > 0 => {
                writable.unwrap();
                write();
            }
        }
    }
}

#[tokio::test]
async fn whoever_writes_tells_those_who_wait_for_room() {
    let (write_queue, socket, mut client) = direct(LARGE).await;
    write_queue.send(frame(LARGE));
    let mut room = Box::pin(write_queue.wait_for_capacity());
    assert!((&mut room).now_or_never().is_none());
    drain(&mut client, &socket, &write_queue, LARGE, || write_queue.uncork()).await;
    assert!(room.now_or_never().is_some(), "all was taken, and nobody said so");
}

#[tokio::test]
async fn what_is_only_held_closes_nobody() {
    let (write_queue, _, mut client) = direct(1_000).await;
    for _ in 0..30 {
        let _ = write_queue.cork(frame(100));
        assert!(!write_queue.over_high_watermark(), "what the client would take looks like what it does not");
    }
    assert_eq!(write_queue.closing(), None, "the client has had no chance to take anything");
    write_queue.uncork();
    client.read_exact(&mut [0; 3_000]).await.unwrap();
}

#[tokio::test]
async fn what_is_held_counts_only_if_it_cannot_be_written() {
    let (write_queue, _, mut client) = direct(1_000).await;
    assert!(write_queue.cork(frame(200)));
    write_queue.send(frame(900));
    assert_eq!(write_queue.closing(), None);
    client.read_exact(&mut [0; 1_100]).await.unwrap();
    // A frame larger than the bound passes alone; nothing may be queued behind it if the client does not read.
    assert!(write_queue.cork(frame(LARGE)));
    assert_eq!(write_queue.closing(), None);
    assert!(!write_queue.cork(frame(1)));
    assert_eq!(write_queue.closing(), Some(close::SLOW_CONSUMER));
}

#[tokio::test]
async fn a_socket_found_broken_calls_its_task() {
    let (write_queue, socket, client) = direct(1_000).await;
    // With unread bytes, closing the socket resets the connection.
    write_queue.send(frame(1));
    client.readable().await.unwrap();
    drop(client);
    socket.ready(tokio::io::Interest::READABLE).await.unwrap();
    assert!(write_queue.work().now_or_never().is_none(), "nothing is known yet");
    while !write_queue.is_ended() {
        let _ = write_queue.cork(frame(500));
    }
    assert!(write_queue.is_broken());
    assert!(write_queue.work().now_or_never().is_some(), "nobody else takes the connection down");
}

#[tokio::test]
async fn what_comes_while_a_frame_is_under_way_follows_it() {
    let (write_queue, socket, mut client) = direct(1_000).await;
    let (_, first) = write_queue.begin_send(Bytes::from_static(b"one ")).unwrap();
    write_queue.send(Bytes::from_static(b"two "));
    assert!(!write_queue.cork(Bytes::from_static(b"three ")), "whoever ends the first writes it");
    assert!(write_queue.begin_send(Bytes::from_static(b"four ")).is_none());
    write_queue.close(close::GOING_AWAY, "bye");
    assert!(write_queue.work().now_or_never().is_some());
    assert_eq!(write_queue.flush(), Flushed::All, "there is nothing to do for the task yet");
    assert_eq!(socket.try_write(b"on").unwrap(), 2);
    write_queue.finish_send(first, Ok(2));
    assert!(write_queue.work().now_or_never().is_some(), "the close frame is out, and the task has to end the connection");
    assert_eq!(write_queue.flush(), Flushed::End);
    let mut read = [0; 19];
    client.read_exact(&mut read).await.unwrap();
    assert_eq!(&read[..], b"one two three four ".as_slice());
    let mut closing = [0; 2 + 50];
    client.read_exact(&mut closing).await.unwrap();
    wait(&closing, 1001);
    client.read_exact(&mut read[..7]).await.unwrap();
    assert_eq!(&read[2..4], &1001u16.to_be_bytes());
}

#[tokio::test]
async fn a_frame_under_way_makes_nobody_slow() {
    let (write_queue, _, mut client) = direct(1_000).await;
    let (_, first) = write_queue.begin_send(Bytes::from_static(b"one ")).unwrap();
    write_queue.send(frame(1_500));
    assert_eq!(write_queue.closing(), None, "nobody has asked the socket");
    write_queue.finish_send(first, Err(io::ErrorKind::WouldBlock.into()));
    client.read_exact(&mut [0; 1_504]).await.unwrap();
    // The doubled bound is a bound too.
    let (_, first) = write_queue.begin_send(Bytes::from_static(b"one ")).unwrap();
    write_queue.send(frame(2_001));
    assert_eq!(write_queue.closing(), Some(close::SLOW_CONSUMER));
    write_queue.finish_send(first, Ok(4));
}

#[tokio::test]
async fn what_would_block_waits_before_what_came_behind() {
    let (write_queue, _, mut client) = direct(1_000).await;
    let (_, first) = write_queue.begin_send(Bytes::from_static(b"one ")).unwrap();
    write_queue.send(Bytes::from_static(b"two "));
    write_queue.finish_send(first, Err(io::ErrorKind::WouldBlock.into()));
    let mut read = [0; 8];
    client.read_exact(&mut read).await.unwrap();
    assert_eq!(&read[..], b"one two ".as_slice());
    assert_eq!(write_queue.waiting_bytes(), 0);
}

#[tokio::test]
async fn a_frame_under_way_keeps_no_given_up_connection() {
    let (write_queue, ..) = direct(1_000).await;
    let (_, first) = write_queue.begin_send(Bytes::from_static(b"one ")).unwrap();
    write_queue.abandon();
    assert_eq!(write_queue.flush(), Flushed::End);
    write_queue.finish_send(first, Ok(4));
    assert!(write_queue.is_broken());

    // The connection's task learns of a socket that breaks meanwhile.
    let (write_queue, ..) = direct(1_000).await;
    let (_, first) = write_queue.begin_send(Bytes::from_static(b"one ")).unwrap();
    write_queue.send(Bytes::from_static(b"two "));
    write_queue.finish_send(first, Err(io::ErrorKind::BrokenPipe.into()));
    assert!(write_queue.work().now_or_never().is_some());
    assert_eq!(write_queue.flush(), Flushed::End);
}

#[test]
fn what_waits_for_all_connections_of_a_user_is_bounded() {
    const FRAME: usize = 2 * MAX_UNACCOUNTED;
    let limits = chatsphere_core::Limits { outbound_bytes_per_user: 5 * FRAME, ..Default::default() };
    let budget = Arc::new(chatsphere_core::budget::Budget::new(&limits));
    let user = chatsphere_core::UserId::new(chatsphere_core::Timestamp::from_millis(1));
    let connections: Vec<WriteQueue> = (0..3)
        .map(|_| {
            let write_queue = queued(4 * FRAME);
            write_queue.count_for(Owner::new(budget.clone(), Some(user)));
            write_queue
        })
        .collect();
    let send = |number: usize| connections[number].send(Bytes::from(vec![0; FRAME]));
    for number in [0, 1, 2, 0, 1] {
        send(number);
    }
    assert!(connections.iter().all(|write_queue| write_queue.closing().is_none()));
    send(2);
    assert_eq!(connections[2].closing(), Some(close::SLOW_CONSUMER), "it added to what was as much as may be");
    assert!(connections[..2].iter().all(|write_queue| write_queue.closing().is_none()));
    // Abandoned, read and dropped queues all release their bytes.
    send(0);
    assert_eq!(connections[0].closing(), None);
    connections[1].take();
    connections[1].taken_written();
    connections[0].abandon();
    assert!(!budget.account(user).is_queue_over(1) && budget.account(user).queue(5 * FRAME));
}

#[test]
fn connections_that_are_read_outlive_their_users_stalled_ones() {
    const FRAME: usize = 2 * MAX_UNACCOUNTED;
    let limits = chatsphere_core::Limits { outbound_bytes_per_user: 8 * FRAME, ..Default::default() };
    let budget = Arc::new(chatsphere_core::budget::Budget::new(&limits));
    let user = chatsphere_core::UserId::new(chatsphere_core::Timestamp::from_millis(1));
    let connection = || {
        let write_queue = queued(8 * FRAME);
        write_queue.count_for(Owner::new(budget.clone(), Some(user)));
        write_queue
    };
    let send = |write_queue: &WriteQueue| write_queue.send(Bytes::from(vec![0; FRAME]));
    let stalled = connection();
    (0..8).for_each(|_| send(&stalled));
    assert_eq!(stalled.closing(), None);
    // The user's budget is full, and this connection reads what it gets.
    let read = connection();
    for _ in 0..20 {
        send(&read);
        assert_eq!(read.closing(), None);
        read.take();
        read.taken_written();
    }
    // Many short queues are closed too, at twice the bound.
    let many: Vec<WriteQueue> = (0..20).map(|_| connection()).collect();
    many.iter().for_each(send);
    assert_eq!(many.iter().filter(|write_queue| write_queue.closing().is_none()).count(), 8);
    // So is a single long queue.
    drop(many);
    (0..3).for_each(|_| send(&read));
    assert_eq!(read.closing(), Some(close::SLOW_CONSUMER));
}

/// The length of a frame of a signal.
const SIGNAL: usize = 150;

/// A queue of a user whose queues have this bound together, and the account of that user.
fn of_user(max_bytes: usize, outbound_bytes_per_user: usize) -> (WriteQueue, Arc<Account>) {
    let limits = chatsphere_core::Limits { outbound_bytes_per_user, ..Default::default() };
    let budget = Arc::new(chatsphere_core::budget::Budget::new(&limits));
    let user = chatsphere_core::UserId::new(chatsphere_core::Timestamp::from_millis(1));
    let write_queue = queued(max_bytes);
    write_queue.count_for(Owner::new(budget.clone(), Some(user)));
    (write_queue, budget.account(user))
}

#[test]
fn signals_alone_hold_up_nothing() {
    let write_queue = queued(80_000);
    while write_queue.send_if_current(frame(SIGNAL)) {}
    assert!(write_queue.waiting_bytes() > 0);
    assert!(!write_queue.over_high_watermark(), "a room waits for it");
    assert!(write_queue.has_capacity(), "a page of a replay waits for it");
}

#[test]
fn events_have_the_whole_bound_however_many_signals_wait() {
    let write_queue = queued(80_000);
    for _ in 0..10 {
        while write_queue.send_if_current(frame(SIGNAL)) {}
        write_queue.take();
        write_queue.wrote(5_000);
    }
    while write_queue.send_if_current(frame(SIGNAL)) {}
    (0..8).for_each(|_| write_queue.send(frame(10_000)));
    assert_eq!(write_queue.closing(), None, "signals have taken its place");
    (0..2).for_each(|_| write_queue.send(frame(10_000)));
    assert_eq!(write_queue.closing(), Some(close::SLOW_CONSUMER));
}

#[test]
fn a_signal_closes_nobody_whose_user_has_much_unread() {
    // A short queue, which is not counted yet, while others hold more than all of them may.
    let (write_queue, account) = of_user(1 << 20, 1_000_000);
    assert!(!account.queue(2_500_000));
    write_queue.send(frame(MAX_UNACCOUNTED - 10));
    assert!(!write_queue.send_if_current(frame(SIGNAL)));
    assert_eq!(write_queue.closing(), None);
    // A longer queue, and what is left of the bound is less than the signal.
    let (write_queue, account) = of_user(8 * MAX_UNACCOUNTED, 1_000_000);
    write_queue.send(frame(2 * MAX_UNACCOUNTED));
    assert!(account.queue(1_000_000 - 2 * MAX_UNACCOUNTED));
    assert!(!write_queue.send_if_current(frame(SIGNAL)));
    assert_eq!(write_queue.closing(), None);
    // Signals leave most of the user's bound to events.
    let (write_queue, account) = of_user(1 << 20, 100_000);
    while write_queue.send_if_current(frame(SIGNAL)) {}
    assert!(account.queue(85_000));
}
