#![no_main]

use std::cell::RefCell;

use _native::checks::Checks;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static CHECKS: RefCell<Checks> = RefCell::default();
}

fuzz_target!(|input: &[u8]| {
    CHECKS.with_borrow_mut(|checks| checks.protobuf(input));
});
