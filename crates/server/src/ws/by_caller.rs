use std::collections::HashMap;

use chatsphere_core::{Caller, ConnectionId, TokenId, UserId};
use smallvec::SmallVec;

/// Finds the connections of a token or a user without a walk over all of them.
///
/// A token has one connection mostly, and a user one token: the first of each lies in the map itself. Where a user holds many,
/// a connection costs 16 bytes.
#[derive(Default)]
pub(super) struct ByCaller {
    connections: HashMap<TokenId, SmallVec<[ConnectionId; 1]>>,
    tokens: HashMap<UserId, SmallVec<[TokenId; 1]>>,
}

impl ByCaller {
    /// A connection stands for this caller.
    pub(super) fn add(&mut self, connection: ConnectionId, caller: &Caller) {
        let connections = self.connections.entry(caller.token_id).or_default();
        if connections.is_empty() {
            self.tokens.entry(caller.user.id).or_default().push(caller.token_id);
        }
        connections.push(connection);
    }

    /// A connection stands for this caller no longer.
    pub(super) fn remove(&mut self, connection: ConnectionId, caller: &Caller) {
        let Some(connections) = self.connections.get_mut(&caller.token_id) else { return };
        connections.retain(|other| *other != connection);
        if !connections.is_empty() {
            return;
        }
        self.connections.remove(&caller.token_id);
        if let Some(tokens) = self.tokens.get_mut(&caller.user.id) {
            tokens.retain(|other| *other != caller.token_id);
            if tokens.is_empty() {
                self.tokens.remove(&caller.user.id);
            }
        }
    }

    /// The connections of a token.
    pub(super) fn of_token(&self, token: TokenId) -> &[ConnectionId] {
        self.connections.get(&token).map_or(&[], |connections| connections)
    }

    /// The connections of all tokens of a user.
    pub(super) fn of_user(&self, user: UserId) -> impl Iterator<Item = ConnectionId> {
        self.tokens.get(&user).into_iter().flatten().flat_map(|token| self.of_token(*token)).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chatsphere_core::{Timestamp, UserRef, Username};
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_341_370_000);

    fn callers() -> Vec<Caller> {
        let users: Vec<UserRef> =
            (0..3).map(|n| UserRef { id: UserId::new(NOW), username: Username::from_stored(format!("user {n}")) }).collect();
        (0..6).map(|n| Caller::operator(users[n % 3].clone(), NOW)).collect()
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_was_added(steps in proptest::collection::vec((0..6_usize, 0..8_usize, any::<bool>()), 0..200)) {
            let (callers, connections) = (callers(), (0..8).map(|_| ConnectionId::new(NOW)).collect::<Vec<_>>());
            let (mut index, mut model) = (ByCaller::default(), BTreeSet::new());
            for (caller, connection, is_added) in steps {
                if is_added && model.insert((caller, connection)) {
                    index.add(connections[connection], &callers[caller]);
                } else if !is_added {
                    model.remove(&(caller, connection));
                    index.remove(connections[connection], &callers[caller]);
                }
            }
            for (n, caller) in callers.iter().enumerate() {
                let found: BTreeSet<_> = index.of_token(caller.token_id).iter().map(|id| *id.as_bytes()).collect();
                let of = |wanted: &dyn Fn(usize) -> bool| -> Vec<[u8; 16]> {
                    let mut ids: Vec<_> =
                        model.iter().filter(|(caller, _)| wanted(*caller)).map(|(_, id)| *connections[*id].as_bytes()).collect();
                    ids.sort_unstable();
                    ids
                };
                prop_assert_eq!(found.into_iter().collect::<Vec<_>>(), of(&|other| other == n));
                let mut of_user: Vec<_> = index.of_user(caller.user.id).map(|id| *id.as_bytes()).collect();
                of_user.sort_unstable();
                prop_assert_eq!(of_user, of(&|other| other % 3 == n % 3));
            }
            let used: BTreeSet<_> = model.iter().map(|(caller, _)| *caller).collect();
            prop_assert_eq!(index.connections.len(), used.len());
            prop_assert_eq!(index.tokens.len(), used.iter().map(|caller| caller % 3).collect::<BTreeSet<_>>().len());
        }
    }
}
