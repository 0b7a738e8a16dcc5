//! Authenticates bus messages with HMAC.
//!
//! ```text
//! format 4 | node 16 | counter 8 | sent 8 | length 1, epoch | tags 1 | tag 32 … | body
//! ```
//!
//! Numbers are big-endian. A tag is HMAC-SHA-256 (RFC 2104) over the subject, a zero byte, everything before the tags, and the
//! SHA-256 of the body; a message is therefore valid only on its own subject.
//!
//! A node numbers its messages on each subject separately, so that a node that subscribes to some subjects sees counters
//! without gaps.
//!
//! A message has one tag per pair of secrets that the sender knows: the current ones and, during a rotation, the previous ones.
//! Two nodes accept each other's messages if they share one pair, current or previous.

use std::sync::Arc;

use async_nats::Subject;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256, Tag};
use aws_lc_rs::{digest, hmac::Key};
use bytes::Bytes;
use chatsphere_core::{ConnectionId, Epoch, Timestamp};

use super::replay::{NodeName, Senders, Stale, is_fresh};
use crate::interest::Shard;

/// Identifies the format. An incompatible format gets another value.
const FORMAT: &[u8; 4] = b"CSB3";
/// Bytes before the length of the epoch.
const FIXED: usize = 4 + 16 + 8 + 8;
const TAG: usize = 32;
/// Maximum number of pairs of secrets: two secrets, each current or previous.
const PAIRS: usize = 4;

/// The node name in a probe message. It is not a UUID of version 7, unlike all node names.
const PROBE: NodeName = *b"chatsphere probe";

/// The keys by which nodes of one cluster authenticate each other.
#[derive(Clone)]
pub struct BusKeys(Arc<[Key]>);

impl BusKeys {
    /// Derives a key from each pair of a secret for USER tokens and one for CLIENT tokens. The secrets cannot be recovered from
    /// the keys.
    pub fn derive(users: &[&[u8]], clients: &[&[u8]]) -> Self {
        let pairs = users.iter().flat_map(|user| clients.iter().map(move |client| derive(user, client)));
        Self(pairs.take(PAIRS).collect())
    }

    fn tags(&self, subject: &str, head: &[u8], body: &[u8]) -> impl Iterator<Item = Tag> {
        let digest = digest::digest(&digest::SHA256, body);
        self.0.iter().map(move |key| {
            let mut context = hmac::Context::with_key(key);
            context.update(subject.as_bytes());
            context.update(&[0]);
            context.update(head);
            context.update(digest.as_ref());
            context.sign()
        })
    }
}

impl std::fmt::Debug for BusKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BusKeys(hidden)")
    }
}

/// HKDF-SHA-256 (RFC 5869) with an output of one block.
fn derive(user: &[u8], client: &[u8]) -> Key {
    let mut extract = hmac::Context::with_key(&Key::new(HMAC_SHA256, b"chatsphere"));
    for secret in [user, client] {
        // The length prefix makes the encoding of a pair unambiguous.
        extract.update(&u64::try_from(secret.len()).unwrap_or(u64::MAX).to_be_bytes());
        extract.update(secret);
    }
    let expand = hmac::sign(&Key::new(HMAC_SHA256, extract.sign().as_ref()), b"chatsphere bus v2\x01");
    Key::new(HMAC_SHA256, expand.as_ref())
}

/// Creates this node's messages on one subject.
pub(super) struct Sealer {
    keys: BusKeys,
    node: NodeName,
    epoch: Epoch,
    pub(super) subject: Subject,
    counter: u64,
}

impl Sealer {
    pub(super) fn new(keys: BusKeys, node: ConnectionId, epoch: Epoch, subject: Subject) -> Self {
        Self { keys, node: *node.as_bytes(), epoch, subject, counter: 0 }
    }

    /// A sealer for messages that only their sender reads; other nodes drop them silently.
    pub(super) fn of_probe(keys: BusKeys, subject: Subject) -> Self {
        Self { keys, node: PROBE, epoch: Epoch::random(), subject, counter: 0 }
    }

