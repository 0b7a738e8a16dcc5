use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatsphere_core::{Clock, Monotonic};
use sha2::{Digest, Sha256};

/// How long an invitation is valid.
const LIFE: Duration = Duration::from_secs(10 * 60);
/// Maximum number of valid invitations; beyond it the oldest is withdrawn.
const MAX: usize = 100;

/// Invitations to the demo. Each admits one browser once, within ten minutes. Kept in memory, as hashes.
pub struct DemoInvites {
    clock: Arc<dyn Clock>,
    out: Mutex<Vec<Invite>>,
}

#[derive(Clone, Copy)]
struct Invite {
    hash: [u8; 32],
    expires_at: Monotonic,
}

/// An invitation in use. Dropped without [`ReservedInvite::used`] it becomes valid again, so that a call that fails, as for a
/// taken name, does not consume it.
pub(super) struct ReservedInvite<'a> {
    invites: &'a DemoInvites,
    invite: Option<Invite>,
}

impl DemoInvites {
    /// A set without invitations.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, out: Mutex::default() }
    }

    /// Creates an invitation.
    pub fn issue(&self) -> String {
        let text = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>());
        let mut out = self.out();
        if out.len() >= MAX {
            out.remove(0);
        }
        out.push(Invite { hash: hash(&text), expires_at: self.clock.monotonic().after(LIFE) });
        text
    }

    /// Reserves an invitation, so that no concurrent call can use it.
    pub(super) fn take(&self, text: &str) -> Option<ReservedInvite<'_>> {
        let wanted = hash(text);
        let mut out = self.out();
        // Every invitation is compared in full, so that timing reveals nothing.
        let found = out.iter().enumerate().fold(
            None,
            |found, (index, invite)| {
                if same(&invite.hash, &wanted) { Some(index) } else { found }
            },
        )?;
        Some(ReservedInvite { invites: self, invite: Some(out.remove(found)) })
    }

    /// The valid invitations.
    fn out(&self) -> MutexGuard<'_, Vec<Invite>> {
        let now = self.clock.monotonic();
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.retain(|invite| invite.expires_at > now);
        out
    }
}

impl ReservedInvite<'_> {
    /// Consumes the invitation.
    pub(super) fn used(mut self) {
        self.invite = None;
    }
}

impl Drop for ReservedInvite<'_> {
    fn drop(&mut self) {
        if let Some(invite) = self.invite.take() {
            self.invites.out().push(invite);
        }
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use chatsphere_core::{ManualClock, Timestamp};

    use super::*;

    fn invites() -> (Arc<ManualClock>, DemoInvites) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)));
        (clock.clone(), DemoInvites::new(clock))
    }

    #[test]
    fn an_invitation_is_good_once() {
        let (_, invites) = invites();
        let (one, two) = (invites.issue(), invites.issue());
        assert!(invites.take("").is_none() && invites.take("x").is_none());
        let taken = invites.take(&one).unwrap();
        assert!(invites.take(&one).is_none());
        drop(taken);
        invites.take(&one).unwrap().used();
        assert!(invites.take(&one).is_none());
        assert!(invites.take(&two).is_some());
    }

    #[test]
    fn an_invitation_expires_after_ten_minutes() {
        let (clock, invites) = invites();
        let text = invites.issue();
        clock.advance(LIFE - Duration::from_millis(1));
        assert!(invites.take(&text).is_some());
        clock.advance(Duration::from_millis(1));
        assert!(invites.take(&text).is_none());
    }

    #[test]
    fn not_too_many_are_out() {
        let (_, invites) = invites();
        let first = invites.issue();
        (0..MAX).for_each(|_| drop(invites.issue()));
        assert!(invites.take(&first).is_none());
        assert_eq!(invites.out().len(), MAX);
    }
}
