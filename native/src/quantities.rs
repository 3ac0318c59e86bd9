//! Probabilities as integers: the counterpart of `quantities.py`.

use std::cmp::Ordering;

/// The q of a probability of 1.
pub const ONE: u16 = 65535;
/// Of more classes than this only the largest probabilities are kept.
pub const MAX_WIDTH: usize = 16;
pub const KEPT: usize = 10;
/// How far the sum of probabilities may be from 1, with room for the rounding of the sum.
const TOLERANCE: f64 = 0.01 + 1e-9;

/// 65535 p of the exact value of a number from 0 to 1, rounded half to even.
pub fn quantize(probability: f64) -> u16 {
    let (quotient, half) = scaled(probability);
    quotient + u16::from(half.is_gt() || (half.is_eq() && quotient & 1 == 1))
}

/// 65535 (1 - p) and 65535 p of the exact value of a number above 0 and below 1, each rounded half to
/// even.
pub fn quantize_pair(probability: f64) -> (u16, u16) {
    let (quotient, half) = scaled(probability);
    let below = ONE - quotient;
    let first = match half {
        Ordering::Less => below,
        Ordering::Equal => below - (below & 1),
        Ordering::Greater => below - 1,
    };
    (first, quantize(probability))
}

/// 65535 p of the exact value of a number from 0 to 1, rounded down, and how the rest compares to a half.
fn scaled(probability: f64) -> (u16, Ordering) {
    let bits = probability.abs().to_bits();
    let (exponent, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
    // The number is mantissa / 2^shift.
    let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
    let shift = 1075 - exponent.max(1);
    let product = u128::from(mantissa) * u128::from(ONE);
    // The product has at most 69 bits.
    if shift > 70 {
        return (0, Ordering::Less);
    }
    let rest = product & ((1 << shift) - 1);
    ((product >> shift) as u16, rest.cmp(&(1u128 << (shift - 1))))
}

/// The largest number, in units.
const MAX_NUMBER: u128 = 1_000_000_000_000_000_000;

/// A number in units of 10^unit, rounded half to even of its exact value; None if it is not finite, or
/// beyond 10^18 units. `unit` is from -12 to 0.
pub fn to_units(number: f64, unit: i32) -> Option<i64> {
    if !number.is_finite() {
        return None;
    }
    let bits = number.abs().to_bits();
    let (exponent, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
    let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
    let scaled = u128::from(mantissa) * 10u128.pow(unit.unsigned_abs());
    let shift = exponent.max(1) - 1075;
    // The scaled mantissa has at most 93 bits.
    let amount = if shift >= 0 {
        if mantissa != 0 && shift > 34 {
            return None;
        }
        scaled << shift
    } else if shift < -94 {
        0
    } else {
        let shift = -shift as u32;
        let (quotient, rest, half) =
            (scaled >> shift, scaled & ((1 << shift) - 1), 1u128 << (shift - 1));
        quotient + u128::from(rest > half || (rest == half && quotient & 1 == 1))
    };
    if amount > MAX_NUMBER {
        return None;
    }
    Some(if number < 0.0 { -(amount as i64) } else { amount as i64 })
}

/// Whether probabilities with this sum, added from the first to the last, are those of all classes.
pub fn is_whole(sum: f64) -> bool {
    (sum - 1.0).abs() <= TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_half_to_even() {
        for (number, unit, amount) in [
            (1.5, -6, Some(1_500_000)),
            (-0.125, -2, Some(-12)),
            (0.375, -2, Some(38)),
            (1e12, -6, Some(1_000_000_000_000_000_000)),
            (1.1e12, -6, None),
            (1e300, -6, None),
            (1e-300, -6, Some(0)),
            (f64::NAN, -6, None),
            (0.0, 0, Some(0)),
            (2.5, 0, Some(2)),
        ] {
            assert_eq!(to_units(number, unit), amount, "{number} {unit}");
        }
    }

    #[test]
    fn probabilities_are_rounded_half_to_even() {
        for (probability, q) in [
            (0.0, 0),
            (1.0, 65535),
            (0.25, 16384),
            (0.5, 32768),
            (0.75, 49151),
            (f64::MIN_POSITIVE, 0),
            (5e-324, 0),
            (1.0 - f64::EPSILON, 65535),
        ] {
            assert_eq!(quantize(probability), q, "{probability}");
        }
    }

    #[test]
    fn both_of_a_pair_are_rounded_half_to_even() {
        for (probability, pair) in [
            (0.75, (16384, 49151)),
            (0.5, (32768, 32768)),
            (5e-324, (65535, 0)),
            (1.0 - f64::EPSILON, (0, 65535)),
            (1e-4, (65528, 7)),
        ] {
            assert_eq!(quantize_pair(probability), pair, "{probability}");
        }
    }
}
