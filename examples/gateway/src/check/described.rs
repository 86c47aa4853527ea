//! What a configuration file says, in a line for each cluster and each route.

use std::fmt::Write;

use axum_upstream::config::{
    ClusterConfig, Config, DiscoverConfig, EndpointConfig, HeaderCondition, MatchConfig,
    RouteConfig,
};

/// Returns the lines of a file.
pub(super) fn file(config: &Config) -> String {
    let mut lines = String::new();
    for (name, cluster) in &config.clusters {
        let _ = writeln!(lines, "  cluster {name}: {}", endpoints(cluster));
    }
    for (name, route) in &config.routes {
        let (takes, does) = (conditions(&route.matching), action(route));
        let _ = writeln!(lines, "  route {name}: {takes} -> {does}");
    }
    lines
}

/// Returns the endpoints of a cluster, or where they are found. Never what may have a password in it.
fn endpoints(cluster: &ClusterConfig) -> String {
    let source = match &cluster.discover {
        Some(DiscoverConfig::Dns(dns)) => format!("dns:{}", dns.url),
        Some(DiscoverConfig::Srv(srv)) => format!("srv:{}", srv.url),
        Some(DiscoverConfig::File(file)) => format!("file:{}", file.path.display()),
        Some(DiscoverConfig::Etcd(etcd)) => format!("the keys of {} in etcd", etcd.prefix),
        Some(DiscoverConfig::Kubernetes(found)) => {
            format!("kubernetes:{}/{}", found.namespace, found.service)
        }
        Some(_) => "endpoints that are found".to_owned(),
        None => String::new(),
    };
    let named = cluster.endpoints.iter().flatten().map(endpoint);
    let all: Vec<_> = Some(source)
        .filter(|source| !source.is_empty())
        .into_iter()
        .chain(named)
        .collect();
    match all.is_empty() {
        true => "no endpoints".to_owned(),
        false => all.join(" "),
    }
}

/// Returns an endpoint as the command line has it.
fn endpoint(endpoint: &EndpointConfig) -> String {
    match endpoint.weight {
        Some(weight) => format!("{};weight={weight}", endpoint.url),
        None => endpoint.url.clone(),
    }
}

/// Returns the requests that a route takes: conditions that all have to hold, each with its alternatives.
fn conditions(matching: &MatchConfig) -> String {
    let prefixes = matching.path_prefix.iter();
    // As paths of axum are written, where one takes all that is below it.
    let prefixes = prefixes.map(|prefix| format!("{}/*", prefix.trim_end_matches('/')));
    let paths: Vec<_> = matching.path.iter().cloned().chain(prefixes).collect();
    let fields = matching
        .header
        .iter()
        .map(|(name, condition)| match condition {
            HeaderCondition::Present => format!("with {name}"),
            HeaderCondition::Absent => format!("without {name}"),
            // Its value may be a secret.
            _ => format!("with a certain {name}"),
        });
    let parts = [
        matching.method.join("|"),
        matching.host.join("|"),
        paths.join("|"),
    ];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    let all: Vec<_> = parts.chain(fields).collect();
    match all.is_empty() {
        true => "all other requests".to_owned(),
        false => all.join(" "),
    }
}

/// Returns what is done with the requests of a route.
fn action(route: &RouteConfig) -> String {
    let (cluster, respond, redirect) = (&route.cluster, &route.respond, &route.redirect);
    match (cluster, respond, redirect) {
        (Some(cluster), ..) => format!("cluster {cluster}"),
        (_, Some(respond), _) => format!("status {}", respond.status.unwrap_or(200)),
        (.., Some(redirect)) => format!("redirect to {}", redirect.to),
        (None, None, None) => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_and_routes_have_a_line_each() {
        let text = r#"
            [clusters.a]
            endpoints = ["http://a", { url = "http://b", weight = 2 }]
            [clusters.none]
            endpoints = []
            [routes.a]
            match = { host = "a.example", path_prefix = ["/a", "/b/"], method = ["GET", "POST"] }
            cluster = "a"
            [routes.fixed]
            match = { path = "/robots.txt", header = { x-a = true, x-b = false, x-c = "secret" } }
            respond = { status = 404 }
            [routes.rest]
            redirect = { to = "https://b.example{path}" }
        "#;
        let expected = "  cluster a: http://a http://b;weight=2
  cluster none: no endpoints
  route a: GET|POST a.example /a/*|/b/* -> cluster a
  route fixed: /robots.txt with x-a without x-b with a certain x-c -> status 404
  route rest: all other requests -> redirect to https://b.example{path}
";
        assert_eq!(file(&text.parse().unwrap()), expected);
    }

    #[cfg(feature = "dns")]
    #[test]
    fn a_source_is_named() {
        let text = "[clusters.a]\ndiscover.dns = { url = \"http://a.example:8080\" }\n";
        let expected = "  cluster a: dns:http://a.example:8080\n";
        assert_eq!(file(&text.parse().unwrap()), expected);
    }
}
