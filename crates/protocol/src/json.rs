//! Values that are passed on as they were written, and parts of JSON (RFC 8259) that `serde_json` rejects: halves of surrogate
//! pairs, and whole numbers written as fractions. The latter is used only after `serde_json` has failed, to accept such a
//! number or to name what is wrong.

use std::borrow::Cow;

use serde::ser::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON value as it was written, with its white space and all digits of its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawJson<'a>(Cow<'a, str>);

impl<'a> RawJson<'a> {
    /// Makes a value of its text. Serialising it fails if the text is not JSON.
    pub fn new(json: impl Into<Cow<'a, str>>) -> Self {
        Self(json.into())
    }

    /// The value's text.
    pub fn get(&self) -> &str {
        &self.0
    }

    /// The value's text.
    pub fn into_string(self) -> String {
        self.0.into_owned()
    }
}

impl Serialize for RawJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self::new(String::from(Box::<str>::from(raw))))
    }
}

/// Deserialises a value of an enumeration that serde tells by its tag. serde buffers such a value, so its text is lost: numbers
/// may lose digits.
pub fn buffered<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RawJson<'static>, D::Error> {
    Ok(RawJson::new(Value::deserialize(deserializer)?.to_string()))
}

/// Replaces half of a surrogate pair in a name.
const REPLACEMENT: &str = "\\ufffd";

/// The error message for a text with half of a surrogate pair.
pub const HALF_A_PAIR: &str =
    "must not hold half of a surrogate pair, such as \\ud83d alone: cut texts between characters, not between UTF-16 units";

/// Replaces halves of surrogate pairs (RFC 8259, section 8.2) in the names of a valid JSON text's members, so that `serde_json`
/// parses it. No known name has one, so such a member is ignored as unknown. Values are not changed.
pub fn replace_half_pairs(json: &str) -> Cow<'_, str> {
    let mut replaced = String::new();
    let mut copied = 0;
    let mut strings = Strings { json, at: 0 };
    while let Some((start, end)) = strings.next_string() {
        let is_name = json.get(end..).is_some_and(|rest| rest.trim_ascii_start().starts_with(':'));
        if !is_name {
            continue;
        }
        for half in halves(json.get(start..end).unwrap_or_default()) {
            replaced.push_str(json.get(copied..start + half).unwrap_or_default());
            replaced.push_str(REPLACEMENT);
            copied = start + half + REPLACEMENT.len();
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    replaced.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(replaced)
}

/// Whether a JSON string, given with its quotes, contains half of a surrogate pair.
pub fn holds_half_a_pair(string: &str) -> bool {
    halves(string).next().is_some()
}

/// The positions of the escapes of halves of surrogate pairs in a JSON string.
fn halves(string: &str) -> impl Iterator<Item = usize> {
    let bytes = string.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let backslash = at + bytes.get(at..)?.iter().position(|byte| *byte == b'\\')?;
            at = backslash + 2;
            let Some(unit) = escaped_unit(bytes, backslash) else { continue };
            at = backslash + 6;
            match unit {
                0xd800..=0xdbff if matches!(escaped_unit(bytes, at), Some(0xdc00..=0xdfff)) => at += 6,
                0xd800..=0xdfff => return Some(backslash),
                _ => {}
            }
        }
    })
}

/// The UTF-16 unit of the escape at this position, such as `\u0041`.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

/// Iterates over the strings of a valid JSON text.
struct Strings<'a> {
    json: &'a str,
    at: usize,
}

impl Strings<'_> {
    /// The range of the next string, including its quotes.
    fn next_string(&mut self) -> Option<(usize, usize)> {
        let bytes = self.json.as_bytes();
        let start = self.at + bytes.get(self.at..)?.iter().position(|byte| *byte == b'"')?;
        let mut end = start + 1;
        loop {
            match bytes.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        self.at = end + 1;
        Some((start, self.at))
    }
}

