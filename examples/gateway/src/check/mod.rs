//! What `--check` prints: what the program would do.

mod described;

use std::fmt::Write;

use crate::{
    listen::{HttpsRedirectConfig, InheritedSockets, ListenAddress, ListenerConfig, TlsVersion},
    options::{Options, PerAddress},
};

/// Returns a line for each thing that the program would do. `listeners` are those that it would have, with the names of
/// their certificates. A socket that is not `inherited` is said to be missing, and is no error: a check is run by hand,
/// where the service manager passes nothing.
pub(crate) fn report<'a>(
    options: &Options,
    listeners: impl Iterator<Item = (&'a ListenerConfig, Option<&'a [String]>)>,
    inherited: &InheritedSockets,
) -> String {
    let mut lines = String::new();
    for (listener, names) in listeners {
        let missing = match listener.address {
            ListenAddress::Fd(descriptor) if !inherited.left().contains(&descriptor) => {
                ", which is not passed to this process"
            }
            _ => "",
        };
        let line = describe(listener, names);
        let _ = writeln!(lines, "would listen on {line}{missing}");
    }
    if let Some(file) = &options.config {
        let _ = writeln!(lines, "would forward as {} says:", file.path.display());
        lines += &described::file(&file.config);
    }
    let upstreams = options.upstreams.iter().map(String::clone);
    let sources = options.discover.iter().map(ToString::to_string);
    for endpoint in upstreams.chain(sources) {
        let _ = writeln!(lines, "would forward to {endpoint}");
    }
    let is_demo = options.upstreams.is_empty() && options.discover.is_empty();
    if is_demo && options.config.is_none() {
        lines += "would forward to three demo servers of its own\n";
    }
    if let Some(address) = options.admin {
        let _ = writeln!(
            lines,
            "would serve the status and /metrics on http://{address}"
        );
    }
    match options.max_per_address {
        PerAddress::Half => {
            lines += "would allow an address half of all connections, this machine all\n";
        }
        PerAddress::Most(most) => {
            let _ = writeln!(lines, "would allow an address {most} connections");
        }
        PerAddress::Off => {}
    }
    if let Some(rate) = options.rate {
        let (rate, burst) = (rate.per_second, rate.burst());
        let _ = writeln!(
            lines,
            "would allow an address {rate} requests per second, {burst} at once"
        );
    }
    if let Some(size) = options.cache {
        let _ = writeln!(lines, "would keep responses in {size} bytes");
    }
    lines
}

/// Returns what a listener does, in one line.
fn describe(listener: &ListenerConfig, names: Option<&[String]>) -> String {
    let scheme = match listener.tls {
        Some(_) => "https",
        None => "http",
    };
    let mut line = match &listener.address {
        ListenAddress::Tcp(address) => format!("{scheme}://{address}"),
        ListenAddress::Unix(_) => {
            format!(
                "{} ({scheme}), mode {:04o}",
                listener.address, listener.mode.0
            )
        }
        ListenAddress::Fd(_) => format!("{} ({scheme})", listener.address),
    };
    if let Some(tls) = &listener.tls {
        let version = match tls.min_version {
            TlsVersion::V1_2 => "1.2",
            TlsVersion::V1_3 => "1.3",
        };
        let _ = write!(line, ", TLS {version} or later");
        if let Some(names) = names.filter(|names| !names.is_empty()) {
            let _ = write!(line, ", certificates for {}", names.join(" "));
        }
        match &tls.client {
            Some(client) if client.optional => line += ", with or without a client certificate",
            Some(_) => line += ", with a client certificate",
            None => {}
        }
    }
    for network in &listener.proxy_protocol {
        let _ = write!(line, ", PROXY header from {network}");
    }
    match listener.redirect_https {
        HttpsRedirectConfig::Off => {}
        HttpsRedirectConfig::FirstTls => line += ", redirects to https",
        HttpsRedirectConfig::Port(port) => {
            let _ = write!(line, ", redirects to https on port {port}");
        }
    }
    line
}
