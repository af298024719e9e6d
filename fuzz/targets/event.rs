//! libFuzzer's entry to [`fuzz::requests::event`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::requests::event(data));
