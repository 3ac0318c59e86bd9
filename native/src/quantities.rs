//! Probabilities as integers: the counterpart of `quantities.py`.

/// The q of a probability of 1.
pub const ONE: u16 = 65535;
/// Of more classes than this Python keeps only the largest probabilities.
pub const MAX_WIDTH: usize = 16;
/// How far the sum of probabilities may be from 1, with room for the rounding of the sum.
const TOLERANCE: f64 = 0.01 + 1e-9;

/// 65535 p of the exact value of a number from 0 to 1, rounded half to even.
pub fn quantize(probability: f64) -> u16 {
    let bits = probability.abs().to_bits();
    let (exponent, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
    // The number is mantissa / 2^shift.
    let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
    let shift = 1075 - exponent.max(1);
    let product = u128::from(mantissa) * u128::from(ONE);
    // The product has at most 69 bits.
    if shift > 70 {
        return 0;
    }
    let (quotient, rest, half) =
        (product >> shift, product & ((1 << shift) - 1), 1u128 << (shift - 1));
    (quotient + u128::from(rest > half || (rest == half && quotient & 1 == 1))) as u16
}

/// Whether probabilities with this sum, added from the first to the last, are those of all classes.
pub fn is_whole(sum: f64) -> bool {
    (sum - 1.0).abs() <= TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
