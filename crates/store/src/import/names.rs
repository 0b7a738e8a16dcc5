//! Other names for users whose own is taken.

/// How many are tried.
const MAX: u32 = 10_000;

/// `ada-2`, `ada-3` …
pub(super) fn candidates(name: &str) -> impl Iterator<Item = String> + use<'_> {
    (2..=MAX).map(move |number| format!("{name}-{number}"))
}
