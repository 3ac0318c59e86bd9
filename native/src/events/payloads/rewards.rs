//! Rewards in millionths: the counterpart of `micros` in `json_bodies.py`.

use crate::events::json::Scanner;

/// The largest reward.
const MAX: f64 = 1e6;
const MICRO: i64 = 1_000_000;

/// The reward of a feedback: `Some(None)` for null. None if it is no number up to a million, or a text.
pub fn read(scanner: &mut Scanner) -> Option<Option<i64>> {
    match scanner.next()? {
        b'n' => scanner.skip().map(|_| None),
        b't' | b'f' => Some(Some(i64::from(scanner.boolean()?) * MICRO)),
        _ => micros(scanner.number()?).map(Some),
    }
}

/// A reward that was cut to 32 bits, as it was written before: 0.1, not 0.10000000149. None if its seventh
/// digit may be rounded either way.
pub fn of_float(reward: f32) -> Option<i64> {
    let reward = f64::from(reward);
    if reward.fract() == 0.0 && reward.abs() <= MAX {
        return Some(reward as i64 * MICRO);
    }
    let exact = format!("{reward:.40e}");
    let digits = exact.trim_start_matches('-').as_bytes().get(8..)?;
    let digits = digits.split(|&byte| byte == b'e').next()?;
    if digits[0] == b'5' && digits[1..].iter().all(|&digit| digit == b'0') {
        return None;
    }
    micros(format!("{reward:.6e}").as_bytes())
}

/// A number in millionths, rounded half to even of its shortest decimal form.
fn micros(text: &[u8]) -> Option<i64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    // An integer text can be beyond the doubles, a float cannot: both are refused by Python.
    if number.is_nan() || number.abs() > MAX {
        return None;
    }
    if number.fract() == 0.0 {
        return Some(number as i64 * MICRO);
    }
    let shortest = format!("{:e}", number.abs());
    let (mantissa, exponent) = shortest.split_once('e')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i64 = format!("{whole}{fraction}").parse().ok()?;
    let shift = exponent.parse::<i32>().ok()? - fraction.len() as i32 + 6;
    let amount = if shift >= 0 {
        digits * 10i64.pow(shift as u32)
    } else if shift < -18 {
        0
    } else {
        let divisor = 10i64.pow(-shift as u32);
        let (quotient, rest) = (digits / divisor, digits % divisor);
        let is_up = match (2 * i128::from(rest)).cmp(&i128::from(divisor)) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => quotient & 1 == 1,
            std::cmp::Ordering::Less => false,
        };
        quotient + i64::from(is_up)
    };
    Some(if number < 0.0 { -amount } else { amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_floats_are_as_they_were_written() {
        for (reward, amount) in [
            (0.1, Some(100_000)),
            (-0.73, Some(-730_000)),
            (-0.0, Some(0)),
            (1e6, Some(1_000_000_000_000)),
            (1e-40, Some(0)),
            (131072.25, None),
            (1000001.0, None),
            (f32::INFINITY, None),
            (f32::NAN, None),
        ] {
            assert_eq!(of_float(reward), amount, "{reward}");
        }
    }

    #[test]
    fn rewards_are_rounded_half_to_even_of_what_is_written() {
        for (text, amount) in [
            (&b"1"[..], Some(Some(1_000_000))),
            (b"-0", Some(Some(0))),
            (b"true", Some(Some(1_000_000))),
            (b"null", Some(None)),
            (b"0.73", Some(Some(730_000))),
            (b"-0.0000025", Some(Some(-2))),
            (b"0.0000035", Some(Some(4))),
            (b"999999.9999999", Some(Some(1_000_000_000_000))),
            (b"1e-300", Some(Some(0))),
            (b"1.5e5", Some(Some(150_000_000_000))),
            (b"1000001", None),
            (b"1e400", None),
            (b"\"1\"", None),
        ] {
            assert_eq!(read(&mut Scanner::new(text)), amount);
        }
    }
}
