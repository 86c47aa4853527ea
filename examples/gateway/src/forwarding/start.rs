//! Makes the cluster of the command line, or the routes of a file, at the start of the program.

use axum::Router;
use axum_upstream::{
    LoadBalance, ReverseProxy,
    config::{ConfigWatch, Switch},
    status::status_router,
    upstream::ClientBuilder,
};

use super::Forwarding;
use crate::{
    demo,
    discovery::AllSources,
    files::{ConnectionShares, EndpointCount},
    options::{ConfiguredFile, GatewayConfig, Options},
    run::Failure,
    settings,
};

/// Where requests go, and what is said of it.
pub(crate) struct Forwarded {
    pub(crate) forwarding: Forwarding,
    /// The status of the clusters.
    pub(crate) status: Router,
    /// The lines that are printed at the start.
    pub(crate) shown: Vec<String>,
    /// The largest number of connections of clients.
    pub(crate) places: usize,
}

impl Forwarded {
    /// Makes what the options ask for. `sockets` is how many sockets listen.
    pub(crate) async fn start(options: &Options, sockets: usize) -> Result<Self, Failure> {
        match &options.config {
            Some(file) => routes(options, file, sockets),
            None => one_cluster(options, sockets).await,
        }
    }

    /// Finds out whether it could be made. A file was checked when it was read.
    pub(crate) fn check(options: &Options) -> Result<(), Failure> {
        if options.config.is_some() {
            return Ok(());
        }
        let client = settings::client(options, usize::MAX);
        cluster(options, &options.upstreams, &client).map(drop)
    }
}

/// Forwards as the routes of a file say, and follows it.
fn routes(options: &Options, file: &ConfiguredFile, sockets: usize) -> Result<Forwarded, Failure> {
    let (path, first) = (file.path.clone(), file.section.clone());
    // Of the file as it is at the start: what a change of one cluster would do to the shares of all others would have
    // them be replaced.
    let endpoints = EndpointCount::of_file(&file.config);
    let connections = ConnectionShares::share(options.max_connections, endpoints, sockets);
    let watch = ConfigWatch::new(&file.path).on_hangup();
    let watch = watch.adjust(move |config| {
        let client = config.defaults.cluster.client.get_or_insert_default();
        let max = Switch::On(connections.per_endpoint);
        client.max_connections.get_or_insert(max);
    });
    let watch = watch.sections(move |file| {
        let section = GatewayConfig::read(file, &path);
        let is_other = section != first;
        move || {
            if is_other {
                tracing::warn!("the [gateway] section has changed; restart to apply it");
            }
        }
    });
    let live = watch
        .start()
        .map_err(|error| Failure::Usage(error.into()))?;
    Ok(Forwarded {
        status: live.status_router().into_router(),
        forwarding: Forwarding::Routes(live),
        shown: vec![format!("the routes of {}", file.path.display())],
        places: connections.clients,
    })
}

/// Forwards to the cluster of the command line, or to demo servers.
async fn one_cluster(options: &Options, sockets: usize) -> Result<Forwarded, Failure> {
    let is_demo = options.upstreams.is_empty() && options.discover.is_empty();
    let upstreams = match is_demo {
        true => demo::servers().await.map_err(Failure::Run)?,
        false => options.upstreams.clone(),
    };
    let endpoints = EndpointCount::of_flags(upstreams.len(), options.discover.len());
    let connections = ConnectionShares::share(options.max_connections, endpoints, sockets);
    let client = settings::client(options, connections.per_endpoint);
    let balance = cluster(options, &upstreams, &client)?;
    let sources = options.discover.iter().map(ToString::to_string);
    let named = balance.handle().endpoints().into_iter();
    let named = named.map(|endpoint| format!("{} (weight {})", endpoint.name, endpoint.weight));
    let shown = sources.chain(named).collect();
    let status = status_router(&balance);
    let mut proxy = ReverseProxy::new(balance);
    if let Some(timeout) = options.response_timeout {
        proxy = proxy.response_timeout(timeout);
    }
    Ok(Forwarded {
        forwarding: Forwarding::Cluster(proxy),
        status,
        shown,
        places: connections.clients,
    })
}

/// Makes the cluster.
fn cluster(
    options: &Options,
    upstreams: &[String],
    client: &ClientBuilder,
) -> Result<LoadBalance, Failure> {
    let make = || {
        let balance = settings::balance(options, client.clone())?;
        let (sources, name_servers) = (&options.discover, &options.name_servers);
        match sources.is_empty() {
            true => balance.urls(upstreams),
            false => balance.discover(AllSources::new(upstreams, sources, client, name_servers)?),
        }
    };
    make().map_err(|error| Failure::Usage(error.into()))
}
