//! Decimal numbers as C2SP's formats use them: ASCII digits without leading zeroes.

/// Returns the number, or `None` if the text has a sign, a leading zero or any other character, or
/// exceeds 64 bits.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    // `u64::from_str` accepts a plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_canonical_numbers_are_accepted() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("18446744073709551615"), Some(u64::MAX));
        for text in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1_0",
            "18446744073709551616",
            "١",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
