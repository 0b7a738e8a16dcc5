//! Parses and shows the values of settings. Errors do not name the setting; the caller adds its source.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use chatsphere_core::duration::parse_duration;
use chatsphere_realtime::bus::{NatsUrl, NkeySeed};
use chatsphere_store::DatabaseUrl;
use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::settings::LogFormat;
use crate::auth::Secret;

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;
pub(crate) const GIB: usize = 1024 * MIB;

const SIZE_UNITS: [(&str, usize); 3] = [("GiB", GIB), ("MiB", MIB), ("KiB", KIB)];
const TIME_UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

pub(crate) fn count<N>(text: &str, range: RangeInclusive<N>) -> Result<N, String>
where
    N: FromStr + PartialOrd + Display,
{
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("\"{text}\" is not a whole number from {} to {}", range.start(), range.end()))
}

pub(crate) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not a port number (1 to 65535; 0 picks a free one)"))
}

/// A number of bytes, or a whole number of KiB, MiB or GiB.
pub(crate) fn size(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    let unit = SIZE_UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.trim_end(), *bytes)));
    let (number, unit) = unit.unwrap_or((text, 1));
    number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit)).filter(|size| range.contains(size)).ok_or_else(
        || {
            let (from, to) = (show_size(*range.start()), show_size(*range.end()));
            format!("\"{text}\" is not a size from {from} to {to}, such as 65536 or 64KiB")
        },
    )
}

pub(crate) fn show_size(size: usize) -> String {
    let unit = SIZE_UNITS.iter().find(|(_, bytes)| size >= *bytes && size.is_multiple_of(*bytes));
    unit.map_or_else(|| size.to_string(), |(unit, bytes)| format!("{}{unit}", size / bytes))
}

pub(crate) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| format!("\"{text}\" is not a length of time: it {error}"))?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    Err(format!("{text} is out of bounds: from {} to {}", show_duration(*range.start()), show_duration(*range.end())))
}

/// A duration in the syntax of the library `ms` version 2, which the first version used through jsonwebtoken 9: `7d`, `2 days`,
/// `1.5h`, `1y`. Also returns whether it is a bare number, which counts as seconds; the library took milliseconds.
pub(crate) fn lifetime(text: &str, range: RangeInclusive<Duration>) -> Result<(Duration, bool), String> {
    let wrong =
        || format!("\"{text}\" is not a length of time: it must be a number and a unit, such as 90s, 12h, 7d, 2 days or 1y");
    // Like the library, rejects longer texts.
    let text = if text.len() > 100 { return Err(wrong()) } else { text.trim() };
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[digits.len()..].trim_start_matches(' ').to_ascii_lowercase();
    let well_formed = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && digits.matches('.').count() <= 1;
    let number: f64 = digits.parse().ok().filter(|_| well_formed).ok_or_else(wrong)?;
    let seconds_each = match unit.as_str() {
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => 0.001,
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        // 365.25 days.
        "y" | "yr" | "yrs" | "year" | "years" => 31_557_600.0,
        _ => return Err(wrong()),
    };
    // Tokens expire at whole seconds.
    let duration = Duration::try_from_secs_f64((number * seconds_each + 1e-6).floor()).map_err(|_| wrong())?;
    if range.contains(&duration) {
        return Ok((duration, unit.is_empty()));
    }
    Err(format!("{text} is out of bounds: from {} to {}", show_duration(*range.start()), show_duration(*range.end())))
}

pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = TIME_UNITS.iter().find(|(_, each)| seconds >= *each && seconds.is_multiple_of(*each));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, each)| format!("{}{unit}", seconds / each))
}

/// `on` or `off`, and the equivalents of TOML and other programs.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(format!("\"{text}\" is neither on nor off")),
    }
}

pub(crate) fn show_switch(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

pub(crate) fn host(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    text.trim_matches(['[', ']'])
        .parse()
        .map_err(|_| format!("\"{text}\" is not an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them"))
}

pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("a path is missing".to_owned()) } else { Ok(PathBuf::from(text)) }
}

