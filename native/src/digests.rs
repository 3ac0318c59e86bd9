//! Digests of content: the counterpart of `values.py`.

/// The digest of some content and the packed values that go with it; see `mix` in `values.py`.
pub fn mix(content: u64, values: &[u8]) -> u64 {
    if values.is_empty() {
        return content;
    }
    let mut state = blake2b_simd::Params::new().hash_length(8).to_state();
    let hash = state.update(&content.to_le_bytes()).update(values).finalize();
    u64::from_be_bytes(hash.as_bytes().try_into().unwrap())
}
