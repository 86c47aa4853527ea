//! The policy of a cluster: a [`Policy`] from a [`PolicyConfig`].

use http::HeaderName;

use super::{
    super::data::{ConsistentHashConfig, PolicyConfig, SameSiteConfig, StickyConfig, TextSource},
    place::SettingPlace,
};
use crate::policy::{
    ConsistentHash, LeastRequest, P2c, Policy, Random, RoundRobin, SameSite, Sticky,
};

/// Returns the policy. `None` if some setting of it cannot be.
pub(super) fn policy(config: &PolicyConfig, at: &SettingPlace<'_>) -> Option<Policy> {
    Some(match config {
        PolicyConfig::P2c => P2c::new().into(),
        PolicyConfig::P2cInFlight => P2c::in_flight().into(),
        PolicyConfig::RoundRobin => RoundRobin.into(),
        PolicyConfig::LeastRequest => LeastRequest.into(),
        PolicyConfig::Random => Random.into(),
        PolicyConfig::HashIp => ConsistentHash::client_addr().into(),
        PolicyConfig::ConsistentHash(hash) => {
            consistent_hash(hash, &at.key("consistent-hash"))?.into()
        }
        PolicyConfig::Sticky(sticky) => sticky_policy(sticky, &at.key("sticky"))?.into(),
    })
}

fn consistent_hash(config: &ConsistentHashConfig, at: &SettingPlace<'_>) -> Option<ConsistentHash> {
    let keys = (
        &config.header,
        &config.cookie,
        config.client_addr,
        config.path,
    );
    let mut hash = match keys {
        (Some(name), None, false, false) => {
            ConsistentHash::header(field_name(name, &at.key("header"))?)
        }
        (None, Some(name), false, false) => ConsistentHash::cookie(name.as_str()),
        (None, None, true, false) => ConsistentHash::client_addr(),
        (None, None, false, true) => ConsistentHash::path(),
        _ => {
            at.refuse(
                "expected exactly one of \"header\", \"cookie\", \"client_addr = true\" and \"path = true\"",
            );
            return None;
        }
    };
    if let Some(factor) = config.bounded_load {
        if !(1.0..=1e6).contains(&factor) {
            at.key("bounded_load")
                .refuse(format!("expected a factor of 1 or more, found {factor}"));
        }
        hash = hash.bounded_load(factor);
    }
    Some(hash)
}

fn sticky_policy(config: &StickyConfig, at: &SettingPlace<'_>) -> Option<Sticky> {
    let cookie = config.cookie.as_deref().unwrap_or("backend");
    let mut sticky = at.key("cookie").take(Sticky::cookie(cookie))?;
    if let Some(key) = &config.key {
        sticky = sticky.key(secret_key(key, &at.key("key"))?);
    }
    if let Some(same_site) = config.same_site {
        sticky = sticky.same_site(match same_site {
            SameSiteConfig::Strict => SameSite::Strict,
            SameSiteConfig::Lax => SameSite::Lax,
            SameSiteConfig::None => SameSite::None,
        });
    }
    if let Some(over) = &config.over {
        sticky = sticky.over(policy(over, &at.key("over"))?);
    }
    Some(sticky)
}

/// Returns a key that is written as hexadecimal digits.
fn secret_key(source: &TextSource, at: &SettingPlace<'_>) -> Option<[u8; 16]> {
    let text = at.text(source)?;
    let number = match text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => u128::from_str_radix(&text, 16).ok(),
        false => None,
    };
    if number.is_none() {
        at.refuse("expected 32 hexadecimal digits, as `openssl rand -hex 16` prints them");
    }
    number.map(u128::to_be_bytes)
}

/// Returns the name of a field.
pub(super) fn field_name(name: &str, at: &SettingPlace<'_>) -> Option<HeaderName> {
    let parsed = name.parse();
    if parsed.is_err() {
        at.refuse(format!("expected the name of a field, found {name:?}"));
    }
    parsed.ok()
}