pub(crate) fn show_path(path: &Path) -> String {
    path.display().to_string()
}

/// Never quotes the value: a mistyped URL may contain a password.
pub(crate) fn database(text: &str) -> Result<DatabaseUrl, String> {
    text.parse().map_err(|error: chatsphere_store::InvalidUrl| error.to_string())
}

/// Never quotes the value.
pub(crate) fn secret(text: &str) -> Result<Secret, String> {
    Secret::parse("it", text).map_err(|error| error.to_string())
}

/// Never quotes the value: it may contain a password.
pub(crate) fn nats(text: &str) -> Result<NatsUrl, String> {
    text.parse().map_err(|error: chatsphere_realtime::InvalidNats| error.to_string())
}

/// Never quotes the value.
pub(crate) fn nkey(text: &str) -> Result<NkeySeed, String> {
    text.parse().map_err(|error: chatsphere_realtime::InvalidNats| error.to_string())
}

pub(crate) fn log_format(text: &str) -> Result<LogFormat, String> {
    LogFormat::parse(text).ok_or_else(|| format!("\"{text}\" is none of auto, human and json"))
}

pub(crate) fn log_filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("\"{text}\" is not a log level or filter, such as info or info,chatsphere=debug: {error}")),
    }
}

/// `*`, or comma-separated origins, each in the form that browsers send (RFC 6454, section 6.2).
pub(crate) fn origins(text: &str) -> Result<Option<Vec<String>>, String> {
    if text.trim() == "*" {
        return Ok(None);
    }
    list(text, origin).map(Some)
}

fn origin(text: &str) -> Result<String, String> {
    // The origin of pages without one, such as files and sandboxed frames.
    if text == "null" {
        return Ok(text.to_owned());
    }
    let wrong = || format!("\"{text}\" is not an origin such as https://chat.example.com (no path, no slash at the end)");
    let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
    let scheme = scheme.to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-.:[]_".contains(c) || (!c.is_ascii() && !c.is_control());
    if scheme.is_empty() || host.is_empty() || !host.chars().all(allowed) {
        return Err(wrong());
    }
    match scheme.as_str() {
        // In lower case and punycode, without the scheme's default port.
        "http" | "https" => Ok(Url::parse(text).map_err(|_| wrong())?.origin().ascii_serialization()),
        "ws" | "wss" => Err(format!("\"{text}\" is no page's origin, which begins with http:// or https://")),
        "file" => Err(format!("\"{text}\" is no origin: pages from files have the origin null")),
        // Origins of apps and extensions, such as capacitor://localhost, which browsers send unchanged.
        _ if host.is_ascii() => Ok(format!("{scheme}://{}", host.to_ascii_lowercase())),
        _ => Err(wrong()),
    }
}

/// Comma-separated networks or addresses.
pub(crate) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    list(text, |item| {
        item.parse::<IpNet>()
            .or_else(|_| item.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| format!("\"{item}\" is not an address or network such as 10.0.0.0/8"))
    })
}

fn list<T>(text: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(item).collect()
}

