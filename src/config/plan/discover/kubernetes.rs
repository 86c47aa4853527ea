//! Endpoints by Kubernetes.

use std::path::PathBuf;

use super::{
    super::{super::data::KubernetesConfig, place::SettingPlace},
    build_over::BuildOver,
    inherited::InheritedStream,
};
use crate::{discover::Kubernetes, error::Error, upstream::ClientBuilder};

pub(super) fn pods(
    config: &KubernetesConfig,
    client: &ClientBuilder,
    at: &SettingPlace<'_>,
) -> Option<BuildOver> {
    let missing = [
        ("namespace", &config.namespace),
        ("service", &config.service),
    ];
    for (key, _) in missing.iter().filter(|(_, value)| value.is_empty()) {
        at.refuse(format!("missing field {key:?}"));
    }
    if missing.iter().any(|(_, value)| value.is_empty()) {
        return None;
    }
    let service = || Kubernetes::service(&config.namespace, &config.service);
    at.take(service())?;
    if let Some(url) = &config.url {
        at.key("url")
            .take(service().and_then(|pods| pods.url(url)))?;
    }
    if let Some(url) = &config.api_server {
        let made = service().and_then(|pods| pods.api_server(url));
        at.key("api_server").take(made)?;
    }
    if config.ipv4_only && config.ipv6_only {
        at.refuse("expected at most one of \"ipv4_only\" and \"ipv6_only\"");
    }
    if config.kubeconfig.is_some() && config.api_server.is_some() {
        at.refuse("expected at most one of \"kubeconfig\" and \"api_server\"");
    }
    if config.kubeconfig.is_none() && config.kubeconfig_context.is_some() {
        at.key("kubeconfig_context")
            .refuse("it needs a \"kubeconfig\"");
    }
    let kubeconfig = config.kubeconfig.as_ref().map(|path| at.resolve(path));
    let (config, client) = (config.clone(), client.clone());
    Some(Box::new(move |builder, inherited| {
        let pods = source(&config, kubeconfig.clone(), client.clone())?;
        builder.discover(InheritedStream::new(inherited, pods))
    }))
}

/// Makes the source.
fn source(
    config: &KubernetesConfig,
    kubeconfig: Option<PathBuf>,
    client: ClientBuilder,
) -> Result<Kubernetes, Error> {
    let mut pods = Kubernetes::service(&config.namespace, &config.service)?.client(client);
    if let Some(port) = &config.port {
        pods = pods.port(port);
    }
    if let Some(url) = &config.url {
        pods = pods.url(url)?;
    }
    if let Some(zone) = &config.zone {
        pods = pods.zone(zone.as_str());
    }
    if config.ipv4_only {
        pods = pods.ipv4_only();
    }
    if config.ipv6_only {
        pods = pods.ipv6_only();
    }
    pods = match (kubeconfig, &config.kubeconfig_context, &config.api_server) {
        (Some(path), Some(context), _) => pods.kubeconfig_context(path, context.as_str()),
        (Some(path), None, _) => pods.kubeconfig(path),
        (None, _, Some(url)) => pods.api_server(url)?,
        (None, _, None) => pods,
    };
    if let Some(timeout) = config.timeout {
        pods = pods.timeout(timeout.0);
    }
    if let Some(time) = config.watch_time {
        pods = pods.watch_time(time.0);
    }
    Ok(match config.allow_empty {
        true => pods.allow_empty(),
        false => pods,
    })
}
