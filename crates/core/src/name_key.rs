//! The keys by which names are compared: [`NameKeys`].
//!
//! A change to the computed keys needs a migration that sets the stored keys to NULL; they are then computed again.

use sha2::{Digest, Sha256};
use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::confusable_detection::skeleton;

use crate::invisible::is_invisible;

/// The longest key, in bytes. The indexes of both databases accept this length.
const MAX_BYTES: usize = 1_024;
/// Folding and the replacement of lookalikes are repeated until nothing changes. No known text needs more than three passes.
const MAX_PASSES: usize = 5;

/// The comparison keys of a username, stored beside the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameKeys {
    /// Equal for names that differ only in case, width, composition, white space or invisible characters. No two users may have
    /// names with the same key.
    ///
    /// It is compatibility caseless matching (The Unicode Standard, D146), with white space collapsed and trimmed, and
    /// ignorable characters removed.
    pub key: String,
    /// Equal for names that look alike. It is compared only with the names of users who have rights over others: `rn` looks
    /// like `m`, and ordinary users may have both names.
    ///
    /// It is the folded skeleton of UTS 39, section 4. `i`, `l`, `1` and `|` are equal, because they look alike in one case or
    /// the other.
    pub look: String,
}

impl NameKeys {
    /// Computes the keys of a name, also of one that the current rules would reject.
    pub fn of(name: &str) -> Self {
        Self { key: bounded(key(name)), look: bounded(look(name)) }
    }
}

fn key(name: &str) -> String {
    let folded = fold(&fold(&name.nfd().collect::<String>()));
    collapse(&folded)
}

fn look(name: &str) -> String {
    // Lookalikes are replaced before folding: a capital I looks like an l, and a small i does not.
    let mut text = visible(name.nfkd());
    for _ in 0..MAX_PASSES {
        let letters: String = text.chars().map(plain_letter).collect();
        let next = fold(&skeleton(&letters).collect::<String>());
        if next == text {
            break;
        }
        text = next;
    }
    collapse(&text).replace('i', "l")
}

/// One pass of caseless matching: case folding, decomposition, removal of invisible characters.
fn fold(text: &str) -> String {
    visible(UniCase::unicode(text).to_folded_case().nfkd())
}

/// Removes invisible characters, and a combining dot above, which is not seen on an i.
fn visible(decomposed: impl Iterator<Item = char>) -> String {
    let mut base = None;
    let mut seen = String::new();
    for c in decomposed.filter(|c| !is_invisible(*c)) {
        if c == '\u{307}' && matches!(base, Some('i' | 'I' | 'ı' | 'j' | 'J')) {
            continue;
        }
        if !is_combining_mark(c) {
            base = Some(c);
        }
        seen.push(c);
    }
    seen
}

fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the letter that a character shows, if neither decomposition nor UTS 39 maps it: small capitals, letters in black
/// circles and squares, and the letters of flags.
fn plain_letter(c: char) -> char {
    let nth = |first: u32| char::from_u32(u32::from('a') + u32::from(c) - first).unwrap_or(c);
    match c {
        '\u{1f150}'..='\u{1f169}' => nth(0x1_f150),
        '\u{1f170}'..='\u{1f189}' => nth(0x1_f170),
        '\u{1f1e6}'..='\u{1f1ff}' => nth(0x1_f1e6),
        'ᴀ' => 'a',
        'ʙ' => 'b',
        'ᴄ' => 'c',
        'ᴅ' => 'd',
        'ᴇ' => 'e',
        'ꜰ' => 'f',
        'ɢ' => 'g',
        'ʜ' => 'h',
        'ɪ' => 'i',
        'ᴊ' => 'j',
        'ᴋ' => 'k',
        'ʟ' => 'l',
        'ᴍ' => 'm',
        'ɴ' => 'n',
        'ᴏ' => 'o',
        'ᴘ' => 'p',
        'ꞯ' => 'q',
        'ʀ' => 'r',
        'ꜱ' => 's',
        'ᴛ' => 't',
        'ᴜ' => 'u',
        'ᴠ' => 'v',
        'ᴡ' => 'w',
        'ʏ' => 'y',
        'ᴢ' => 'z',
        other => other,
    }
}

