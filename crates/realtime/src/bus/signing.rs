//! Signs and verifies bus messages with HMAC. Their content is not encrypted.
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

use super::anti_replay::{AntiReplay, NodeName, Stale, check_fresh};
use crate::interest::SubjectShard;

/// Identifies the format. An incompatible format gets another value.
const FORMAT: &[u8; 4] = b"CSB3";
/// Length of the header before the length of the epoch, in bytes.
const FIXED_LEN: usize = 4 + 16 + 8 + 8;
/// Length of a tag, in bytes.
const TAG_LEN: usize = 32;
/// Maximum number of pairs of secrets: two secrets, each current or previous.
const MAX_PAIRS: usize = 4;

/// The node name in an echo message, which only its sender reads. It is not a UUID of version 7, unlike all names of nodes.
const ECHO_NODE: NodeName = *b"chatsphere probe";

/// The keys by which nodes of one cluster authenticate each other.
#[derive(Clone)]
pub struct BusKeys(Arc<[Key]>);

impl BusKeys {
    /// Derives a key from each pair of a secret for USER tokens and one for CLIENT tokens. The secrets cannot be recovered from
    /// the keys.
    pub fn derive(users: &[&[u8]], clients: &[&[u8]]) -> Self {
        let pairs = users.iter().flat_map(|user| clients.iter().map(move |client| derive(user, client)));
        Self(pairs.take(MAX_PAIRS).collect())
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

/// Signs this node's messages on one subject.
pub(super) struct Signer {
    keys: BusKeys,
    node: NodeName,
    epoch: Epoch,
    pub(super) subject: Subject,
    counter: u64,
}

impl Signer {
    pub(super) fn new(keys: BusKeys, node: ConnectionId, epoch: Epoch, subject: Subject) -> Self {
        Self { keys, node: *node.as_bytes(), epoch, subject, counter: 0 }
    }

    /// A signer for messages that a node sends to itself; other nodes drop them silently.
    pub(super) fn for_echo(keys: BusKeys, subject: Subject) -> Self {
        Self { keys, node: ECHO_NODE, epoch: Epoch::random(), subject, counter: 0 }
    }

    /// Length of the header, which is everything before the body, in bytes.
    fn header_len(&self) -> usize {
        FIXED_LEN + 1 + self.epoch.as_str().len() + 1 + self.keys.0.len() * TAG_LEN
    }

    /// A buffer with space for the header; the caller appends the body.
    pub(super) fn begin(&self) -> Vec<u8> {
        vec![0; self.header_len()]
    }

    /// Fills in the header of a message from [`Signer::begin`].
    pub(super) fn finish(&mut self, mut message: Vec<u8>, now: Timestamp) -> Bytes {
        self.counter += 1;
        let mut header = Vec::with_capacity(self.header_len());
        header.extend_from_slice(FORMAT);
        header.extend_from_slice(&self.node);
        header.extend_from_slice(&self.counter.to_be_bytes());
        header.extend_from_slice(&now.as_millis().to_be_bytes());
        let epoch = self.epoch.as_str().as_bytes();
        header.push(u8::try_from(epoch.len()).unwrap_or(u8::MAX));
        header.extend_from_slice(epoch);
        let (space, body) = message.split_at_mut(self.header_len());
        let tags: Vec<Tag> = self.keys.tags(&self.subject, &header, body).collect();
        header.push(u8::try_from(tags.len()).unwrap_or(u8::MAX));
        tags.iter().for_each(|tag| header.extend_from_slice(tag.as_ref()));
        space.copy_from_slice(&header);
        message.into()
    }
}

/// Why a message is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    /// It is this node's own, or an echo.
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
pub(super) struct Verifier {
    keys: BusKeys,
    node: NodeName,
    epoch: Epoch,
    anti_replay: AntiReplay,
}

impl Verifier {
    pub(super) fn new(keys: BusKeys, node: ConnectionId, epoch: Epoch) -> Self {
        Self { keys, node: *node.as_bytes(), epoch, anti_replay: AntiReplay::default() }
    }

    /// Verifies that a message was sent by another node of this cluster on this shard's subject, and was not received before.
    pub(super) fn verify<'a>(
        &mut self,
        shard: SubjectShard,
        subject: &str,
        message: &'a [u8],
        now: Timestamp,
    ) -> Result<Verified<'a>, Rejected> {
        let message = SignedMessage::parse(message).ok_or(Rejected::Unreadable)?;
        if message.node == self.node || message.node == ECHO_NODE {
            return Err(Rejected::Own);
        }
        if message.epoch != self.epoch.as_str().as_bytes() {
            return Err(Rejected::OtherEpoch);
        }
        if !message.is_authentic(subject, &self.keys) {
            return Err(Rejected::Unverified);
        }
        self.anti_replay.accept(message.node, shard, message.counter, message.sent_at, now).map_err(Rejected::Stale)?;
        Ok(Verified { body: message.body, freshness: check_fresh(message.sent_at, now) })
    }
}

