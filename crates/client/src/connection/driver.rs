//! The task behind a connection: connects, drives [`State`], delivers updates, and reconnects.

use std::future::Future;
use std::time::Duration;

use chatsphere_protocol::close;
use chatsphere_protocol::frames::Hello;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ConnectionState;
use super::backoff::Backoff;
use super::command::Command;
use super::options::ConnectOptions;
use super::socket::{Ended, Socket, Turn};
use super::state::{Delivery, State};
use super::update::Update;
use crate::client::{Client, Token};
use crate::frame::Frame;

/// Timeout for connecting, including the server's `hello`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for the answer to a ping.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for closing.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Upper limit of the delay that the server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A connection that lasted this long resets the backoff.
const LASTED: Duration = Duration::from_secs(5);

pub(super) struct Driver {
    pub(super) client: Client,
    pub(super) options: ConnectOptions,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) updates: mpsc::Sender<Delivery>,
    pub(super) status: watch::Sender<ConnectionState>,
    pub(super) state: State,
    /// The delay before reconnecting that the server asked for in the last frame.
    pub(super) asked_to_wait: Duration,
}

/// The application dropped its handle.
struct Dropped;

/// Whether to reconnect.
enum Next {
    Reconnect { after: Duration, reason: String },
    Closed { code: u16, reason: String },
}

impl Driver {
    pub(super) async fn run(mut self) {
        // Whatever ends the loop, the application sees the end of its updates.
        let _ = self.keep_connected().await;
    }

    async fn keep_connected(&mut self) -> Result<(), Dropped> {
        let mut backoff = Backoff::new(self.options.backoff.0, self.options.backoff.1);
        let mut tokens = self.client.watch_token();
        // The rejected token, and the number of consecutive rejections.
        let mut refused = 0;
        loop {
            self.asked_to_wait = Duration::ZERO;
            let token = tokens.borrow_and_update().clone();
            let (client, largest_frame) = (self.client.clone(), self.options.largest_frame);
            let ended = match self.meanwhile(open(&client, &token, largest_frame)).await? {
                Err((ended, asked_to_wait)) => {
                    self.asked_to_wait = asked_to_wait;
                    ended
                }
                Ok((socket, hello)) => {
                    let since = Instant::now();
                    refused = 0;
                    self.state.connected(&hello);
                    self.status.send_replace(ConnectionState::Connected);
                    let ended = self.converse(socket, &hello, &mut tokens).await;
                    self.state.disconnected();
                    if since.elapsed() >= LASTED {
                        backoff.reset();
                    }
                    ended?
                }
            };
            let next = match ended {
                Ended::Lost(reason) => reconnect(&mut backoff, reason),
                Ended::Closed { code, reason } if !close::may_reconnect(code) => Next::Closed { code, reason },
                Ended::Closed { code: close::TOKEN_EXPIRED, reason } => {
                    self.renew(&token, close::TOKEN_EXPIRED, reason, &mut refused, &mut backoff).await?
                }
                Ended::Refused(401) => {
                    let reason = "the server does not accept the token".to_owned();
                    self.renew(&token, close::TOKEN_INVALID, reason, &mut refused, &mut backoff).await?
                }
                Ended::Refused(status) => reconnect(&mut backoff, format!("the server answered with HTTP {status}")),
                Ended::Closed { code, reason } => {
                    if code == close::FLOOD {
                        backoff.be_patient();
                    }
                    // Up to a quarter longer, because many clients may have got the same delay.
                    let told = self.asked_to_wait.mul_f64(1.0 + rand::random::<f64>() / 4.0);
                    let hint = told.max(asked_for(&reason)).min(LONGEST_WAIT);
                    match reconnect(&mut backoff, format!("closed with {code}: {reason}")) {
                        Next::Reconnect { after, reason } => Next::Reconnect { after: after.max(hint), reason },
                        closed @ Next::Closed { .. } => closed,
                    }
                }
            };
            match next {
                Next::Closed { code, reason } => return self.closed(code, reason).await,
                Next::Reconnect { after, reason } => {
                    tracing::debug!(?after, reason, "reconnecting");
                    self.status.send_replace(ConnectionState::Reconnecting);
                    self.state.update(Update::Reconnecting { after, reason });
                    self.hand_out().await?;
                    self.meanwhile(sleep(after)).await?;
                }
            }
        }
    }

    /// Gets a new token after the server has rejected the current one.
    async fn renew(
        &mut self,
        token: &Token,
        code: u16,
        reason: String,
        refused: &mut u32,
        backoff: &mut Backoff,
    ) -> Result<Next, Dropped> {
        *refused += 1;
        if self.client.token() != *token {
            return Ok(reconnect(backoff, reason));
        }
        let Some(provider) = self.options.tokens.clone() else { return Ok(Next::Closed { code, reason }) };
        // If fresh tokens from the provider are rejected too, asking again would never end.
        if *refused > 2 {
            return Ok(Next::Closed { code, reason });
        }
        let answer = self.meanwhile(provider.token()).await?;
        let set = answer.and_then(|token| Ok(self.client.set_token(token)?));
        Ok(match set {
            Ok(()) => reconnect(backoff, reason),
            Err(error) => {
                // No token was tried.
                *refused -= 1;
                reconnect(backoff, format!("no new token is to be had: {error}"))
            }
        })
    }