/// Truncates a text that is too long for an index, and appends its hash to keep it distinct.
fn bounded(text: String) -> String {
    if text.len() <= MAX_BYTES {
        return text;
    }
    let digest = Sha256::digest(&text);
    let mut end = MAX_BYTES - 65;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}#{hash}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same_key(a: &str, b: &str) -> bool {
        NameKeys::of(a).key == NameKeys::of(b).key
    }

    fn same_look(a: &str, b: &str) -> bool {
        NameKeys::of(a).look == NameKeys::of(b).look
    }

    #[test]
    fn spellings_of_one_name_have_one_key() {
        for (name, others) in [
            (
                "admin",
                &["Admin", "ADMIN", "ａｄｍｉｎ", "admin\u{2002}", " admin", "𝐚𝐝𝐦𝐢𝐧", "ⓐⓓⓜⓘⓝ", "adm\u{130}n", "ad\u{200b}min"]
                    [..],
            ),
            ("ada lovelace", &["Ada  Lovelace", "Ada\u{a0}Lovelace", "Ada\u{3000}Lovelace", "ADA \u{2009} LOVELACE"]),
            ("é", &["e\u{301}", "É", "E\u{301}"]),
            ("strasse", &["Straße", "STRASSE", "STRAẞE"]),
            ("σίσυφος", &["ΣΊΣΥΦΟΣ", "Σίσυφοσ"]),
            ("ffi", &["ﬃ"]),
            ("кот", &["КОТ"]),
            ("ᏸ", &["Ᏸ"]),
            ("ǰ", &["J\u{30c}"]),
        ] {
            for other in others {
                assert!(same_key(name, other), "{name} {other:?}: {:?}", NameKeys::of(other));
            }
        }
        for (one, two) in [("ada", "adа"), ("ada", "ada1"), ("rn", "m"), ("jose", "josé"), ("i", "ı"), ("日本", "日木")]
        {
            assert!(!same_key(one, two), "{one} {two}");
        }
    }

    #[test]
    fn names_that_look_alike_have_one_look() {
        for imitation in [
            "аdmin",
            "аdmіn",
            "admın",
            "adrnin",
            "ɑdmin",
            "αdmin",
            "ΑDMIN",
            "ADMlN",
            "adm1n",
            "ᴀᴅᴍɪɴ",
            "🅐🅓🅜🅘🅝",
            "🅰🅳🅼🅸🅽",
            "🇦🇩🇲🇮🇳",
            "аdmin ",
            "Аdmin",
            "aԁmin",
            "admi\u{307}n",
            "admı\u{307}n",
            "ａdmіn",
            "admiո",
        ] {
            assert!(same_look("admin", imitation), "{imitation}: {:?}", NameKeys::of(imitation));
            assert!(same_look("Admin", imitation), "{imitation}");
        }
        for (one, two) in [("alice", "aIice"), ("root", "r00t"), ("Ida", "lda"), ("bob", "ЬоЬ"), ("paypal", "раураl")] {
            assert!(same_look(one, two), "{one} {two}: {:?} {:?}", NameKeys::of(one), NameKeys::of(two));
        }
        for (one, two) in [("admin", "admins"), ("admin", "odmin"), ("jose", "josé"), ("ada", "bob"), ("a b", "ab")] {
            assert!(!same_look(one, two), "{one} {two}");
        }
    }

    #[test]
    fn keys_are_bounded_and_still_tell_names_apart() {
        let long = "\u{fdfa}".repeat(1_000);
        let keys = NameKeys::of(&long);
        assert!(keys.key.len() <= MAX_BYTES && keys.look.len() <= MAX_BYTES, "{} {}", keys.key.len(), keys.look.len());
        assert!(!same_key(&long, &format!("{long}x")));
        assert_eq!(NameKeys::of(""), NameKeys { key: String::new(), look: String::new() });
    }

    proptest::proptest! {
        #[test]
        fn the_key_of_a_key_is_that_key(name: String) {
            let key = NameKeys::of(&name).key;
            proptest::prop_assert!(key.len() > MAX_BYTES - 65 || same_key(&key, &name), "{:?}", key);
        }
    }
}