    /// Length of everything before the body, in bytes.
    pub(super) fn overhead(&self) -> usize {
        FIXED + 1 + self.epoch.as_str().len() + 1 + self.keys.0.len() * TAG
    }

    /// A buffer with space for everything before the body; the caller appends the body.
    pub(super) fn begin(&self) -> Vec<u8> {
        vec![0; self.overhead()]
    }

    /// Fills in and authenticates a message from [`Sealer::begin`].
    pub(super) fn finish(&mut self, mut message: Vec<u8>, now: Timestamp) -> Bytes {
        self.counter += 1;
        let mut head = Vec::with_capacity(self.overhead());
        head.extend_from_slice(FORMAT);
        head.extend_from_slice(&self.node);
        head.extend_from_slice(&self.counter.to_be_bytes());
        head.extend_from_slice(&now.as_millis().to_be_bytes());
        let epoch = self.epoch.as_str().as_bytes();
        head.push(u8::try_from(epoch.len()).unwrap_or(u8::MAX));
        head.extend_from_slice(epoch);
        let (before, body) = message.split_at_mut(self.overhead());
        let tags: Vec<Tag> = self.keys.tags(&self.subject, &head, body).collect();
        head.push(u8::try_from(tags.len()).unwrap_or(u8::MAX));
        tags.iter().for_each(|tag| head.extend_from_slice(tag.as_ref()));
        before.copy_from_slice(&head);
        message.into()
    }
}

/// Why a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is this node's own, or a probe.
    Own,
    /// Its format is unknown.
    Unreadable,
    /// It comes from another installation, or from before a restore.
    OtherEpoch,
    /// It has no valid tag of a pair of secrets that this node has.
    Unverified,
    /// It is a replay, or not fresh.
    Stale(Stale),
}

/// Verifies messages of other nodes.
pub(super) struct Opener {
    keys: BusKeys,
    node: NodeName,
    epoch: Epoch,
    senders: Senders,
}

impl Opener {
    pub(super) fn new(keys: BusKeys, node: ConnectionId, epoch: Epoch) -> Self {
        Self { keys, node: *node.as_bytes(), epoch, senders: Senders::default() }
    }

    /// Verifies that a message was sent by another node of this cluster on this shard's subject, and was not received before.
    pub(super) fn open<'a>(
        &mut self,
        shard: Shard,
        subject: &str,
        message: &'a [u8],
        now: Timestamp,
    ) -> Result<Opened<'a>, Refused> {
        let sealed = Sealed::parse(message).ok_or(Refused::Unreadable)?;
        if sealed.node == self.node || sealed.node == PROBE {
            return Err(Refused::Own);
        }
        if sealed.epoch != self.epoch.as_str().as_bytes() {
            return Err(Refused::OtherEpoch);
        }
        if !sealed.is_authentic(subject, &self.keys) {
            return Err(Refused::Unverified);
        }
        self.senders.take(sealed.node, shard, sealed.counter, sealed.sent, now).map_err(Refused::Stale)?;
        Ok(Opened { body: sealed.body, fresh: is_fresh(sealed.sent, now) })
    }
}

/// A verified message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened<'a> {
    pub(super) body: &'a [u8],
    /// Whether it was sent just now, by the clocks of both nodes.
    pub(super) fresh: Result<(), Stale>,
}

