#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| axum_upstream_fuzz::proxy_headers(data));

#[cfg(not(fuzzing))]
fn main() {}
