//! Close codes (RFC 6455 section 7.4).

/// Whether a close frame may carry this number (RFC 6455 section 7.4 and the IANA registry of section 11.7).
///
/// 1004 is undefined, 1005, 1006 and 1015 exist only in APIs, and 1016 to 2999 are reserved.
pub const fn is_close_code(number: u16) -> bool {
    matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_of_section_7_4_are_valid() {
        for (range, valid) in [
            (0..=999, false),
            (1000..=1003, true),
            (1004..=1006, false),
            (1007..=1014, true),
            (1015..=2999, false),
            (3000..=4999, true),
            (5000..=u16::MAX, false),
        ] {
            for code in range {
                assert_eq!(is_close_code(code), valid, "{code}");
            }
        }
    }
}
