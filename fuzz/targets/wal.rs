//! libFuzzer's entry to [`fuzz::wals::wal`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::wals::wal(data));
