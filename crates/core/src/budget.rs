//! Bounds on the memory of unsent answers, for the node and for each user.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::ids::UserId;
use crate::limits::Limits;

/// Accounts with nothing in progress are removed when the map has grown by this many.
const SWEEP_AFTER: usize = 4_096;
/// The share of the node's bound that every answer may use. The rest is reserved for CLIENT tokens, and for small answers to
/// users with nothing in progress. So a few users who do not read their answers can't block the others.
const SHARE: (usize, usize) = (3, 4);
/// The largest answer that may use the reserved part, in bytes.
const SMALL: usize = 64 * 1024;

/// The calls and unsent answers of all users of this node.
#[derive(Debug)]
pub struct Budget {
    node: Arc<Node>,
    calls_per_user: usize,
    bytes_per_user: usize,
    queued_per_user: usize,
    /// The account of CLIENT tokens, which only the node's bound limits.
    unbounded: Arc<Account>,
    accounts: Mutex<Accounts>,
}

#[derive(Debug)]
struct Node {
    most_bytes: usize,
    bytes: AtomicUsize,
}

#[derive(Debug)]
struct Accounts {
    of_user: HashMap<UserId, Arc<Account>>,
    sweep_at: usize,
}

/// The calls and unsent answers of one user on this node, over all of the user's tokens and connections.
#[derive(Debug)]
pub struct Account {
    node: Arc<Node>,
    most_calls: usize,
    most_bytes: usize,
    most_queued: usize,
    calls: AtomicUsize,
    bytes: AtomicUsize,
    queued: AtomicUsize,
}

/// The owner of an account. The account is looked up when something is counted against it, and stays in memory only while
/// something is in progress.
#[derive(Debug, Clone)]
pub struct Owner {
    budget: Arc<Budget>,
    /// `None` where only the node's bound applies.
    user: Option<UserId>,
}

impl Owner {
    /// A user, or `None` for a CLIENT token, which acts for many users.
    pub fn new(budget: Arc<Budget>, user: Option<UserId>) -> Self {
        Self { budget, user }
    }

    /// Returns the owner's account.
    pub fn account(&self) -> Arc<Account> {
        self.user.map_or_else(|| self.budget.unbounded(), |user| self.budget.account(user))
    }
}

/// A call in progress, from its authentication until its answer is sent.
#[derive(Debug)]
pub struct Call(Arc<Account>);

/// Bytes of an answer, counted until this is dropped.
#[derive(Debug)]
pub struct Charge {
    node: Arc<Node>,
    account: Option<Arc<Account>>,
    bytes: usize,
}

impl Budget {
    /// Makes a budget with nothing in progress.
    pub fn new(limits: &Limits) -> Self {
        let node = Arc::new(Node { most_bytes: limits.answer_bytes, bytes: AtomicUsize::new(0) });
        Self {
            unbounded: Arc::new(Account::new(&node, usize::MAX, usize::MAX, usize::MAX)),
            node,
            calls_per_user: limits.calls_per_user,
            bytes_per_user: limits.answer_bytes_per_user,
            queued_per_user: limits.outbound_bytes_per_user,
            accounts: Mutex::new(Accounts { of_user: HashMap::new(), sweep_at: SWEEP_AFTER }),
        }
    }

