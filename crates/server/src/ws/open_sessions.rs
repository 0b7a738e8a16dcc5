//! The sessions of this node, indexed by token and by user.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use chatsphere_core::{Caller, TokenId, UserId};
use hashbrown::HashTable;
use slab::Slab;

use super::connection_registry::Session;
use super::heartbeat::HeartbeatState;

/// The index of a session in the slab. It is reused after the session has left.
pub(super) type Place = u32;

/// The sessions of this node. Every idle connection pays for its entries here.
#[derive(Default)]
pub(super) struct OpenSessions {
    sessions: Slab<HeartbeatState>,
    by_token: Index,
    by_user: Index,
}

impl OpenSessions {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Adds the session that `make` creates for a place. `None` if no place is left.
    pub(super) fn enter(&mut self, caller: &Caller, make: impl FnOnce(Place) -> HeartbeatState) -> Option<Arc<Session>> {
        let place = self.sessions.vacant_key().try_into().ok()?;
        let state = make(place);
        let session = state.session.clone();
        self.sessions.insert(state);
        self.by_token.add(&caller.token_id, place);
        self.by_user.add(&caller.user.id, place);
        Some(session)
    }

    /// Removes a session. Returns whether it was present.
    pub(super) fn leave(&mut self, session: &Session) -> bool {
        if !self.has(session) {
            return false;
        }
        let caller = session.subscriber.caller();
        self.by_token.remove(&caller.token_id, session.place);
        self.by_user.remove(&caller.user.id, session.place);
        self.sessions.remove(session.place as usize);
        true
    }

    /// Sets another caller of the same user for a session, if it is still present.
    pub(super) fn set_caller(&mut self, session: &Session, caller: Arc<Caller>) {
        let before = session.subscriber.caller();
        let (token, expires_at) = (caller.token_id, caller.expires_at);
        session.subscriber.set_caller(caller);
        if !self.has(session) {
            return;
        }
        if let Some(state) = self.sessions.get_mut(session.place as usize) {
            state.expires_at = expires_at;
        }
        if before.token_id != token {
            self.by_token.remove(&before.token_id, session.place);
            self.by_token.add(&token, session.place);
        }
    }

    /// The sessions of a token.
    pub(super) fn of_token(&self, token: TokenId) -> Vec<Arc<Session>> {
        self.at(self.by_token.find(&token), |caller| caller.token_id == token)
    }

    /// The sessions of a user.
    pub(super) fn of_user(&self, user: UserId) -> Vec<Arc<Session>> {
        self.at(self.by_user.find(&user), |caller| caller.user.id == user)
    }

    /// The number of a user's sessions.
    pub(super) fn count_of_user(&self, user: UserId) -> usize {
        // Two users with the same hash are too rare to matter for a limit.
        self.by_user.find(&user).count()
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &HeartbeatState> {
        self.sessions.iter().map(|(_, state)| state)
    }

    pub(super) fn states_mut(&mut self) -> impl Iterator<Item = &mut HeartbeatState> {
        self.sessions.iter_mut().map(|(_, state)| state)
    }

    fn has(&self, session: &Session) -> bool {
        self.sessions.get(session.place as usize).is_some_and(|state| std::ptr::eq(&*state.session, session))
    }

    fn at(&self, places: impl Iterator<Item = Place>, is_wanted: impl Fn(&Caller) -> bool) -> Vec<Arc<Session>> {
        let found = places.filter_map(|place| self.sessions.get(place as usize)).map(|state| &state.session);
        found.filter(|session| is_wanted(&session.subscriber.caller())).cloned().collect()
    }
}

/// Maps the hash of a key, which several sessions may share, to places. The keys are in the sessions, so an entry takes 9
/// bytes.
#[derive(Default)]
struct Index {
    places: HashTable<Entry>,
    hasher: RandomState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    hash: u32,
    place: Place,
}

impl Index {
    fn add(&mut self, key: &impl Hash, place: Place) {
        let entry = self.entry(key, place);
        self.places.insert_unique(spread(entry.hash), entry, |entry| spread(entry.hash));
    }

