//! Temporary.
use std::sync::OnceLock;
macro_rules! knob { ($f:ident, $n:literal, $d:expr) => {
    pub(super) fn $f() -> f32 {
        static V: OnceLock<f32> = OnceLock::new();
        *V.get_or_init(|| std::env::var($n).ok().and_then(|v| v.parse().ok()).unwrap_or($d))
    }
} }
knob!(significant, "SIG", 2.0);
knob!(lasting, "LAST", 8.0);
knob!(patience, "PAT", 8.0);
knob!(step, "STEP", 8.0);
knob!(most, "MOST", 10.0);
knob!(slack, "SLACK", 1.0);
knob!(slope, "SLOPE", 0.1);
knob!(excess, "EXC", 0.1);
knob!(a, "KA", 0.05);
knob!(b, "KB", 64.0);
knob!(c, "KC", 0.0);
