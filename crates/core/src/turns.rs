//! The scheduler of page reads. A bounded number of pages is read and encoded at a time, and users take turns, so that a user
//! with many reads delays only their own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::ids::UserId;

/// The turns of a node.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    flows: HashMap<UserId, Flow>,
    /// Users with waiting reads, each once, in round-robin order.
    order: VecDeque<UserId>,
}

/// The reads of one user.
#[derive(Debug, Default)]
struct Flow {
    most: usize,
    running: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
    ordered: bool,
}

/// A read's turn, which lasts until this is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    user: UserId,
}

impl Turns {
    /// Allows this many reads at a time.
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: at_once.max(1), flows: HashMap::new(), order: VecDeque::new() })))
    }

    /// Waits for a turn of this user, who may have `most` turns at a time. A user's turns are given in the order of the calls.
    pub async fn take(&self, user: UserId, most: usize) -> Turn {
        let turn = {
            let mut state = self.state();
            let free = state.free;
            let flow = state.flows.entry(user).or_default();
            flow.most = most.max(1);
            if free > 0 && flow.running < flow.most && flow.waiting.is_empty() {
                flow.running += 1;
                state.free -= 1;
                return Turn { turns: self.clone(), user };
            }
            let (give, turn) = oneshot::channel();
            flow.waiting.push_back(give);
            if !std::mem::replace(&mut flow.ordered, true) {
                state.order.push_back(user);
            }
            turn
        };
        // The sender is dropped without sending only when this receiver is gone.
        turn.await.unwrap_or_else(|_| Turn { turns: Self::new(1), user })
    }

    /// Ends a turn and starts the next waiting read.
    fn pass_on(&self, user: UserId) {
        let next = {
            let mut state = self.state();
            state.free += 1;
            if let Some(flow) = state.flows.get_mut(&user) {
                flow.running = flow.running.saturating_sub(1);
                if flow.running == 0 && flow.waiting.is_empty() && !flow.ordered {
                    state.flows.remove(&user);
                }
            }
            state.next()
        };
        if let Some((user, give)) = next {
            // If the receiver is gone, the turn is dropped, which starts the next read.
            drop(give.send(Turn { turns: self.clone(), user }));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the next read to start, which is already counted as running.
    fn next(&mut self) -> Option<(UserId, oneshot::Sender<Turn>)> {
        for _ in 0..self.order.len() {
            let user = self.order.pop_front()?;
            let Some(flow) = self.flows.get_mut(&user) else { continue };
            while flow.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                flow.waiting.pop_front();
            }
            if flow.waiting.is_empty() {
                flow.ordered = false;
                if flow.running == 0 {
                    self.flows.remove(&user);
                }
                continue;
            }
            let give = if flow.running < flow.most { flow.waiting.pop_front() } else { None };
            flow.ordered = !flow.waiting.is_empty();
            if flow.ordered {
                self.order.push_back(user);
            }
            if let Some(give) = give {
                flow.running += 1;
                self.free -= 1;
                return Some((user, give));
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.pass_on(self.user);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::time::Timestamp;

    fn user(number: i64) -> UserId {
        UserId::new(Timestamp::from_millis(number))
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn users_take_turns() {
        let turns = Turns::new(1);
        let (ada, bob) = (user(1), user(2));
        let Poll::Ready(first) = poll(pin!(turns.take(ada, 8))) else { panic!("nobody else reads") };
        let (mut second, mut third) = (pin!(turns.take(ada, 8)), pin!(turns.take(ada, 8)));
        assert!(poll(second.as_mut()).is_pending() && poll(third.as_mut()).is_pending());
        let mut other = pin!(turns.take(bob, 8));
        assert!(poll(other.as_mut()).is_pending());
        drop(first);
        let Poll::Ready(second) = poll(second.as_mut()) else { panic!("the oldest comes first") };
        drop(second);
        // Ada has another read that was queued earlier, but it is Bob's turn.
        assert!(poll(third.as_mut()).is_pending());
        let Poll::Ready(other) = poll(other.as_mut()) else { panic!("users take turns") };
        drop(other);
        assert!(poll(third.as_mut()).is_ready());
    }

    #[test]
    fn a_user_has_a_maximum_of_turns_at_a_time() {
        let turns = Turns::new(4);
        let (ada, bob) = (user(1), user(2));
        let held: Vec<Turn> = (0..2)
            .map(|_| match poll(pin!(turns.take(ada, 2))) {
                Poll::Ready(turn) => turn,
                Poll::Pending => panic!("there is room"),
            })
            .collect();
        let mut third = pin!(turns.take(ada, 2));
        assert!(poll(third.as_mut()).is_pending());
        assert!(poll(pin!(turns.take(bob, 2))).is_ready());
        drop(held);
        assert!(poll(third.as_mut()).is_ready());
    }

    #[test]
    fn a_dropped_wait_blocks_nobody() {
        let turns = Turns::new(1);
        let Poll::Ready(first) = poll(pin!(turns.take(user(1), 1))) else { panic!("nobody else reads") };
        {
            let mut gone = Box::pin(turns.take(user(2), 1));
            assert!(poll(gone.as_mut()).is_pending());
        }
        let mut stays = pin!(turns.take(user(3), 1));
        assert!(poll(stays.as_mut()).is_pending());
        drop(first);
        // A receiver that is dropped after it got the turn gives the turn back.
        {
            let mut told = Box::pin(turns.take(user(4), 1));
            assert!(poll(told.as_mut()).is_pending());
            let Poll::Ready(stays) = poll(stays.as_mut()) else { panic!("it is next") };
            drop(stays);
        }
        assert!(poll(pin!(turns.take(user(5), 1))).is_ready());
        let state = turns.state();
        assert_eq!((state.free, state.flows.len(), state.order.len()), (1, 0, 0));
    }
}
