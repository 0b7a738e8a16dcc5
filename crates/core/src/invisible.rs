//! Characters that nobody sees, and by which one name can look like another.

/// The first character of a name that can't be seen where it stands, or changes the direction of the text around it.
///
/// Within an emoji the joiner and the selector of its picture are needed, and allowed. Everything else that Unicode has readers
/// ignore (`Default_Ignorable_Code_Point`), its other format characters without a shape of their own, separators of lines, and
/// what has no meaning in an exchange (noncharacters, private use) is found. Characters that Unicode has yet to assign are not.
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

/// Whether the character is one without which an emoji would be another: ❤️ is U+2764 with a selector, 👩‍💻 two emojis joined.
fn is_of_an_emoji(before: [Option<char>; 2], here: char, next: Option<char>) -> bool {
    match (before, here) {
        ([_, Some(last)], AS_EMOJI) => is_picture(last) || (matches!(last, '0'..='9' | '#' | '*') && next == Some(KEYCAP)),
        ([Some(picture), Some(AS_EMOJI)] | [_, Some(picture)], JOINER) => is_picture(picture) && next.is_some_and(is_picture),
        _ => false,
    }
}

/// Whether the character is a picture, or may be shown as one: by blocks, so a little more than Unicode's `Emoji`.
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

/// Whether the character has no shape of its own, or is needed within an emoji alone.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        // Soft hyphen, grapheme joiner, the mark for the direction of Arabic.
        '\u{ad}' | '\u{34f}' | '\u{61c}'
        // Fillers of Hangul and Khmer, selectors of Mongolian.
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}'
        // Spaces of no width, joiners, marks of direction; separators of lines and paragraphs, embeddings and overrides.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        // Operators that are not shown, isolates.
        | '\u{2060}'..='\u{206f}'
        // A cell of Braille without a dot.
        | '\u{2800}'
        // Selectors, the mark of the byte order, annotations, and what is still free among them.
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        // The layout of hieroglyphs and their blanks, shorthand, and music with its note without a head.
        | '\u{13430}'..='\u{1343f}' | '\u{13441}'..='\u{13442}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}'
        // The filler of the Khitan small script, and what stands for an object that is not there.
        | '\u{16fe4}' | '\u{fffc}'
        // Tags and more selectors.
        | '\u{e0000}'..='\u{e0fff}'
        // Private use.
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}'
        | '\u{fdd0}'..='\u{fdef}')
        // The last two of each plane are no characters.
        || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_is_let_through() {
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
    fn what_is_not_seen_is_found() {
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
    fn the_parts_of_an_emoji_stand_in_one_or_nowhere() {
        // Twice, at the end, at the beginning, after a letter, before one; tags, by which flags of regions are written.
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
