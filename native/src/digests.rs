//! Digests of content: the counterpart of `values.py`.

use blake2b_simd::{Params, State};

fn state() -> State {
    Params::new().hash_length(8).to_state()
}

fn number(state: &State) -> u64 {
    u64::from_be_bytes(state.finalize().as_bytes().try_into().unwrap())
}

/// The digest of content in MessagePack; see `digest` in `values.py`.
pub fn digest(encoded: &[u8]) -> u64 {
    number(state().update(encoded))
}

/// The digest of some content and the packed values that go with it; see `mix` in `values.py`.
pub fn mix(content: u64, values: &[u8]) -> u64 {
    if values.is_empty() {
        return content;
    }
    number(state().update(&content.to_le_bytes()).update(values))
}
