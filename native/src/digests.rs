//! Digests of content: the counterpart of `values.py`.

use blake2b_simd::Params;
use smallvec::SmallVec;

/// The digest of content in MessagePack; see `digest` in `values.py`.
pub fn digest(encoded: &[u8]) -> u64 {
    let hash = Params::new().hash_length(8).hash(encoded);
    u64::from_be_bytes(hash.as_bytes().try_into().unwrap())
}

/// The digest of some content and the packed values that go with it; see `mix` in `values.py`.
pub fn mix(content: u64, values: &[u8]) -> u64 {
    if values.is_empty() {
        return content;
    }
    let mut mixed = SmallVec::<[u8; 128]>::new();
    mixed.extend_from_slice(&content.to_le_bytes());
    mixed.extend_from_slice(values);
    digest(&mixed)
}
