//! Whose read comes next: a bounded number of pages is read and encoded at a time, and users take turns, so that one who asks
//! for much waits for itself and not others for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::ids::UserId;

/// What a page weighs while it is read and encoded, if the user's pages are small: a room's page of 50 messages is some 20 KB. So many
/// of these may be under way that those who read from the database never wait for the next.
const LIGHT: usize = 1;
/// What any other page weighs. The first of a user is one.
const HEAVY: usize = 16;
/// Pages of a user are small while none of the newest was larger, in bytes of JSON.
const SMALL: usize = 64 * 1024;
/// How fast a large page is forgotten: with each one that is smaller, by so many parts of its size.
const FORGET: usize = 32;

/// The turns of a node.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What may still be added, as pages weigh.
    free: usize,
    flows: HashMap<UserId, Flow>,
    /// Users with reads that wait, each once, in the order in which they are looked at.
    order: VecDeque<UserId>,
}

/// The reads of one user.
#[derive(Debug, Default)]
struct Flow {
    /// How much may run at a time, as pages weigh.
    most: usize,
    running: usize,
    /// About the size of the largest of the newest pages, in bytes, once there is one.
    largest: Option<usize>,
    waiting: VecDeque<oneshot::Sender<Turn>>,
    ordered: bool,
}

/// A read's turn, which lasts until this is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    user: UserId,
    weight: usize,
    bytes: Option<usize>,
}

impl Turns {
    /// So many large pages are read at a time, or many more small ones.
    pub fn new(at_once: usize) -> Self {
        let free = at_once.max(1) * HEAVY;
        Self(Arc::new(Mutex::new(State { free, flows: HashMap::new(), order: VecDeque::new() })))
    }

    /// Waits for a turn of this user, who has `most` large pages at a time. Those of one user come in the order in which they were asked for.
    pub async fn take(&self, user: UserId, most: usize) -> Turn {
        let turn = {
            let mut state = self.state();
            let free = state.free;
            let flow = state.flows.entry(user).or_default();
            flow.most = most.max(1) * HEAVY;
            if flow.waiting.is_empty()
                && let Some(weight) = flow.begin(free)
            {
                state.free -= weight;
                return Turn { turns: self.clone(), user, weight, bytes: None };
            }
            let (give, turn) = oneshot::channel();
            flow.waiting.push_back(give);
            if !std::mem::replace(&mut flow.ordered, true) {
                state.order.push_back(user);
            }
            turn
        };
        // The sender is dropped only unsent, and then nobody waits here any more.
        turn.await.unwrap_or_else(|_| Turn { turns: Self::new(1), user, weight: 0, bytes: None })
    }

    /// A turn has ended: those whose turn it is are told.
    fn pass_on(&self, ended: &Turn) {
        self.state().end(ended);
        loop {
            let next = self.state().next();
            let Some((user, weight, give)) = next else { return };
            // Whoever went away meanwhile gives it back by dropping it.
            drop(give.send(Turn { turns: self.clone(), user, weight, bytes: None }));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The page, or a part more of it, has this size in bytes of JSON. By the sizes of a user's pages it is decided how many of them may
    /// be read at a time.
    pub fn weigh(&mut self, bytes: usize) {
        self.bytes = Some(self.bytes.unwrap_or(0).saturating_add(bytes));
    }
}

impl Flow {
    /// Counts another read, if this user may have one now. Answers what it weighs.
    fn begin(&mut self, free: usize) -> Option<usize> {
        let weight = if self.largest.is_some_and(|largest| largest <= SMALL) { LIGHT } else { HEAVY };
        // A small page leaves room for a large one: or many small ones would keep a large one out for ever.
        let may = free >= HEAVY && self.running + weight <= self.most;
        may.then(|| self.running += weight).map(|()| weight)
    }

    fn end(&mut self, turn: &Turn) {
        self.running = self.running.saturating_sub(turn.weight);
        if let Some(bytes) = turn.bytes {
            let before = self.largest.unwrap_or(0);
            self.largest = Some(bytes.max(before - before / FORGET));
        }
    }

    fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting.is_empty() && !self.ordered
    }
}

impl State {
    fn end(&mut self, turn: &Turn) {
        self.free += turn.weight;
        if let Some(flow) = self.flows.get_mut(&turn.user) {
            flow.end(turn);
            if flow.is_idle() {
                self.flows.remove(&turn.user);
            }
        }
    }

