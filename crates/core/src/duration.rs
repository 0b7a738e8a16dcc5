//! Parses durations as people write them: `7d`, `12h`, `90s`.

use std::time::Duration;

/// The text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number and a unit, such as 90s, 30m, 12h, 7d or 2w")]
pub struct InvalidDuration;

/// Parses a whole number followed by `s`, `m`, `h`, `d` or `w`.
///
/// A number without a unit is an error: the Node.js version's library reads it as milliseconds, and most people mean seconds.
///
/// # Errors
/// [`InvalidDuration`] for any other text, and for a duration that does not fit into a [`Duration`].
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let seconds_each: u64 = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return Err(InvalidDuration),
    };
    // `u64::from_str` accepts a leading plus sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidDuration);
    }
    let number: u64 = digits.parse().map_err(|_| InvalidDuration)?;
    number.checked_mul(seconds_each).map(Duration::from_secs).ok_or(InvalidDuration)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_and_a_unit() {
        for (text, seconds) in
            [("0s", 0), ("90s", 90), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600), ("007s", 7)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "s",
            "7",
            "+7d",
            "-7d",
            "7 d",
            " 7d",
            "7d ",
            "7D",
            "1.5h",
            "7dd",
            "7d12h",
            "٧d",
            "7ms",
            "99999999999999999999s",
        ] {
            assert_eq!(parse_duration(text), Err(InvalidDuration), "{text}");
        }
        assert_eq!(parse_duration(&format!("{}w", u64::MAX)), Err(InvalidDuration));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn seconds_are_read_back(seconds: u64) {
            prop_assert_eq!(parse_duration(&format!("{seconds}s")), Ok(Duration::from_secs(seconds)));
        }
    }
}
