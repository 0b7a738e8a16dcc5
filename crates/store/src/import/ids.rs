//! Maps the Node.js version's ids, which may be any text, to UUIDs.

use chatsphere_core::{Clock, SystemClock, Timestamp};
use sha1::{Digest, Sha1};
use uuid::Uuid;

/// The prefix that makes an id a URL.
const PREFIX: &str = "chatsphere:";

/// Returns the UUID of an id that is not one: version 5 (RFC 9562, section 5.5), in the namespace of URLs, of `chatsphere:` and
/// the id. In Python: `uuid.uuid5(uuid.NAMESPACE_URL, "chatsphere:" + id)`.
pub fn derived_id(text: &str) -> Uuid {
    let digest = Sha1::new()
        .chain_update(Uuid::NAMESPACE_URL.as_bytes())
        .chain_update(PREFIX.as_bytes())
        .chain_update(text.as_bytes())
        .finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    uuid::Builder::from_sha1_bytes(bytes).into_uuid()
}

/// Returns the id, and whether it was derived. Only the hyphenated form counts as a UUID, in upper or lower case.
pub(super) fn id_of(text: &str) -> (Uuid, bool) {
    let uuid = if text.len() == 36 { Uuid::try_parse(text).ok() } else { None };
    uuid.map_or_else(|| (derived_id(text), true), |uuid| (uuid, false))
}

/// The current time, for users who never wrote.
pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_kept_and_other_ids_are_derived() {
        let uuid = "0198c0de-7c1a-7000-8000-0123456789ab";
        assert_eq!(id_of(uuid), (uuid.parse().unwrap(), false));
        assert_eq!(id_of(&uuid.to_uppercase()), (uuid.parse().unwrap(), false));
        let (id, derived) = id_of("default-room");
        // Computed by Python's uuid.uuid5(uuid.NAMESPACE_URL, "chatsphere:default-room").
        assert_eq!((id.to_string().as_str(), derived), ("2393a148-81ef-521f-a8b4-0eb42ed7338c", true));
        assert_eq!(id.get_version_num(), 5);
        for text in ["", &uuid.replace('-', ""), "cjld2cjxh0000qzrmn831i7rn", "0198c0de-7c1a-7000-8000-0123456789aX", "日本"]
        {
            assert!(id_of(text).1, "{text}");
        }
    }
}