    /// Whose turn it is and what it weighs, with everything counted for it.
    fn next(&mut self) -> Option<(UserId, usize, oneshot::Sender<Turn>)> {
        for _ in 0..self.order.len() {
            let user = self.order.pop_front()?;
            let Some(flow) = self.flows.get_mut(&user) else { continue };
            while flow.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                flow.waiting.pop_front();
            }
            if flow.waiting.is_empty() {
                flow.ordered = false;
                if flow.is_idle() {
                    self.flows.remove(&user);
                }
                continue;
            }
            let given = flow.begin(self.free).and_then(|weight| Some((weight, flow.waiting.pop_front()?)));
            flow.ordered = !flow.waiting.is_empty();
            if flow.ordered {
                self.order.push_back(user);
            }
            if let Some((weight, give)) = given {
                self.free -= weight;
                return Some((user, weight, give));
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.pass_on(self);
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
        // Ada has one more that came before, but it is Bob's turn.
        assert!(poll(third.as_mut()).is_pending());
        let Poll::Ready(other) = poll(other.as_mut()) else { panic!("users take turns") };
        drop(other);
        assert!(poll(third.as_mut()).is_ready());
    }

    #[test]
    fn a_user_has_only_so_many_at_a_time() {
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
    fn who_reads_small_pages_hardly_waits() {
        let turns = Turns::new(4);
        let ada = user(1);
        let take = || match poll(pin!(turns.take(ada, 2))) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        };
        // While the sizes are not known, and while they are large, there are two at a time.
        let [mut first, second] = [take().unwrap(), take().unwrap()];
        assert!(take().is_none());
        first.weigh(SMALL);
        drop(first);
        let mut more: Vec<Turn> = std::iter::from_fn(take).collect();
        assert_eq!(more.len(), HEAVY);
        drop(second);
        more.extend(std::iter::from_fn(take));
        assert_eq!(more.len(), 2 * HEAVY);
        // One large page, and it takes many small ones until that is forgotten.
        let mut last = more.pop().unwrap();
        last.weigh(8 * SMALL);
        drop(last);
        assert!(take().is_none());
        // What is known of a user lasts while something is under way.
        let (_kept, mut ended) = (more.pop(), 0);
        while turns.state().flows[&ada].largest > Some(SMALL) {
            let mut small = more.pop().or_else(take).unwrap();
            small.weigh(1);
            ended += 1;
        }
        assert!(ended > 50, "{ended}");
        assert!(take().is_some());
    }

    #[test]
    fn small_pages_keep_no_large_one_out() {
        let turns = Turns::new(2);
        let (ada, bob) = (user(1), user(2));
        let Poll::Ready(mut held) = poll(pin!(turns.take(ada, 8))) else { panic!("nobody else reads") };
        held.weigh(1);
        let Poll::Ready(second) = poll(pin!(turns.take(ada, 8))) else { panic!("there is room") };
        drop(held);
        let mut small = Vec::new();
        while let Poll::Ready(turn) = poll(pin!(turns.take(ada, 8))) {
            small.push(turn);
        }
        let mut large = pin!(turns.take(bob, 8));
        assert!(poll(large.as_mut()).is_pending());
        drop(second);
        assert!(poll(large.as_mut()).is_ready());
    }

    #[test]
    fn whoever_goes_away_holds_up_nobody() {
        let turns = Turns::new(1);
        let Poll::Ready(first) = poll(pin!(turns.take(user(1), 1))) else { panic!("nobody else reads") };
        {
            let mut gone = Box::pin(turns.take(user(2), 1));
            assert!(poll(gone.as_mut()).is_pending());
        }
        let mut stays = pin!(turns.take(user(3), 1));
        assert!(poll(stays.as_mut()).is_pending());
        drop(first);
        // One who goes away with the turn in hand gives it back.
        {
            let mut told = Box::pin(turns.take(user(4), 1));
            assert!(poll(told.as_mut()).is_pending());
            let Poll::Ready(stays) = poll(stays.as_mut()) else { panic!("it is next") };
            drop(stays);
        }
        assert!(poll(pin!(turns.take(user(5), 1))).is_ready());
        let state = turns.state();
        assert_eq!((state.free, state.flows.len(), state.order.len()), (HEAVY, 0, 0));
    }
}
