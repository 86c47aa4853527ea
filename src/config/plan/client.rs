//! The settings of connections: a [`ClientBuilder`] from a [`ClientConfig`].

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    super::data::{ClientConfig, HumanDuration, ProxyProtocolConfig, Switch, TlsConfig},
    place::SettingPlace,
};
use crate::upstream::{ClientBuilder, ProxyProtocol};

/// The settings that are checked only when a client is built.
const LATE: &[&str] = &[
    "max_connections",
    "max_response_head",
    "max_response_fields",
    "http2_stream_window",
];

/// Returns a time as the builders have it, for which `Duration::MAX` is no limit.
pub(super) fn limit(time: Switch<HumanDuration>) -> Duration {
    time.on().map_or(Duration::MAX, |time| time.0)
}

/// Returns the settings of connections. `None` if some cannot be.
pub(super) fn client(config: &ClientConfig, at: &SettingPlace<'_>) -> Option<ClientBuilder> {
    let mut builder = ClientBuilder::default();
    let times = [
        (
            config.connect_timeout,
            ClientBuilder::connect_timeout as fn(ClientBuilder, Duration) -> ClientBuilder,
        ),
        (config.pool_idle_timeout, ClientBuilder::pool_idle_timeout),
        (config.max_lifetime, ClientBuilder::max_lifetime),
    ];
    for (time, set) in times {
        if let Some(time) = time {
            builder = set(builder, limit(time));
        }
    }
    if let Some(max) = config.pool_max_idle {
        builder = builder.pool_max_idle(max);
    }
    if let Some(Switch::On(max)) = config.max_connections {
        builder = builder.max_connections(max);
    }
    if let Some(size) = config.max_response_head {
        builder = builder.max_response_head(size.in_memory());
    }
    if let Some(fields) = config.max_response_fields {
        builder = builder.max_response_fields(fields);
    }
    if let Some(Switch::On(version)) = config.proxy_protocol {
        builder = builder.proxy_protocol(match version {
            ProxyProtocolConfig::V1 => ProxyProtocol::V1,
            ProxyProtocolConfig::V2 => ProxyProtocol::V2,
        });
    }
    builder = http2(builder, config, at);
    for (name, addresses) in &config.resolve {
        let at = at.key("resolve").key(name);
        if addresses.is_empty() {
            at.refuse("expected at least one address");
        }
        let addresses = addresses.iter().enumerate();
        let addresses: Vec<_> = addresses
            .filter_map(|(nth, text)| address(text, &at.item(nth)))
            .collect();
        builder = builder.resolve(name, addresses);
    }
    if let Some(config) = &config.tls {
        builder = tls(builder, config, &at.key("tls"))?;
    }
    at.take_by(builder.build("http://localhost"), LATE)?;
    Some(builder)
}

/// Parses an address, with or without a port.
fn address(text: &str, at: &SettingPlace<'_>) -> Option<SocketAddr> {
    let without_port = || text.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 0));
    let address = text.parse().ok().or_else(without_port);
    if address.is_none() {
        at.refuse(format!(
            "expected an address, as \"10.0.0.1:8080\" or \"10.0.0.1\", found {text:?}"
        ));
    }
    address
}

#[cfg(feature = "http2")]
fn http2(mut builder: ClientBuilder, config: &ClientConfig, _: &SettingPlace<'_>) -> ClientBuilder {
    if let Some(size) = config.http2_stream_window {
        // Too large is too large, whatever it is exactly.
        builder = builder.http2_stream_window(u32::try_from(size.0).unwrap_or(u32::MAX));
    }
    if let Some(interval) = config.http2_ping_interval {
        builder = builder.http2_ping_interval(limit(interval));
    }
    builder
}

#[cfg(not(feature = "http2"))]
fn http2(builder: ClientBuilder, config: &ClientConfig, at: &SettingPlace<'_>) -> ClientBuilder {
    let settings = [
        ("http2_stream_window", config.http2_stream_window.is_some()),
        ("http2_ping_interval", config.http2_ping_interval.is_some()),
    ];
    for (key, _) in settings.into_iter().filter(|(_, is_set)| *is_set) {
        at.key(key).needs("http2");
    }
    builder
}

#[cfg(feature = "_tls")]
fn tls(builder: ClientBuilder, config: &TlsConfig, at: &SettingPlace<'_>) -> Option<ClientBuilder> {
    let settings = super::tls::client_tls(config, at)?;
    Some(builder.tls(settings))
}

#[cfg(not(feature = "_tls"))]
fn tls(_: ClientBuilder, _: &TlsConfig, at: &SettingPlace<'_>) -> Option<ClientBuilder> {
    at.needs("tls");
    None
}