    /// A user's account.
    pub fn account(&self, user: UserId) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.of_user.len() >= accounts.sweep_at {
            // Each `Call` and `Charge` has a reference to its account.
            accounts.of_user.retain(|_, account| Arc::strong_count(account) > 1);
            accounts.sweep_at = accounts.of_user.len() + SWEEP_AFTER;
        }
        let account = accounts.of_user.entry(user).or_insert_with(|| {
            Arc::new(Account::new(&self.node, self.calls_per_user, self.bytes_per_user, self.queued_per_user))
        });
        account.clone()
    }

    /// The account that only the node's bound limits.
    pub fn unbounded(&self) -> Arc<Account> {
        self.unbounded.clone()
    }

    /// Returns the bytes of all unsent answers.
    pub fn bytes(&self) -> usize {
        self.node.bytes.load(Ordering::Relaxed)
    }

    /// Counts an answer of this size, in bytes. Returns `None` if it exceeds a bound. The only answer of a user or of the node
    /// is always allowed, because a single answer may be larger than the bound.
    pub fn charge(&self, account: Option<&Arc<Account>>, bytes: usize) -> Option<Charge> {
        let most = account.map_or(self.node.most_bytes, |account| account.most_of_node(bytes));
        let charge = self.charge_anyway(account, bytes);
        let over = |all: &AtomicUsize, most: usize| {
            let all = all.load(Ordering::Relaxed);
            all > most && all > bytes
        };
        let refused = over(&self.node.bytes, most) || account.is_some_and(|account| over(&account.bytes, account.most_bytes));
        (!refused).then_some(charge)
    }

    /// Counts an answer that can't be refused.
    pub fn charge_anyway(&self, account: Option<&Arc<Account>>, bytes: usize) -> Charge {
        Charge::new(&self.node, account.cloned(), bytes)
    }
}

impl Account {
    fn new(node: &Arc<Node>, most_calls: usize, most_bytes: usize, most_queued: usize) -> Self {
        Self {
            node: node.clone(),
            most_calls,
            most_bytes,
            most_queued,
            calls: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
        }
    }

    /// Begins a call. Returns `None` if the user's maximum of calls is in progress.
    pub fn call(self: &Arc<Self>) -> Option<Call> {
        let call = Call(self.clone());
        let before = self.calls.fetch_add(1, Ordering::Relaxed);
        (before < self.most_calls).then_some(call)
    }

    /// Whether the user's and the node's bounds allow another page.
    pub fn may_grow(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.most_bytes && self.node.bytes.load(Ordering::Relaxed) < self.most_of_node(0)
    }

    /// The node's bound that applies to another answer of this size for this user.
    fn most_of_node(&self, bytes: usize) -> usize {
        let most = self.node.most_bytes;
        let is_bounded = self.most_bytes < usize::MAX;
        if is_bounded && (bytes > SMALL || self.bytes.load(Ordering::Relaxed) > 0) { most / SHARE.1 * SHARE.0 } else { most }
    }

    /// Counts a frame against the user and the node until its last slice is dropped.
    pub fn hold(self: &Arc<Self>, frame: Bytes) -> Bytes {
        let charge = Charge::new(&self.node, Some(self.clone()), frame.len());
        held(frame, charge)
    }

    /// Adds bytes to the user's write queues. Returns whether their sum over all connections is within the bound.
    pub fn queue(&self, bytes: usize) -> bool {
        self.queued.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= self.most_queued
    }

    /// Removes bytes from the user's write queues.
    pub fn unqueue(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether the user's write queues with `more` bytes stay within one part in `parts` of the bound.
    pub fn is_queue_within(&self, parts: usize, more: usize) -> bool {
        self.queued.load(Ordering::Relaxed).saturating_add(more) <= self.most_queued / parts
    }

    /// Whether the user's write queues exceed `times` the bound.
    pub fn is_queue_over(&self, times: usize) -> bool {
        self.queued.load(Ordering::Relaxed) > self.most_queued.saturating_mul(times)
    }
}

/// Wraps bytes so that `kept` is dropped when their last slice is dropped.
pub fn held<T: Send + 'static>(bytes: Bytes, kept: T) -> Bytes {
    Bytes::from_owner(Held { bytes, _kept: kept })
}

struct Held<T> {
    bytes: Bytes,
    _kept: T,
}

