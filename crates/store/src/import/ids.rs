//! From the first version's ids, which may be any text, to UUIDs.

use chatsphere_core::{Clock, SystemClock, Timestamp};
use sha1::{Digest, Sha1};
use uuid::Uuid;

/// What stands before an id that is no UUID, so that its name is a URL of ours.
const PREFIX: &str = "chatsphere:";

/// The UUID that stands for an id that is none: version 5 (RFC 9562, section 5.5) in the namespace of URLs, of `chatsphere:`
/// and the id. Python says the same by `uuid.uuid5(uuid.NAMESPACE_URL, "chatsphere:" + id)`.
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

/// The id, and whether it had to be derived. Only the hyphenated form is a UUID, in either case.
pub(super) fn id_of(text: &str) -> (Uuid, bool) {
    let uuid = if text.len() == 36 { Uuid::try_parse(text).ok() } else { None };
    uuid.map_or_else(|| (derived_id(text), true), |uuid| (uuid, false))
}

/// This moment, for users who never wrote.
pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_uuid_stays_and_what_is_none_is_derived() {
        let uuid = "0198c0de-7c1a-7000-8000-0123456789ab";
        assert_eq!(id_of(uuid), (uuid.parse().unwrap(), false));
        assert_eq!(id_of(&uuid.to_uppercase()), (uuid.parse().unwrap(), false));
        let (id, derived) = id_of("default-room");
        // By Python's uuid.uuid5(uuid.NAMESPACE_URL, "chatsphere:default-room").
        assert_eq!((id.to_string().as_str(), derived), ("2393a148-81ef-521f-a8b4-0eb42ed7338c", true));
        assert_eq!(id.get_version_num(), 5);
        for text in ["", &uuid.replace('-', ""), "cjld2cjxh0000qzrmn831i7rn", "0198c0de-7c1a-7000-8000-0123456789aX", "日本"]
        {
            assert!(id_of(text).1, "{text}");
        }
    }
}
