//! Columns as planes: the counterpart of `planes.py`, which describes them.

const MAX_PLANES: usize = 64;

/// Append the planes of numbers; returns how many these are.
pub fn add_numbers(planes: &mut Vec<Vec<u8>>, numbers: &[u64]) -> usize {
    let greatest = numbers.iter().copied().max().unwrap_or(0);
    let width = (64 - greatest.leading_zeros() as usize).div_ceil(8);
    for place in 0..width {
        planes.push(numbers.iter().map(|number| (number >> (8 * place)) as u8).collect());
    }
    width
}

/// Append the planes of byte strings.
pub fn add_strings(planes: &mut Vec<Vec<u8>>, strings: &[&[u8]]) {
    let longest = strings.iter().map(|each| each.len()).max().unwrap_or(0);
    let at = |place: usize| strings.iter().filter_map(move |each| each.get(place).copied());
    planes.extend((0..longest.min(MAX_PLANES)).map(|place| at(place).collect()));
    if longest > MAX_PLANES {
        let rest = strings.iter().filter_map(|each| each.get(MAX_PLANES..));
        planes.push(rest.flatten().copied().collect());
    }
}

/// Reads columns, one after another. None if a plane is missing or has another length.
pub struct PlaneReader<'a> {
    pub planes: std::slice::Iter<'a, &'a [u8]>,
}

impl<'a> PlaneReader<'a> {
    fn plane(&mut self, length: usize) -> Option<&'a [u8]> {
        self.planes.next().copied().filter(|plane| plane.len() == length)
    }

    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        if count == 0 {
            return Some(&[]);
        }
        self.plane(count)
    }

    pub fn numbers(&mut self, count: usize, width: usize) -> Option<Vec<u64>> {
        if width > 8 {
            return None;
        }
        let mut numbers = Vec::new();
        for place in 0..width {
            let plane = self.plane(count)?;
            numbers.resize(count, 0);
            for (number, &byte) in numbers.iter_mut().zip(plane) {
                *number |= u64::from(byte) << (8 * place);
            }
        }
        if width == 0 {
            numbers.resize(count, 0);
        }
        Some(numbers)
    }

    /// A column of byte strings of these lengths, one after the other.
    pub fn strings(&mut self, lengths: &[usize]) -> Option<Vec<u8>> {
        let total = lengths.iter().try_fold(0usize, |sum, &length| sum.checked_add(length))?;
        let left: usize = self.planes.as_slice().iter().map(|plane| plane.len()).sum();
        if total > left {
            return None; // before so much memory is taken
        }
        let mut strings = vec![0; total];
        let longest = lengths.iter().copied().max().unwrap_or(0);
        for place in 0..longest.min(MAX_PLANES) {
            let mut bytes = self.planes.next()?.iter();
            let mut start = 0;
            for &length in lengths {
                if length > place {
                    strings[start + place] = *bytes.next()?;
                }
                start += length;
            }
            if bytes.next().is_some() {
                return None;
            }
        }
        if longest > MAX_PLANES {
            let mut rest = *self.planes.next()?;
            let mut start = 0;
            for &length in lengths {
                if length > MAX_PLANES {
                    let part = rest.get(..length - MAX_PLANES)?;
                    strings[start + MAX_PLANES..start + length].copy_from_slice(part);
                    rest = &rest[part.len()..];
                }
                start += length;
            }
            if !rest.is_empty() {
                return None;
            }
        }
        Some(strings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_were_written_can_be_read() {
        let (numbers, long) = ([0, 3, 700, u64::MAX], vec![7; 70]);
        let strings: [&[u8]; 4] = [b"", b"ab", &long, b"xyz"];
        let mut planes = Vec::new();
        let width = add_numbers(&mut planes, &numbers);
        add_strings(&mut planes, &strings);
        let planes: Vec<&[u8]> = planes.iter().map(Vec::as_slice).collect();
        let mut reader = PlaneReader { planes: planes.iter() };
        assert_eq!(reader.numbers(4, width).unwrap(), numbers);
        let lengths: Vec<usize> = strings.iter().map(|each| each.len()).collect();
        assert_eq!(reader.strings(&lengths).unwrap(), strings.concat());
        assert!(reader.planes.next().is_none());
    }
}
