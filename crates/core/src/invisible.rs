//! Invisible characters, by which one name can look like another.

/// Returns the first character of a name that is invisible in its place, or changes the direction of the text around it.
///
/// The joiner and the variation selector are allowed within an emoji, which needs them. All other characters that Unicode lets
/// programs ignore (`Default_Ignorable_Code_Point`) are found, as are its other format characters without a shape, line
/// separators, noncharacters and private use. Characters that Unicode has not assigned yet are not.
pub(crate) fn first_invisible(name: &str) -> Option<char> {
    let mut before: [Option<char>; 2] = [None, None];
    let mut rest = name.chars();
    while let Some(here) = rest.next() {
        let next = rest.clone().next();
        if is_invisible(here) && !is_of_an_emoji(before, here, next) {
            return Some(here);
        }
        before = [before[1], Some(here)];
    }
    None
}

const JOINER: char = '\u{200d}';
const AS_EMOJI: char = '\u{fe0f}';
const KEYCAP: char = '\u{20e3}';

/// Whether the character is a part of the emoji around it. ❤️ is U+2764 with a selector, 👩‍💻 is two joined emojis.
fn is_of_an_emoji(before: [Option<char>; 2], here: char, next: Option<char>) -> bool {
    match (before, here) {
        ([_, Some(last)], AS_EMOJI) => is_picture(last) || (matches!(last, '0'..='9' | '#' | '*') && next == Some(KEYCAP)),
        ([Some(picture), Some(AS_EMOJI)] | [_, Some(picture)], JOINER) => is_picture(picture) && next.is_some_and(is_picture),
        _ => false,
    }
}

/// Whether the character is a picture or may be shown as one. It tests whole blocks, so it allows a little more than Unicode's
/// `Emoji`.
fn is_picture(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}'
        | '\u{2190}'..='\u{21ff}'
        | '\u{2300}'..='\u{23ff}'
        | '\u{24c2}'
        | '\u{25a0}'..='\u{27bf}'
        | '\u{2900}'..='\u{297f}'
        | '\u{2b00}'..='\u{2bff}'
        | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}'
        | '\u{1f000}'..='\u{1faff}')
}

/// Whether the character has no shape of its own, or is allowed within an emoji only.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        // Soft hyphen, combining grapheme joiner, Arabic letter mark.
        '\u{ad}' | '\u{34f}' | '\u{61c}'
        // Hangul and Khmer fillers, Mongolian selectors.
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}'
        // Zero-width spaces and joiners, direction marks; line and paragraph separators, embeddings and overrides.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        // Invisible operators, isolates.
        | '\u{2060}'..='\u{206f}'
        // The blank Braille pattern.
        | '\u{2800}'
        // Variation selectors, the byte order mark, annotations, and the unassigned code points among them.
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        // Controls and blanks of hieroglyphs, shorthand, and music with its null notehead.
        | '\u{13430}'..='\u{1343f}' | '\u{13441}'..='\u{13442}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}'
        // The Khitan small script filler, and the object replacement character.
        | '\u{16fe4}' | '\u{fffc}'
        // Tags and supplementary variation selectors.
        | '\u{e0000}'..='\u{e0fff}'
        // Private use.
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}'
        | '\u{fdd0}'..='\u{fdef}')
        // The last two code points of each plane are noncharacters.
        || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_names_are_allowed() {
        for name in [
            "Ada Lovelace",
            "O’Brien-Smith",
            "日本語\u{3000}太郎",
            "مُحَمَّد",
            "עברית",
            "हिन्दी",
            "한국어",
            "e\u{301}",
            "I ❤️ chat",
            "👩‍💻 dev",
            "👨🏽‍🚀",
            "🏳️‍🌈",
            "❤️‍🔥",
            "👨‍👩‍👧‍👦",
            "🇪🇺",
            "1️⃣ #️⃣",
            "\u{600}1",
        ] {
            assert_eq!(first_invisible(name), None, "{name}");
        }
    }

    #[test]
    fn invisible_characters_are_found() {
        for hidden in [
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2064}',
            '\u{2066}',
            '\u{2069}',
            '\u{2800}',
            '\u{3164}',
            '\u{fe00}',
            '\u{fe0e}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{fdd0}',
            '\u{ffff}',
            '\u{1d173}',
            '\u{1d159}',
            '\u{13441}',
            '\u{16fe4}',
            '\u{fffc}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{e000}',
            '\u{f8ff}',
            '\u{f0000}',
            '\u{10ffff}',
        ] {
            for name in [format!("{hidden}"), format!("a{hidden}da"), format!("{hidden}ada"), format!("ada{hidden}")] {
                assert_eq!(first_invisible(&name), Some(hidden), "{name:?}");
            }
        }
    }

    #[test]
    fn joiners_and_selectors_are_allowed_only_within_an_emoji() {
        // Two joiners, at the end, at the beginning, after a letter, before a single emoji; tags, which spell the flags of
        // regions.
        for name in [
            "❤️\u{fe0f}",
            "👩\u{200d}",
            "\u{200d}👩",
            "👩\u{200d}\u{200d}💻",
            "a\u{fe0f}",
            "1\u{fe0f}",
            "👩\u{200d}a",
            "a\u{200d}👩",
            "🏴\u{e0067}\u{e007f}",
        ] {
            assert!(first_invisible(name).is_some(), "{name:?}");
        }
    }
}