/// Parses a JSON number whose value is a whole number from 0, in any spelling: `41`, `41.0`, `4.1e1`. JSON has one kind of
/// number (RFC 8259, section 6), and some encoders always write a fraction.
pub fn whole_number(number: &str) -> Option<u64> {
    let (is_negative, number) = match number.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, number),
    };
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let digits: String = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    if is_negative {
        return None;
    }
    // The zeros after the significant digits, before the point is moved.
    let zeros = i64::try_from(digits.len() - digits.trim_end_matches('0').len()).ok()?;
    let fraction = i64::try_from(fraction.len()).ok()?;
    let exponent: i64 = exponent.parse().ok()?;
    let zeros = usize::try_from(exponent.checked_sub(fraction)?.checked_add(zeros)?).ok().filter(|zeros| *zeros < 20)?;
    format!("{significant}{}", "0".repeat(zeros)).parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_is_passed_on_as_it_was_written() {
        for json in ["null", "1.0000000000000000000001", "[ 1e2 ,{\"a\":1,\"a\":2}]", "\"\\u0041\\ud83d\"", "1e999"] {
            let text = format!("{{\"x\": {json} }}");
            let read: std::collections::BTreeMap<String, RawJson<'_>> = serde_json::from_str(&text).unwrap();
            assert_eq!(read["x"].get(), json);
            assert_eq!(serde_json::to_string(&read).unwrap(), format!("{{\"x\":{json}}}"));
        }
        for text in ["", "{", "1 2", "nul"] {
            assert!(serde_json::to_string(&RawJson::new(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn halves_of_pairs_are_found_and_whole_ones_left_alone() {
        for (string, half) in [
            (r#""\ud83d""#, true),
            (r#""a\ude00""#, true),
            (r#""\ud83d\ude00""#, false),
            (r#""\uD83D\uDE00\uD83D""#, true),
            (r#""\ud83d\ud83d\ude00""#, true),
            (r#""\ud83dx\ude00""#, true),
            (r#""\\ud83d""#, false),
            (r#""\\\ud83d""#, true),
            (r#""\u0041😀""#, false),
        ] {
            assert_eq!(holds_half_a_pair(string), half, "{string}");
        }
    }

    #[test]
    fn names_are_mended_and_values_kept() {
        let replaced = replace_half_pairs(r#"{"a\ud83d" : "\ud83d", "b":["\ud83d:","\\",{"\ude00\"":1}], "c":"x\"\ud83d\":"}"#);
        assert_eq!(replaced, r#"{"a\ufffd" : "\ud83d", "b":["\ud83d:","\\",{"\ufffd\"":1}], "c":"x\"\ud83d\":"}"#);
        assert!(matches!(replace_half_pairs(r#"{"a":"\ud83d"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn whole_numbers_in_every_spelling() {
        for (number, value) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0e5", 0),
            ("0e400", 0),
            ("41", 41),
            ("41.0", 41),
            ("4.1e1", 41),
            ("4.10E+1", 41),
            ("410e-1", 41),
            ("0.041e3", 41),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("18446744073709551615", u64::MAX),
            ("1.8446744073709551615e19", u64::MAX),
        ] {
            assert_eq!(whole_number(number), Some(value), "{number}");
        }
        let long = format!("1{}e-60000", "0".repeat(60_000));
        assert_eq!(whole_number(&long), Some(1));
        for number in [
            "41.5",
            "-1",
            "-1e400",
            "1e400",
            "1e-1",
            "18446744073709551616",
            "1e20",
            "1e99999999999999999999",
            "",
            "\"5\"",
            "{}",
        ] {
            assert_eq!(whole_number(number), None, "{number}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_handled(text in ".*") {
            let _ = (replace_half_pairs(&text), holds_half_a_pair(&text), whole_number(&text));
        }

        #[test]
        fn whole_numbers_are_read_as_they_are(number: u64, zeros in 0..5_usize) {
            prop_assert_eq!(whole_number(&number.to_string()), Some(number));
            prop_assert_eq!(whole_number(&format!("{number}.{}", "0".repeat(zeros))), Some(number));
        }
    }
}
