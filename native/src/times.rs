//! Parses RFC 3339 times to nanoseconds since 1970.

pub const SECOND: i64 = 1_000_000_000;
pub const MINUTE: i64 = 60 * SECOND;

/// The last year that fits in 64 bits of nanoseconds.
const LAST_YEAR: i64 = 2261;

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |sum, &byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// Parse a time such as `2026-11-20T09:03:59.33Z` or `2026-11-20 10:03:59+01:00`; digits beyond
/// nanoseconds are cut off. None is left to Python, even if it is a valid time.
pub fn parse(text: &[u8]) -> Option<i64> {
    if text.len() < 20 {
        return None;
    }
    if text[4] != b'-'
        || text[7] != b'-'
        || !matches!(text[10], b'T' | b't' | b' ')
        || text[13] != b':'
        || text[16] != b':'
    {
        return None;
    }
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute, second) =
        (number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?);
    if !(1970..=LAST_YEAR).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    // A leap second belongs to the next minute.
    if day < 1 || day > days_of(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanoseconds, zone) = fraction(&text[19..])?;
    let minutes = days_since_1970(year, month, day) * 1440 + hour * 60 + minute - offset(zone)?;
    let time = minutes * MINUTE + second * SECOND + nanoseconds;
    (time >= 0).then_some(time)
}

/// The nanoseconds of a fraction, 0 if there is none, and the text after it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let kept = length.min(9);
    Some((number(&digits[..kept])? * 10_i64.pow(9 - kept as u32), &digits[length..]))
}

/// The minutes that a zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h, hh, b':', m, mm] => {
            let (hours, minutes) = (number(&[h, hh])?, number(&[m, mm])?);
            let ahead = hours * 60 + minutes;
            let is_valid = hours <= 23 && minutes <= 59;
            is_valid.then_some(if sign == b'-' { -ahead } else { ahead })
        }
        _ => None,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days by a calendar whose years begin in March, so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn times_have_many_forms() {
        assert_eq!(parse(b"1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse(b"2026-11-20T09:03:59.330716836Z"), Some(1_795_165_439_330_716_836));
        assert_eq!(parse(b"2024-02-29T00:00:00.5Z"), Some(1_709_164_800_500_000_000));
        for same in [
            &b"2026-11-20t10:03:59.330716836+01:00"[..],
            b"2026-11-20 08:33:59.3307168369999-00:30",
            b"2026-11-20T09:03:59.330716836z",
        ] {
            assert_eq!(parse(same), Some(1_795_165_439_330_716_836));
        }
        assert_eq!(parse(b"1970-01-01T00:00:60Z"), Some(60_000_000_000));
    }

    #[test]
    fn other_texts_are_left() {
        for other in [
            &b"2023-02-29T00:00:00Z"[..],
            b"2026-11-20T09:03:61Z",
            b"2026-11-20T09:03:59.Z",
            b"2026-11-20T09:03:59",
            b"2026-11-20T09:03:59Zx",
            b"2026-11-20T09:03:59+0100",
            b"2026-11-20T09:03:59+24:00",
            b"2026-11-20T09:03:59+01:60",
            b"2026-11-20T09:03:59.1 Z",
            b"1969-12-31T00:00:00Z",
            b"1970-01-01T00:00:00+00:01",
            b"yesterday",
        ] {
            assert_eq!(parse(other), None);
        }
    }
}