struct Sealed<'a> {
    /// Everything before the tags.
    head: &'a [u8],
    node: NodeName,
    counter: u64,
    sent: Timestamp,
    epoch: &'a [u8],
    tags: &'a [u8],
    body: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn parse(message: &'a [u8]) -> Option<Self> {
        let rest = message.strip_prefix(FORMAT)?;
        let (node, rest) = rest.split_first_chunk::<16>()?;
        let (counter, rest) = rest.split_first_chunk::<8>()?;
        let (sent, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first()?;
        let (epoch, rest) = rest.split_at_checked(usize::from(*length))?;
        let head = message.get(..message.len() - rest.len())?;
        let (tags, rest) = rest.split_first()?;
        if usize::from(*tags) > PAIRS {
            return None;
        }
        let (tags, body) = rest.split_at_checked(usize::from(*tags) * TAG)?;
        let (counter, sent) = (u64::from_be_bytes(*counter), Timestamp::from_millis(i64::from_be_bytes(*sent)));
        Some(Self { head, node: *node, counter, sent, epoch, tags, body })
    }

    fn is_authentic(&self, subject: &str, keys: &BusKeys) -> bool {
        keys.tags(subject, self.head, self.body)
            .any(|own| self.tags.chunks_exact(TAG).any(|tag| verify_slices_are_equal(tag, own.as_ref()).is_ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_341_370_000);
    const OLD: [&[u8]; 2] = [b"old user secret", b"old client secret"];
    const NEW: [&[u8]; 2] = [b"new user secret", b"new client secret"];

    fn epoch() -> Epoch {
        Epoch::from_stored("0123456789abcdef")
    }

    fn node(millis: i64) -> ConnectionId {
        ConnectionId::new(Timestamp::from_millis(millis))
    }

    const SUBJECT: Subject = Subject::from_static("chatsphere.v3.room.07");

    fn sealer(keys: &BusKeys) -> Sealer {
        Sealer::new(keys.clone(), node(1), epoch(), SUBJECT)
    }

    fn shard() -> Shard {
        Shard::all().next().unwrap()
    }

    fn open<'a>(opener: &mut Opener, message: &'a [u8]) -> Result<&'a [u8], Refused> {
        opener.open(shard(), &SUBJECT, message, NOW).map(|opened| opened.body)
    }

    fn opener(keys: &BusKeys) -> Opener {
        Opener::new(keys.clone(), node(2), epoch())
    }

    fn seal(sealer: &mut Sealer, body: &[u8]) -> Bytes {
        let mut message = sealer.begin();
        message.extend_from_slice(body);
        sealer.finish(message, NOW)
    }

    #[test]
    fn what_is_sealed_is_opened_once() {
        let keys = BusKeys::derive(&[OLD[0]], &[OLD[1]]);
        let (mut sealer, mut opener) = (sealer(&keys), opener(&keys));
        for body in [b"[]".as_slice(), b"", &[7; 100_000]] {
            let message = seal(&mut sealer, body);
            assert_eq!(message.len(), sealer.overhead() + body.len());
            assert_eq!(open(&mut opener, &message), Ok(body));
            assert_eq!(open(&mut opener, &message), Err(Refused::Stale(Stale::Replayed)));
        }
        let own = seal(&mut sealer, b"[]");
        assert_eq!(open(&mut Opener { node: sealer.node, ..opener }, &own), Err(Refused::Own));
    }

    #[test]
    fn a_probe_is_dropped_in_silence() {
        let keys = BusKeys::derive(&[OLD[0]], &[OLD[1]]);
        let probe = seal(&mut Sealer::of_probe(BusKeys::derive(&[b"doctor"], &[b"doctor"]), SUBJECT), b"[]");
        assert_eq!(open(&mut opener(&keys), &probe), Err(Refused::Own));
        assert_ne!(PROBE[6] >> 4, 7, "a node could have this name");
    }

    #[test]
    fn no_bit_can_be_changed_and_no_byte_be_missing() {
        let keys = BusKeys::derive(&[OLD[0]], &[OLD[1]]);
        let message = seal(&mut sealer(&keys), b"[1]");
        for place in 0..message.len() {
            let mut changed = message.to_vec();
            for bit in 0..8 {
                changed[place] ^= 1 << bit;
                assert!(open(&mut opener(&keys), &changed).is_err(), "byte {place}, bit {bit}");
                changed[place] ^= 1 << bit;
            }
            assert!(open(&mut opener(&keys), &message[..place]).is_err(), "{place} bytes");
        }
        let longer = [&message[..], b" "].concat();
        assert_eq!(open(&mut opener(&keys), &longer), Err(Refused::Unverified));
    }

    #[test]
    fn other_secrets_and_other_epochs_are_refused() {
        let keys = BusKeys::derive(&[OLD[0]], &[OLD[1]]);
        let message = seal(&mut sealer(&keys), b"[]");
        let others = [
            BusKeys::derive(&[NEW[0]], &[NEW[1]]),
            BusKeys::derive(&[OLD[0]], &[NEW[1]]),
            BusKeys::derive(&[OLD[1]], &[OLD[0]]),
            BusKeys::derive(&[b"old user secreto"], &[b"ld client secret"]),
        ];
        for other in others {
            assert_eq!(open(&mut opener(&other), &message), Err(Refused::Unverified));
        }
        let restored = Epoch::from_stored("fedcba9876543210");
        let mut restored = Opener::new(keys, node(2), restored);
        assert_eq!(open(&mut restored, &message), Err(Refused::OtherEpoch));
    }

    type State = (&'static str, &'static [&'static [u8]], &'static [&'static [u8]]);

    /// Every state of a node during a rotation of one or both secrets, by the documented procedure or in one step. Any two
    /// nodes that share a pair accept each other's messages, in both directions.
    #[test]
    fn a_rotation_does_not_cut_the_bus() {
        let states: [State; 7] = [
            ("old", &[OLD[0]], &[OLD[1]]),
            ("old, new beside", &[OLD[0], NEW[0]], &[OLD[1], NEW[1]]),
            ("new, old beside", &[NEW[0], OLD[0]], &[NEW[1], OLD[1]]),
            ("new", &[NEW[0]], &[NEW[1]]),
            ("user: old, new beside", &[OLD[0], NEW[0]], &[OLD[1]]),
            ("user: new, old beside", &[NEW[0], OLD[0]], &[OLD[1]]),
            ("user: new", &[NEW[0]], &[OLD[1]]),
        ];
        for (from, users, clients) in states {
            let message = seal(&mut sealer(&BusKeys::derive(users, clients)), b"[]");
            for (to, their_users, their_clients) in states {
                let shares = |own: &[&[u8]], theirs: &[&[u8]]| own.iter().any(|secret| theirs.contains(secret));
                let opened = open(&mut opener(&BusKeys::derive(their_users, their_clients)), &message).is_ok();
                assert_eq!(opened, shares(users, their_users) && shares(clients, their_clients), "from {from} to {to}");
            }
        }
    }

    #[test]
    fn a_message_is_good_on_its_own_subject_alone_and_counted_there() {
        let keys = BusKeys::derive(&[OLD[0]], &[OLD[1]]);
        let other: Subject = "chatsphere.v3.room.08".into();
        let (mut one, mut two) = (sealer(&keys), Sealer::new(keys.clone(), node(1), epoch(), other.clone()));
        let mut opener = opener(&keys);
        let shards: Vec<_> = Shard::all().take(2).collect();
        // One subject has far more messages than the other and is read first.
        let early = seal(&mut two, b"[]");
        for _ in 0..1_000 {
            let message = seal(&mut one, b"[]");
            assert_eq!(opener.open(shards[1], &other, &message, NOW), Err(Refused::Unverified));
            assert!(opener.open(shards[0], &SUBJECT, &message, NOW).is_ok());
        }
        assert!(opener.open(shards[1], &other, &early, NOW).is_ok());
        assert!(opener.open(shards[1], &other, &early, NOW).is_err());
        // An old message is not fresh; its reader decides whether that matters.
        let late = Timestamp::from_millis(NOW.as_millis() + 31_000);
        let message = seal(&mut one, b"[]");
        assert_eq!(
            opener.open(shards[0], &SUBJECT, &message, late),
            Ok(Opened { body: b"[]", fresh: Err(Stale::Clock(-31_000)) })
        );
    }

    #[test]
    fn keys_are_not_shown() {
        assert_eq!(format!("{:?}", BusKeys::derive(&[OLD[0]], &[OLD[1]])), "BusKeys(hidden)");
    }
}