/// A verified message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verified<'a> {
    pub(super) body: &'a [u8],
    /// Whether it was sent just now, by the clocks of both nodes.
    pub(super) freshness: Result<(), Stale>,
}

/// A parsed message that is not verified yet.
struct SignedMessage<'a> {
    /// The part of the header before the tags, which cover it.
    head: &'a [u8],
    node: NodeName,
    counter: u64,
    sent_at: Timestamp,
    epoch: &'a [u8],
    tags: &'a [u8],
    body: &'a [u8],
}

impl<'a> SignedMessage<'a> {
    fn parse(message: &'a [u8]) -> Option<Self> {
        let rest = message.strip_prefix(FORMAT)?;
        let (node, rest) = rest.split_first_chunk::<16>()?;
        let (counter, rest) = rest.split_first_chunk::<8>()?;
        let (sent_at, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first()?;
        let (epoch, rest) = rest.split_at_checked(usize::from(*length))?;
        let head = message.get(..message.len() - rest.len())?;
        let (tags, rest) = rest.split_first()?;
        if usize::from(*tags) > MAX_PAIRS {
            return None;
        }
        let (tags, body) = rest.split_at_checked(usize::from(*tags) * TAG_LEN)?;
        let (counter, sent_at) = (u64::from_be_bytes(*counter), Timestamp::from_millis(i64::from_be_bytes(*sent_at)));
        Some(Self { head, node: *node, counter, sent_at, epoch, tags, body })
    }

    fn is_authentic(&self, subject: &str, keys: &BusKeys) -> bool {
        keys.tags(subject, self.head, self.body)
            .any(|own| self.tags.chunks_exact(TAG_LEN).any(|tag| verify_slices_are_equal(tag, own.as_ref()).is_ok()))
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

    fn signer(keys: &BusKeys) -> Signer {
        Signer::new(keys.clone(), node(1), epoch(), SUBJECT)
    }

    fn shard() -> SubjectShard {
        SubjectShard::all().next().unwrap()
    }

    fn verify<'a>(verifier: &mut Verifier, message: &'a [u8]) -> Result<&'a [u8], Rejected> {
        verifier.verify(shard(), &SUBJECT, message, NOW).map(|verified| verified.body)
    }

    fn verifier(keys: &BusKeys) -> Verifier {
        Verifier::new(keys.clone(), node(2), epoch())
    }

    fn sign(signer: &mut Signer, body: &[u8]) -> Bytes {
        let mut message = signer.begin();
        message.extend_from_slice(body);
        signer.finish(message, NOW)
    }

    #[test]
    fn what_is_signed_is_accepted_once() {
        let keys = BusKeys::derive(&[OLD[0]], &[OLD[1]]);
        let (mut signer, mut verifier) = (signer(&keys), verifier(&keys));
        for body in [b"[]".as_slice(), b"", &[7; 100_000]] {
            let message = sign(&mut signer, body);
            assert_eq!(message.len(), signer.header_len() + body.len());
            assert_eq!(verify(&mut verifier, &message), Ok(body));
            assert_eq!(verify(&mut verifier, &message), Err(Rejected::Stale(Stale::Replayed)));
        }
        let own = sign(&mut signer, b"[]");
        assert_eq!(verify(&mut Verifier { node: signer.node, ..verifier }, &own), Err(Rejected::Own));
    }

