//! Puts the program together: what listens, what is forwarded where, and within which limits.

use std::{fmt::Write, net::SocketAddr, sync::Arc};

use axum_upstream::access_log::AccessLogLayer;
use tokio::task::JoinSet;

use crate::{
    BoxError,
    admin::Admin,
    check,
    connection::Server,
    entrance::{Entrance, HttpsRedirect},
    forwarding::{Forwarded, cache_layer},
    limits::{AddressPlaces, RequestRate},
    listen::{BoundListener, HttpsRedirectConfig, InheritedSockets, ListenAddress, ListenerConfig},
    log::RequestLog,
    options::{Options, PerAddress},
    serve::Gateway,
    service_manager::until_signal,
    settings,
    tls::{self, LoadedTls, TlsServer},
};

/// Why the program could not run.
pub(crate) enum Failure {
    /// A flag is wrong.
    Usage(BoxError),
    /// The system refused something.
    Run(BoxError),
}

/// Listens, sets up the proxy, and serves until a signal.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let mut inherited = InheritedSockets::find();
    let configs = listeners(&options, &inherited);
    let loaded = configs.iter().map(load_tls).collect::<Result<Vec<_>, _>>();
    let loaded = loaded.map_err(Failure::Usage)?;
    if options.check {
        Forwarded::check(&options)?;
        let names = loaded
            .iter()
            .map(|tls| tls.as_ref().map(|tls| &tls.names[..]));
        print!(
            "{}",
            check::report(&options, configs.iter().zip(names), &inherited)
        );
        return Ok(());
    }
    let count = options.runtime.listeners(options.workers);
    let mut bound = Vec::new();
    for config in configs {
        let address = config.address.clone();
        let listener = BoundListener::bind(config, &mut inherited, count, options.write_timeout)
            .map_err(|error| Failure::Run(format!("cannot listen on {address}: {error}").into()))?;
        bound.push(listener);
    }
    for descriptor in inherited.left() {
        tracing::warn!("fd:{descriptor} was passed, and no listener is on it");
    }

    let admin = match options.admin {
        Some(address) => Admin::bind(address)
            .await
            // The proxy works without it.
            .inspect_err(|error| tracing::warn!(%error, "no status page on {address}"))
            .ok(),
        None => None,
    };
    let sockets = count * bound.len();
    let Forwarded {
        forwarding,
        status,
        shown,
        places,
    } = Forwarded::start(&options, sockets).await?;
    let status_address = admin.as_ref().map(Admin::address);
    // Ends with this function.
    let _admin = admin.map(|admin| admin.serve(status));
    let access_log = match options.access_log {
        RequestLog::Access(format) => Some(AccessLogLayer::new(format)),
        RequestLog::Short | RequestLog::Off => None,
    };
    let access_log = access_log.transpose();

    let start = banner(&bound, &shown, status_address);
    match options.access_log {
        // Standard output is the access log's, to its first line.
        RequestLog::Access(_) => eprint!("{start}"),
        RequestLog::Short | RequestLog::Off => print!("{start}"),
    }

    let cache = options.cache.map(|size| cache_layer(size, &forwarding));
    let gateway = Gateway {
        forwarding,
        cache,
        server: Server::new(settings::limits(&options)),
        places,
        idle: options.idle_timeout.unwrap_or(settings::IDLE),
        drain_timeout: options.drain_timeout,
        short_lines: options.access_log == RequestLog::Short,
        access_log: access_log.map_err(|error| Failure::Run(error.into()))?,
        rate: options.rate.map(|rate| Arc::new(RequestRate::new(rate))),
    };
    let servers = loaded.into_iter().map(|tls| tls.map(|tls| tls.server));
    let servers: Vec<_> = servers.collect();
    // Ends with this function.
    let _reloads = reload(&bound, &servers);
    let entrances = entrances(bound, servers, &options, places);
    let served = gateway.serve(entrances, until_signal()).await;
    served.map_err(|error| Failure::Run(error.into()))
}

/// Returns the lines that say where the program listens and what it forwards to.
fn banner(bound: &[BoundListener], shown: &[String], status: Option<SocketAddr>) -> String {
    let mut lines = String::new();
    for listener in bound {
        let _ = writeln!(lines, "listening on {listener}");
    }
    for line in shown {
        let _ = writeln!(lines, "  -> {line}");
    }
    if let Some(first) = bound.first() {
        let _ = writeln!(lines, "try: curl -i {first}/hello");
    }
    if let Some(status) = status {
        let _ = writeln!(lines, "status: http://{status}/ (and /metrics)");
    }
    lines
}

/// Returns the listeners that were asked for. Without any, those are all sockets that the service manager has passed,
/// or one on a port of this machine.
fn listeners(options: &Options, inherited: &InheritedSockets) -> Vec<ListenerConfig> {
    let mut listeners = options.listeners.clone();
    if listeners.is_empty() {
        let passed = inherited.left().iter().copied().map(ListenAddress::Fd);
        listeners.extend(passed.map(ListenerConfig::plain));
    }
    if listeners.is_empty() {
        listeners.push(ListenerConfig::plain(ListenAddress::default()));
    }
    for listener in &mut listeners {
        options.overrides.apply(listener);
    }
    listeners
}

/// Loads the TLS of a listener, if it has any.
fn load_tls(config: &ListenerConfig) -> Result<Option<LoadedTls>, BoxError> {
    config.tls.clone().map(TlsServer::load).transpose()
}

/// Starts to watch the certificates, until the set is dropped.
fn reload(bound: &[BoundListener], servers: &[Option<Arc<TlsServer>>]) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let named = bound.iter().zip(servers);
    let named: Vec<_> = named
        .filter_map(|(listener, server)| Some((listener.to_string(), server.clone()?)))
        .collect();
    if !named.is_empty() {
        tasks.spawn(tls::reload_all(named));
    }
    tasks
}

/// Returns the listeners with what lies behind their sockets.
fn entrances(
    bound: Vec<BoundListener>,
    servers: Vec<Option<Arc<TlsServer>>>,
    options: &Options,
    places: usize,
) -> Vec<(BoundListener, Entrance)> {
    let address_places = match options.max_per_address {
        PerAddress::Half => Some(AddressPlaces::new((places / 2).max(1), false)),
        PerAddress::Most(most) => Some(AddressPlaces::new(most, true)),
        PerAddress::Off => None,
    };
    let secure = bound.iter().find(|listener| listener.config.tls.is_some());
    let port = secure
        .and_then(|listener| listener.local)
        .map(|address| address.port());
    // Behind a socket without a port, it is that of whatever is in front of it.
    let redirect = |config| match config {
        HttpsRedirectConfig::Off => None,
        HttpsRedirectConfig::FirstTls => Some(port.unwrap_or(443)),
        HttpsRedirectConfig::Port(port) => Some(port.get()),
    };
    let all = bound.into_iter().zip(servers);
    all.map(|(listener, tls)| {
        let entrance = Entrance {
            listener: listener.to_string(),
            proxy_protocol: listener.config.proxy_protocol.clone(),
            address_places: address_places.clone(),
            tls,
            redirect: redirect(listener.config.redirect_https).map(|port| HttpsRedirect { port }),
            ..Entrance::default()
        };
        (listener, entrance)
    })
    .collect()
}
