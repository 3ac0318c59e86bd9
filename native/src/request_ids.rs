//! Packs request ids that are UUIDs into 16 bytes, as `request_ids.py` does.

pub type Key = [u8; 16];

const DASHES: [usize; 4] = [8, 13, 18, 23];

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// The key of a UUID in lower case, None for any other text.
pub fn pack(id: &[u8]) -> Option<Key> {
    if id.len() != 36 || DASHES.iter().any(|&at| id[at] != b'-') {
        return None;
    }
    let mut key = [0; 16];
    let mut at = 0;
    for byte in key.iter_mut() {
        if DASHES.contains(&at) {
            at += 1;
        }
        *byte = digit(id[at])? << 4 | digit(id[at + 1])?;
        at += 2;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::pack;

    #[test]
    fn only_uuids_in_lower_case_are_packed() {
        let id = b"0a1b2c3d-0000-4000-8000-00000000000f";
        assert_eq!(pack(id).unwrap()[..4], [0x0a, 0x1b, 0x2c, 0x3d]);
        assert_eq!(pack(id).unwrap()[15], 0x0f);
        assert_eq!(pack(&id.to_ascii_uppercase()), None);
        assert_eq!(pack(b"r1"), None);
        assert_eq!(pack(b"0a1b2c3d-0000-4000-8000-0000000000-f"), None);
    }
}
