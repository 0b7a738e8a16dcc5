//! New names for imported users whose names are taken.

/// The number of names that are tried.
const MAX: u32 = 10_000;

/// Returns the names to try: `ada-2`, `ada-3` …
pub(super) fn candidates(name: &str) -> impl Iterator<Item = String> + use<'_> {
    (2..=MAX).map(move |number| format!("{name}-{number}"))
}