    #[test]
    fn an_echo_is_dropped_in_silence() {
        let keys = BusKeys::derive(&[OLD[0]], &[OLD[1]]);
        let echo = sign(&mut Signer::for_echo(BusKeys::derive(&[b"doctor"], &[b"doctor"]), SUBJECT), b"[]");
        assert_eq!(verify(&mut verifier(&keys), &echo), Err(Rejected::Own));
        assert_ne!(ECHO_NODE[6] >> 4, 7, "a node could have this name");
    }

    #[test]
    fn no_bit_can_be_changed_and_no_byte_be_missing() {
        let keys = BusKeys::derive(&[OLD[0]], &[OLD[1]]);
        let message = sign(&mut signer(&keys), b"[1]");
        for place in 0..message.len() {
            let mut changed = message.to_vec();
            for bit in 0..8 {
                changed[place] ^= 1 << bit;
                assert!(verify(&mut verifier(&keys), &changed).is_err(), "byte {place}, bit {bit}");
                changed[place] ^= 1 << bit;
            }
            assert!(verify(&mut verifier(&keys), &message[..place]).is_err(), "{place} bytes");
        }
        let longer = [&message[..], b" "].concat();
        assert_eq!(verify(&mut verifier(&keys), &longer), Err(Rejected::Unverified));
    }

    #[test]
    fn other_secrets_and_other_epochs_are_refused() {
        let keys = BusKeys::derive(&[OLD[0]], &[OLD[1]]);
        let message = sign(&mut signer(&keys), b"[]");
        let others = [
            BusKeys::derive(&[NEW[0]], &[NEW[1]]),
            BusKeys::derive(&[OLD[0]], &[NEW[1]]),
            BusKeys::derive(&[OLD[1]], &[OLD[0]]),
            BusKeys::derive(&[b"old user secreto"], &[b"ld client secret"]),
        ];
        for other in others {
            assert_eq!(verify(&mut verifier(&other), &message), Err(Rejected::Unverified));
        }
        let restored = Epoch::from_stored("fedcba9876543210");
        let mut restored = Verifier::new(keys, node(2), restored);
        assert_eq!(verify(&mut restored, &message), Err(Rejected::OtherEpoch));
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
            let message = sign(&mut signer(&BusKeys::derive(users, clients)), b"[]");
            for (to, their_users, their_clients) in states {
                let shares = |own: &[&[u8]], theirs: &[&[u8]]| own.iter().any(|secret| theirs.contains(secret));
                let verified = verify(&mut verifier(&BusKeys::derive(their_users, their_clients)), &message).is_ok();
                assert_eq!(verified, shares(users, their_users) && shares(clients, their_clients), "from {from} to {to}");
            }
        }
    }

    #[test]
    fn a_message_is_good_on_its_own_subject_alone_and_counted_there() {
        let keys = BusKeys::derive(&[OLD[0]], &[OLD[1]]);
        let other: Subject = "chatsphere.v3.room.08".into();
        let (mut one, mut two) = (signer(&keys), Signer::new(keys.clone(), node(1), epoch(), other.clone()));
        let mut verifier = verifier(&keys);
        let shards: Vec<_> = SubjectShard::all().take(2).collect();
        // One subject has far more messages than the other and is read first.
        let early = sign(&mut two, b"[]");
        for _ in 0..1_000 {
            let message = sign(&mut one, b"[]");
            assert_eq!(verifier.verify(shards[1], &other, &message, NOW), Err(Rejected::Unverified));
            assert!(verifier.verify(shards[0], &SUBJECT, &message, NOW).is_ok());
        }
        assert!(verifier.verify(shards[1], &other, &early, NOW).is_ok());
        assert!(verifier.verify(shards[1], &other, &early, NOW).is_err());
        // An old message is not fresh; its reader decides whether that matters.
        let late = Timestamp::from_millis(NOW.as_millis() + 31_000);
        let message = sign(&mut one, b"[]");
        assert_eq!(
            verifier.verify(shards[0], &SUBJECT, &message, late),
            Ok(Verified { body: b"[]", freshness: Err(Stale::Clock(-31_000)) })
        );
    }

    #[test]
    fn keys_are_not_shown() {
        assert_eq!(format!("{:?}", BusKeys::derive(&[OLD[0]], &[OLD[1]])), "BusKeys(hidden)");
    }
}