pub(crate) fn show_list<T: Display>(items: &[T]) -> Option<String> {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    (!items.is_empty()).then(|| items.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_shown() {
        for (text, bytes) in [("1", 1), ("65536", 64 * KIB), ("64KiB", 64 * KIB), ("1 MiB", MIB), ("2GiB", 2 * GIB)] {
            assert_eq!(size(text, 1..=usize::MAX), Ok(bytes), "{text}");
            assert_eq!(size(&show_size(bytes), 1..=usize::MAX), Ok(bytes));
        }
        for bad in ["", "KiB", "64KB", "64k", "-1", "1.5MiB", "99999999999999999999GiB", "0"] {
            assert!(size(bad, 1..=usize::MAX).is_err(), "{bad}");
        }
        assert_eq!(show_size(1025), "1025");
    }

    #[test]
    fn durations_are_shown_in_the_largest_unit_that_fits() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(show_duration(Duration::from_secs(seconds)), text);
        }
        assert!(duration("2h", Duration::from_secs(1)..=Duration::from_secs(60)).unwrap_err().contains("from 1s to 1m"));
    }

    #[test]
    fn lifetimes_are_read_as_the_first_version_read_them() {
        let range = || Duration::from_secs(1)..=Duration::from_secs(100 * 366 * 86_400);
        for (text, seconds) in [
            ("7d", 604_800),
            ("2 days", 172_800),
            ("30days", 2_592_000),
            ("1 Day", 86_400),
            ("1y", 31_557_600),
            ("2 YRS", 63_115_200),
            ("1.5h", 5_400),
            (".5h", 1_800),
            ("0.1h", 360),
            ("2w", 1_209_600),
            ("1 week", 604_800),
            ("10 mins", 600),
            ("45 minutes", 2_700),
            ("1hr", 3_600),
            ("90  s", 90),
            ("5 seconds", 5),
            ("1500ms", 1),
            ("2000 milliseconds", 2),
            (" 7d ", 604_800),
        ] {
            assert_eq!(lifetime(text, range()), Ok((Duration::from_secs(seconds), false)), "{text}");
        }
        assert_eq!(lifetime("3600", range()), Ok((Duration::from_secs(3_600), true)));
        let long = format!("{}d", "0".repeat(100));
        for bad in [
            "", "d", "-1d", "- 1d", "+1d", "1.h", "1..5h", "1.5.5h", "1 month", "1d2h", "1e3s", "0", "0s", "500ms", "200y",
            "inf", "NaN", "٧d", "1d!", "1\td", &long,
        ] {
            assert!(lifetime(bad, range()).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_origins_and_networks() {
        assert_eq!(host("localhost").unwrap().to_string(), "127.0.0.1");
        assert_eq!(host("[::1]").unwrap().to_string(), "::1");
        assert!(host("chat.example.com").is_err());
        assert_eq!(origins("*"), Ok(None));
        assert_eq!(
            origins("https://A.example, http://localhost:3000"),
            Ok(Some(vec!["https://a.example".to_owned(), "http://localhost:3000".to_owned()]))
        );
        for (written, sent) in [
            ("https://x:443", "https://x"),
            ("HTTPS://X.Example:443", "https://x.example"),
            ("http://x:80", "http://x"),
            ("http://x:443", "http://x:443"),
            ("https://x:80", "https://x:80"),
            ("https://x:8443", "https://x:8443"),
            ("https://Bücher.example", "https://xn--bcher-kva.example"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("http://[0:0::1]:80", "http://[::1]"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("Capacitor://LocalHost", "capacitor://localhost"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
            ("null", "null"),
        ] {
            assert_eq!(origins(written), Ok(Some(vec![sent.to_owned()])), "{written}");
        }
        for bad in [
            "a.example",
            "https://a.example/",
            "https://a.example/x",
            "https://",
            "https://a:b@c",
            "https://a.example:99999",
            "https://*.example.com",
            "https://a b",
            "wss://a.example",
            "file://x",
        ] {
            assert!(origins(bad).is_err(), "{bad}");
        }
        assert_eq!(show_list(&networks("10.0.0.0/8, 192.0.2.1, ::1").unwrap()).unwrap(), "10.0.0.0/8,192.0.2.1/32,::1/128");
        assert!(networks("10.0.0.0/40").is_err());
    }

    #[test]
    fn mistakes_in_what_may_hold_a_password_do_not_repeat_it() {
        for message in [
            database("mysql://a:s3cret@b").unwrap_err(),
            database("postgresql://a:b@s3cret@b/c").unwrap_err(),
            secret("s3cret").unwrap_err(),
            nats("s3cret").unwrap_err(),
            nats("nats://a:b@s3cret@bus").unwrap_err(),
            nats("nats://ada:s3cret/@bus").unwrap_err(),
            nkey("s3cret").unwrap_err(),
        ] {
            assert!(!message.contains("s3cret"), "{message}");
        }
    }
}