impl<T> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Charge {
    fn new(node: &Arc<Node>, account: Option<Arc<Account>>, bytes: usize) -> Self {
        node.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(account) = &account {
            account.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        Self { node: node.clone(), account, bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.node.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(account) = &self.account {
            account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn budget() -> Budget {
        Budget::new(&Limits {
            calls_per_user: 2,
            answer_bytes: 100,
            answer_bytes_per_user: 60,
            outbound_bytes_per_user: 10,
            ..Limits::default()
        })
    }

    fn user(number: i64) -> UserId {
        UserId::new(Timestamp::from_millis(number))
    }

    #[test]
    fn calls_of_a_user_are_counted_until_they_end() {
        let budget = budget();
        let (ada, bob) = (budget.account(user(1)), budget.account(user(2)));
        let calls = [ada.call(), ada.call()];
        assert!(calls.iter().all(Option::is_some) && ada.call().is_none() && ada.call().is_none());
        assert!(bob.call().is_some());
        drop(calls);
        assert!(ada.call().is_some());
    }

    #[test]
    fn answers_are_bounded_for_a_user_and_for_the_node() {
        let budget = budget();
        let (ada, bob, eve) = (budget.account(user(1)), budget.account(user(2)), budget.account(user(3)));
        let first = budget.charge(Some(&ada), 50).unwrap();
        assert!(budget.charge(Some(&ada), 11).is_none() && ada.may_grow());
        let second = budget.charge(Some(&bob), 25).unwrap();
        // The reserved part is for users with nothing in progress, and for CLIENT tokens.
        assert!(!ada.may_grow() && budget.charge(Some(&bob), 1).is_none());
        assert!(eve.may_grow() && budget.unbounded().may_grow());
        let third = budget.charge(Some(&eve), 10).unwrap();
        assert!(budget.charge(Some(&eve), 1).is_none());
        let fourth = budget.charge(Some(&budget.unbounded()), 15).unwrap();
        assert!(budget.charge(None, 1).is_none() && !budget.unbounded().may_grow());
        assert!(!budget.account(user(4)).may_grow());
        drop((first, third));
        assert!(budget.charge(None, 50).is_some());
        drop((second, fourth));
        // Larger than the bound, but alone.
        let alone = budget.charge(Some(&ada), 1_000).unwrap();
        assert!(budget.charge(Some(&bob), 1).is_none());
        drop(alone);
        assert!(ada.may_grow() && budget.bytes() == 0);
    }

    #[test]
    fn the_reserved_part_is_for_small_answers() {
        let most = 16 * SMALL;
        let budget = Budget::new(&Limits { answer_bytes: most, answer_bytes_per_user: most, ..Limits::default() });
        let _others = budget.charge(Some(&budget.account(user(1))), 12 * SMALL).unwrap();
        assert!(budget.charge(Some(&budget.account(user(2))), SMALL + 1).is_none());
        assert!(budget.charge(Some(&budget.account(user(3))), SMALL).is_some());
    }

    #[test]
    fn a_frame_is_counted_until_its_last_slice_is_dropped() {
        let budget = budget();
        let ada = budget.account(user(1));
        let mut frame = ada.hold(Bytes::from(vec![0; 60]));
        assert!(!ada.may_grow());
        let part = frame.split_to(10);
        drop(frame);
        assert!(!ada.may_grow());
        drop(part);
        assert!(ada.may_grow());
    }

    #[test]
    fn an_account_is_kept_while_anything_is_in_progress() {
        let (budget, id) = (budget(), user(1));
        let ada = budget.account(id);
        let call = ada.call().unwrap();
        drop(ada);
        for number in 0..3 * SWEEP_AFTER as i64 {
            budget.account(user(number + 2));
        }
        assert!(budget.accounts.lock().unwrap().of_user.len() <= SWEEP_AFTER + 1);
        let ada = budget.account(id);
        assert!(ada.call().is_some() && ada.calls.load(Ordering::Relaxed) == 1);
        drop(call);
        assert_eq!(ada.calls.load(Ordering::Relaxed), 0);
    }
}