    fn remove(&mut self, key: &impl Hash, place: Place) {
        let entry = self.entry(key, place);
        if let Ok(found) = self.places.find_entry(spread(entry.hash), |other| *other == entry) {
            found.remove();
        }
    }

    /// The places of this key, and rarely one of another key with the same hash.
    fn find(&self, key: &impl Hash) -> impl Iterator<Item = Place> {
        let hash = self.entry(key, 0).hash;
        self.places.iter_hash(spread(hash)).filter(move |entry| entry.hash == hash).map(|entry| entry.place)
    }

    #[allow(clippy::cast_possible_truncation, reason = "half of a hash is one")]
    fn entry(&self, key: &impl Hash, place: Place) -> Entry {
        Entry { hash: self.hasher.hash_one(key) as u32, place }
    }
}

/// The table takes its groups from the low bits and its tags from the high bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chatsphere_core::{ConnectionId, Timestamp, UserRef, Username};
    use chatsphere_realtime::{Socket, Subscriber, WriteQueue};
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_341_370_000);

    fn callers() -> Vec<Arc<Caller>> {
        let users: Vec<UserRef> =
            (0..3).map(|n| UserRef { id: UserId::new(NOW), username: Username::from_stored(format!("user {n}")) }).collect();
        (0..6).map(|n| Arc::new(Caller::operator(users[n % 3].clone(), NOW))).collect()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter(usize),
        Leave(usize),
        /// To the other token of the same user.
        SetCaller(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..6_usize).prop_map(Step::Enter),
            (0..300_usize).prop_map(Step::Leave),
            (0..300_usize).prop_map(Step::SetCaller)
        ]
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_entered(steps in proptest::collection::vec(step(), 0..300)) {
            let (callers, mut open) = (callers(), OpenSessions::default());
            // Sessions that have left stay in the list, so that leaving and changing are repeated for them.
            let (mut all, mut model) = (Vec::<Arc<Session>>::new(), BTreeMap::<usize, usize>::new());
            for step in steps {
                match step {
                    Step::Enter(n) => {
                        let write_queue = Arc::new(WriteQueue::new(Socket::Queued, 1 << 20));
                        let subscriber = Arc::new(Subscriber::new(ConnectionId::new(NOW), callers[n].clone(), write_queue));
                        let make = |place| HeartbeatState::new(Arc::new(Session::new(subscriber, place, 0)), 0);
                        model.insert(all.len(), n);
                        all.push(open.enter(&callers[n], make).unwrap());
                    }
                    Step::Leave(which) if !all.is_empty() => {
                        let which = which % all.len();
                        prop_assert_eq!(open.leave(&all[which]), model.remove(&which).is_some());
                    }
                    Step::SetCaller(which) if !all.is_empty() => {
                        let which = which % all.len();
                        let before = model.get(&which).copied().unwrap_or(0);
                        open.set_caller(&all[which], callers[(before + 3) % 6].clone());
                        if let Some(caller) = model.get_mut(&which) {
                            *caller = (before + 3) % 6;
                        }
                    }
                    _ => {}
                }
            }
            let ids = |sessions: &[Arc<Session>]| {
                let mut ids: Vec<_> = sessions.iter().map(|session| *session.subscriber.id.as_bytes()).collect();
                ids.sort_unstable();
                ids
            };
            let of = |is_wanted: &dyn Fn(usize) -> bool| {
                let wanted = model.iter().filter(|(_, caller)| is_wanted(**caller));
                ids(&wanted.map(|(which, _)| all[*which].clone()).collect::<Vec<_>>())
            };
            prop_assert_eq!(open.len(), model.len());
            prop_assert_eq!(open.states().count(), model.len());
            prop_assert_eq!((open.by_token.places.len(), open.by_user.places.len()), (model.len(), model.len()));
            for (n, caller) in callers.iter().enumerate() {
                prop_assert_eq!(ids(&open.of_token(caller.token_id)), of(&|other| other == n));
                prop_assert_eq!(ids(&open.of_user(caller.user.id)), of(&|other| other % 3 == n % 3));
                prop_assert_eq!(open.count_of_user(caller.user.id), of(&|other| other % 3 == n % 3).len());
            }
        }
    }
}