    /// Drives everything while the socket is open.
    async fn converse(
        &mut self,
        mut socket: Socket,
        hello: &Hello,
        tokens: &mut watch::Receiver<Token>,
    ) -> Result<Ended, Dropped> {
        let interval = Duration::from_millis(hello.heartbeat_ms.max(1_000));
        let mut silent_since = Instant::now();
        let mut pinged = false;
        loop {
            let now = Instant::now();
            while socket.has_room()
                && let Some(frame) = self.state.next_frame(now)
            {
                socket.queue(frame);
            }
            // While the application takes no updates, the socket is not read, and silence has no meaning.
            let reading = !self.state.has_deliveries();
            if !reading {
                (silent_since, pinged) = (now, false);
            }
            let heartbeat = silent_since + if pinged { interval + PONG_TIMEOUT } else { interval };
            let wake = self.state.wakes_at().filter(|_| socket.has_room()).map_or(heartbeat, |at| at.min(heartbeat));
            tokio::select! {
                permit = self.updates.reserve(), if !reading => match permit {
                    Ok(permit) => if let Some(delivery) = self.state.next_delivery() { permit.send(delivery) },
                    Err(_) => self.state.discard_deliveries(),
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.state.command(command),
                    None => {
                        let _ = timeout(CLOSE_TIMEOUT, socket.close()).await;
                        return Err(Dropped);
                    }
                },
                turn = socket.turn(reading) => {
                    if !matches!(turn, Turn::Sent) {
                        (silent_since, pinged) = (Instant::now(), false);
                    }
                    match turn {
                        Turn::Text(text) => match Frame::parse(&text) {
                            Ok(Frame::Closing(wait)) => self.asked_to_wait = wait,
                            Ok(frame) => if let Err(broken) = self.state.frame(frame, Instant::now()) {
                                let _ = timeout(CLOSE_TIMEOUT, socket.close()).await;
                                return Ok(Ended::Lost(broken.0.to_owned()));
                            },
                            Err(error) => tracing::warn!(%error, "a frame of the server can't be read"),
                        },
                        Turn::Alive | Turn::Sent => {}
                        Turn::Ended(ended) => return Ok(ended),
                    }
                }
                Ok(()) = tokens.changed() => {
                    let token = tokens.borrow_and_update().clone();
                    self.state.authenticate(token.as_str());
                }
                () = sleep_until(wake) => {
                    if Instant::now() >= heartbeat {
                        if pinged {
                            return Ok(Ended::Lost("the server fell silent".to_owned()));
                        }
                        pinged = true;
                        self.state.ping();
                    }
                }
            }
        }
    }

    /// Reports the end of the connection to everyone.
    async fn closed(&mut self, code: u16, reason: String) -> Result<(), Dropped> {
        self.status.send_replace(ConnectionState::Closed { code, reason: reason.clone() });
        // Dropping the state tells waiters that they get no answer.
        self.state = State::new(self.options.ordered);
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        let _ = self.updates.send((Update::Closed { code, reason }, None)).await;
        Ok(())
    }

    /// Delivers all updates, and handles commands meanwhile.
    async fn hand_out(&mut self) -> Result<(), Dropped> {
        while self.state.has_deliveries() {
            tokio::select! {
                permit = self.updates.reserve() => match permit {
                    Ok(permit) => if let Some(delivery) = self.state.next_delivery() { permit.send(delivery) },
                    Err(_) => self.state.discard_deliveries(),
                },
                command = self.commands.recv() => self.state.command(command.ok_or(Dropped)?),
            }
        }
        Ok(())
    }

    /// Handles commands until `future` completes.
    async fn meanwhile<F: Future>(&mut self, future: F) -> Result<F::Output, Dropped> {
        tokio::pin!(future);
        loop {
            tokio::select! {
                output = &mut future => return Ok(output),
                command = self.commands.recv() => self.state.command(command.ok_or(Dropped)?),
            }
        }
    }
}

/// Connects and waits for the server's `hello`. On failure, also returns the delay that the server asked for.
async fn open(client: &Client, token: &Token, largest_frame: usize) -> Result<(Socket, Hello), (Ended, Duration)> {
    let mut wait = Duration::ZERO;
    let opening = async {
        let mut socket = Socket::open(client, token, largest_frame).await?;
        loop {
            match socket.turn(true).await {
                Turn::Text(text) => match Frame::parse(&text) {
                    Ok(Frame::Hello(hello)) => return Ok((socket, *hello)),
                    Ok(Frame::Closing(asked)) => wait = asked,
                    _ => {}
                },
                Turn::Alive | Turn::Sent => {}
                Turn::Ended(ended) => return Err(ended),
            }
        }
    };
    let opened = timeout(CONNECT_TIMEOUT, opening).await;
    opened.unwrap_or_else(|_| Err(Ended::Lost("the server did not answer in time".to_owned()))).map_err(|ended| (ended, wait))
}

fn reconnect(backoff: &mut Backoff, reason: String) -> Next {
    Next::Reconnect { after: backoff.next(rand::random()), reason }
}

/// The delay in the reason of the server's close: `… in 700 ms`.
fn asked_for(reason: &str) -> Duration {
    let millis = reason.rsplit_once(" in ").and_then(|(_, rest)| rest.strip_suffix(" ms")?.parse::<u64>().ok());
    Duration::from_millis(millis.unwrap_or(0)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_may_name_the_wait() {
        for (reason, millis) in [
            ("the server is restarting: reconnect in 700 ms", 700),
            ("", 0),
            ("reconnect in a while", 0),
            ("reconnect in 99999999999 ms", 60_000),
        ] {
            assert_eq!(asked_for(reason), Duration::from_millis(millis), "{reason}");
        }
    }
}
