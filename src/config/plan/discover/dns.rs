//! Endpoints by DNS.

use std::net::{IpAddr, SocketAddr};

use super::{
    super::{super::data::DnsConfig, client::limit, place::SettingPlace},
    build_over::BuildOver,
    inherited::InheritedStream,
};
use crate::{discover::Dns, error::Error, upstream::ClientBuilder};

/// The port of name servers.
const PORT: u16 = 53;

pub(super) fn addresses(
    config: &DnsConfig,
    client: &ClientBuilder,
    at: &SettingPlace<'_>,
) -> Option<BuildOver> {
    by(Dns::addresses, config, client, at)
}

pub(super) fn services(
    config: &DnsConfig,
    client: &ClientBuilder,
    at: &SettingPlace<'_>,
) -> Option<BuildOver> {
    by(Dns::srv, config, client, at)
}

fn by(
    make: fn(&str) -> Result<Dns, Error>,
    config: &DnsConfig,
    client: &ClientBuilder,
    at: &SettingPlace<'_>,
) -> Option<BuildOver> {
    if config.url.is_empty() {
        at.refuse("missing field \"url\"");
        return None;
    }
    at.key("url").take(make(&config.url))?;
    if config.ipv4_only && config.ipv6_only {
        at.refuse("expected at most one of \"ipv4_only\" and \"ipv6_only\"");
    }
    let servers = config.name_server.iter().enumerate();
    let servers: Vec<SocketAddr> = servers
        .filter_map(|(nth, text)| name_server(text, &at.key("name_server").item(nth)))
        .collect();
    let (config, client) = (config.clone(), client.clone());
    Some(Box::new(move |builder, inherited| {
        let mut dns = make(&config.url)?.client(client.clone());
        for server in &servers {
            dns = dns.name_server(*server);
        }
        if config.ipv4_only {
            dns = dns.ipv4_only();
        }
        if config.ipv6_only {
            dns = dns.ipv6_only();
        }
        if let Some(ttl) = config.min_ttl {
            dns = dns.min_ttl(ttl.0);
        }
        if let Some(ttl) = config.max_ttl {
            dns = dns.max_ttl(limit(ttl));
        }
        if let Some(timeout) = config.timeout {
            dns = dns.timeout(timeout.0);
        }
        if config.allow_empty {
            dns = dns.allow_empty();
        }
        builder.discover(InheritedStream::new(inherited, dns))
    }))
}

/// Parses the address of a name server, with or without a port.
fn name_server(text: &str, at: &SettingPlace<'_>) -> Option<SocketAddr> {
    let without_port = || {
        text.parse()
            .ok()
            .map(|ip: IpAddr| SocketAddr::new(ip, PORT))
    };
    let address = text.parse().ok().or_else(without_port);
    if address.is_none() {
        at.refuse(format!(
            "expected an address, as \"127.0.0.1:8600\", found {text:?}"
        ));
    }
    address
}
