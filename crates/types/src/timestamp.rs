use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z. On the wire it is RFC 3339 with three decimals:
/// `2026-11-22T09:56:10.473Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns whole seconds since 1970, rounded down, as in a JWT's `iat` and `exp` (RFC 7519, section 2).
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns this time plus `duration`, at most the largest time that can be represented.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Returns the duration from `self` to `later`; zero if `later` is earlier.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Rfc3339::of(*self).as_str())
    }
}

/// The text of a [`Timestamp`] on the wire: `2026-11-22T09:56:10.473Z`. Each message has two of them, and jiff's general
/// formatter takes ten times as long.
struct Rfc3339([u8; 24]);

impl Rfc3339 {
    fn of(moment: Timestamp) -> Self {
        let Ok(instant) = jiff::Timestamp::from_millisecond(moment.0) else { return Self(*b"9999-12-30T22:00:00.999Z") };
        let civil = jiff::tz::Offset::UTC.to_datetime(instant);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        // RFC 3339 has no years before 0, and none occur.
        digits(&mut text[0..4], u32::from(civil.year().unsigned_abs()));
        digits(&mut text[5..7], u32::from(civil.month().unsigned_abs()));
        digits(&mut text[8..10], u32::from(civil.day().unsigned_abs()));
        digits(&mut text[11..13], u32::from(civil.hour().unsigned_abs()));
        digits(&mut text[14..16], u32::from(civil.minute().unsigned_abs()));
        digits(&mut text[17..19], u32::from(civil.second().unsigned_abs()));
        digits(&mut text[20..23], u32::from(civil.millisecond().unsigned_abs()));
        Self(text)
    }

    fn as_str(&self) -> &str {
        // The bytes are ASCII, so this can't fail.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Writes a number into `place`, padded with leading zeros to its length.
fn digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        Ok(Self(text.parse::<jiff::Timestamp>()?.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Rfc3339::of(*self).as_str())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_milliseconds_always() {
        assert_eq!(Timestamp::from_millis(1_795_341_370_000).to_string(), "2026-11-22T09:56:10.000Z");
        assert_eq!("2026-11-22T09:56:10.473Z".parse::<Timestamp>().unwrap().to_string(), "2026-11-22T09:56:10.473Z");
    }
}
