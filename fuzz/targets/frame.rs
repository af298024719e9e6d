//! libFuzzer's entry to [`fuzz::wals::frame`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::wals::frame(data));
