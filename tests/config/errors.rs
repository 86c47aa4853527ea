//! What is wrong is said by line and column, all at once.

use axum_upstream::config::{ClusterConfig, Config, ConfigFile, RouteConfig};
use serde::Deserialize;

use crate::support::Folder;

/// The lines of the error of a text.
fn refused(text: &str) -> Vec<String> {
    let error = Config::from_toml(text).expect_err("it is refused");
    error.to_string().lines().map(str::to_owned).collect()
}

/// One thing that is wrong with a text in which a cluster and a route are right, without its place.
fn only(text: &str) -> String {
    let right =
        "\n[clusters.right]\nendpoints = [\"http://a\"]\n[routes.right]\ncluster = \"right\"\n";
    let lines = refused(&format!("{text}{right}"));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let parts: Vec<_> = lines[0].splitn(3, ':').collect();
    parts[2].trim().to_owned()
}

#[test]
fn everything_is_said_at_once() {
    let text = r#"
[defaults.cluster.retry]
attempts = 0

[clusters.api]
endpoints = [
    "http://127.0.0.1:5000",
    "ftp://b",
    { url = "http://c", wieght = 2 },
    { weight = 1 },
]
policy = "round_robin"
ready_timeout = 5
client.timout = "5s"
client.max_connections = 0

[clusters.web]

[routes.api]
match = { path = "/{*rest}/x" }
cluster = "apj"
body_limit = "64 KiX"
response_timeout = true

[routes.web]
match.path = "/web"

[server]
listen = "0.0.0.0:80"
"#;
    let expected = [
        r#"3:12: defaults.cluster.retry.attempts: it must be 1 or more"#,
        r#"8:5: clusters.api.endpoints[1]: "ftp://b" must start with http://, https://, h2c:// or unix:/"#,
        r#"9:25: clusters.api.endpoints[2]: unknown field "wieght", expected "weight""#,
        r#"10:5: clusters.api.endpoints[3]: missing field "url""#,
        r#"12:10: clusters.api.policy: unknown value "round_robin", expected "round-robin""#,
        r#"13:17: clusters.api.ready_timeout: expected a time with its unit, as "5s" or "250ms", found a whole number"#,
        r#"14:8: clusters.api.client: unknown field "timout", expected one of "connect_timeout", "pool_idle_timeout""#,
        r#"15:26: clusters.api.client.max_connections: it must be 1 or more"#,
        r#"17:1: clusters.web: a cluster needs "endpoints" or "discover""#,
        r#"20:18: routes.api.match.path[0]: what stands for the rest, {*rest}, has to be at the end"#,
        r#"21:11: routes.api.cluster: there is no cluster "apj", expected "api""#,
        r#"22:14: routes.api.body_limit: expected a number of bytes, as 65536 or "64KiB"; units are B, kB, KiB, MB, MiB, GB, GiB"#,
        r#"23:20: routes.api.response_timeout: expected a time with its unit, as "5s" or "250ms", or false, found true"#,
        r#"25:1: routes.web: a route needs exactly one of "cluster", "respond" and "redirect""#,
        r#"28:2: unknown section "server", expected one of "defaults", "clusters", "routes""#,
    ];
    let found = refused(text);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_each_setting_may_be() {
    let cluster = |text: &str| only(&format!("[clusters.c]\nendpoints = []\n{text}"));
    let route = |text: &str| only(&format!("[routes.r]\nmatch.path = \"/r\"\n{text}"));
    for (found, expected) in [
        (
            route("respond = {}\nmatch.header = { x-a = \"1\", X-A = \"2\" }"),
            "routes.r.match.header.x-a: there are two conditions on x-a",
        ),
        (
            cluster(
                "[routes.s]\ncluster = \"c\"\nrewrite_request.set = { X-A = \"1\", x-a = \"2\" }",
            ),
            "routes.s.rewrite_request.set.x-a: x-a is set twice",
        ),
        (
            cluster("subset = 0"),
            "clusters.c.subset: it must be 1 or more",
        ),
        (
            cluster("max_in_flight = -1"),
            "clusters.c.max_in_flight: expected a whole number of 0 or more, found -1",
        ),
        (
            cluster("retry = true"),
            "clusters.c.retry: expected a table, or false, found true",
        ),
        (
            cluster("retry.budget.ratio = 11"),
            "clusters.c.retry.budget.ratio: 11 is not between 0 and 10",
        ),
        (
            cluster("retry.statuses = [502, 700]"),
            "clusters.c.retry.statuses[1]: expected a status from 200 to 599, found 700",
        ),
        (
            cluster("retry.attempt_field = \"a b\""),
            "clusters.c.retry.attempt_field: expected the name of a field, found \"a b\"",
        ),
        (
            cluster("hedge = {}"),
            "clusters.c.hedge: expected either \"after\" or \"percentile\"",
        ),
        (
            cluster("hedge.percentile = 95"),
            "clusters.c.hedge.percentile: the percentile 95 is not from 0.5 to less than 1",
        ),
        (
            cluster("ejection.backoff = { base = \"2m\" }"),
            "clusters.c.ejection.backoff: 120s to 60s is no range of times",
        ),
        (
            cluster("queue.requests = 5"),
            "clusters.c.queue: it needs an in-flight limit, without which nothing is full",
        ),
        (
            cluster("policy = { p2c = { a = 1 } }"),
            "clusters.c.policy.p2c: \"p2c\" has no settings: write \"p2c\" alone",
        ),
        (
            cluster("policy = \"consistent-hash\""),
            "clusters.c.policy.consistent-hash: expected exactly one of \"header\", \"cookie\", \
             \"client_addr = true\" and \"path = true\"",
        ),
        (
            cluster("policy = { sticky = {}, p2c = {} }"),
            "clusters.c.policy: expected a table with exactly one key, found \"p2c\" and \"sticky\"",
        ),
        (
            cluster("health_check.interval = \"1s\""),
            "clusters.c.health_check: expected exactly one of \"http\", \"tcp = true\" and \"grpc\"",
        ),
        (
            cluster("health_check = { tcp = true, method = \"GET\" }"),
            "clusters.c.health_check.method: it belongs to a check by HTTP",
        ),
        (
            cluster("client.resolve.a = [\"b\"]"),
            "clusters.c.client.resolve.a[0]: expected an address, as \"10.0.0.1:8080\" or \"10.0.0.1\", found \"b\"",
        ),
        (
            cluster("discover = \"dsn\""),
            "clusters.c.discover: unknown value \"dsn\", expected \"dns\"",
        ),
        (
            route("respond.status = 99"),
            "routes.r.respond.status: expected a status from 200 to 599, found 99",
        ),
        (
            route("redirect.to = \"{path}\""),
            "routes.r.redirect.to: expected a URL, as \"https://{host}{path}{query}\", or a path that is not the \
             request's own, found \"{path}\"",
        ),
        (
            route("respond = {}\nstrip_prefix = \"a\""),
            "routes.r.strip_prefix: \"a\" must start with '/'",
        ),
        (
            route("respond = {}\ntrusted_peers = [\"10.0.0.0/99\"]"),
            "routes.r.trusted_peers: \"10.0.0.0/99\" is no IP address or network",
        ),
        (
            route("respond = {}\nhost.fixed = \"a b\""),
            "routes.r.host.fixed: expected a host with or without a port, found \"a b\"",
        ),
        (
            route("respond = {}\nrewrite_request.set.host = \"a\""),
            "routes.r.rewrite_request.set.host: Host is set by the setting \"host\" of the route",
        ),
        (
            route("respond = {}\nrewrite_response.remove = [\"a\", \"transfer-encoding\"]"),
            "routes.r.rewrite_response.remove[1]: transfer-encoding belongs to the connection, and is set by the proxy \
             alone",
        ),
        (
            route("respond = {}\nmatch.method = \"get\""),
            "routes.r.match.method[0]: expected a method, as \"GET\", found \"get\"",
        ),
        (
            route("respond = {}\nmatch.host = [\"a\", \"*\"]"),
            "routes.r.match.host[1]: leave it out for all hosts",
        ),
        (
            route("respond = {}\nmatch.header.host = \"a\""),
            "routes.r.match.header.host: conditions on the host are in \"host\"",
        ),
        (
            cluster("client.proxy_protocol = \"v3\""),
            "clusters.c.client.proxy_protocol: unknown value \"v3\", expected one of \"v1\", \"v2\"",
        ),
        (
            only("defaults.route.cluster = \"right\""),
            "defaults.route.cluster: \"cluster\" cannot be set in the defaults: it belongs to each route",
        ),
    ] {
        assert_eq!(found, expected);
    }
}

/// A source says what it needs, and one whose feature is off says which.
/// A connection with a PROXY header is one client's, which those of HTTP/2 are not.
#[cfg(feature = "http2")]
#[test]
fn a_proxy_header_needs_http1() {
    let found = only("[clusters.c]\nclient.proxy_protocol = \"v2\"\nendpoints = [\"h2c://a\"]\n");
    let expected = "clusters.c.endpoints[0]: PROXY headers need HTTP/1";
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn what_a_source_needs() {
    let source = |text: &str| only(&format!("[clusters.c.discover]\n{text}"));
    let expect = |found: String, feature: &str, on: bool, place: &str, expected: &str| {
        let off = format!("clusters.c.discover: needs the feature `{feature}` of axum-upstream");
        match on {
            true => assert_eq!(found, format!("clusters.c.discover.{place}: {expected}")),
            false => assert_eq!(found, off),
        }
    };
    let dns = cfg!(feature = "dns");
    expect(
        source("dns = {}"),
        "dns",
        dns,
        "dns",
        "missing field \"url\"",
    );
    let both = source("dns = { url = 'http://a', ipv4_only = true, ipv6_only = true }");
    let one = "expected at most one of \"ipv4_only\" and \"ipv6_only\"";
    expect(both, "dns", dns, "dns", one);
    let server = source("srv = { url = 'http://_a._tcp.b', name_server = ['x'] }");
    let address = "expected an address, as \"127.0.0.1:8600\", found \"x\"";
    expect(server, "dns", dns, "srv.name_server[0]", address);
    let file = cfg!(feature = "file");
    expect(
        source("file = {}"),
        "file",
        file,
        "file",
        "missing field \"path\"",
    );
    let etcd = cfg!(feature = "etcd");
    expect(
        source("etcd = {}"),
        "etcd",
        etcd,
        "etcd",
        "missing field \"prefix\"",
    );
    let user = source("etcd.prefix = 'http://u:p@a/b/'");
    let expected = "\"http://***@a/b/\" must hold no user or password: `user` has them";
    expect(user, "etcd", etcd, "etcd.prefix", expected);
    let kubernetes = cfg!(feature = "kubernetes");
    let found = source("kubernetes.namespace = 'a'");
    let expected = "missing field \"service\"";
    expect(found, "kubernetes", kubernetes, "kubernetes", expected);
    let found = source(
        "kubernetes = { namespace = 'a', service = 'b', port = 80, kubeconfig_context = 'c' }",
    );
    let expected = "it needs a \"kubeconfig\"";
    expect(
        found,
        "kubernetes",
        kubernetes,
        "kubernetes.kubeconfig_context",
        expected,
    );
}

#[test]
fn routes_that_are_equal_are_named_with_their_lines() {
    let text = "
[routes.one]
match = { path = '/users/{id}', method = 'GET' }
respond = {}

[routes.two]
match = { path = '/users/{name}', header = { x-version = '2' } }
respond = {}
";
    let expected = "7:9: routes.two.match: this route matches some of the requests of routes.one (line 2), and neither \
                    is more specific: give one of them another host or path, or more conditions";
    assert_eq!(refused(text), [expected]);
}

/// What stands in the file as a value may be a secret, and so may what it leads to.
#[test]
fn no_secret_is_repeated() {
    let folder = Folder::new("secrets");
    folder.write("key", "s3cret-key\n");
    folder.write("value", "s3cret\u{7f}");
    let path = folder.write(
        "proxy.toml",
        r#"
[clusters.c]
endpoints = ["http://user:s3cret@a", "http://user:s3cret;weight=2@a"]
policy = { sticky = { key = { file = "key" } } }

[routes.r]
cluster = "c"
rewrite_request.set = { a = { file = "value" }, b = { env = "AXUM_UPSTREAM_NOT_THERE" }, c = { fil = "s3cret" } }
rewrite_request.add = { a = "s3cret\u007f", b = { file = "nowhere" } }
via = ["s3cret"]
"#,
    );
    let error = Config::from_file(&path).unwrap_err();
    assert_eq!(error.problems().len(), 9, "{error}");
    let said = format!("{error} {error:?}");
    assert!(!said.contains("s3cret"), "{said}");
    assert!(
        error.to_string().contains("nowhere: No such file"),
        "{error}"
    );
    let config: Config =
        "[routes.r]\nrespond = { body = 's3cret' }\nrewrite_request.set.a = 's3cret'\n"
            .parse()
            .unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn a_file_is_named() {
    let folder = Folder::new("file");
    let error = |path: &std::path::Path| Config::from_file(path).unwrap_err().to_string();
    let missing = folder.path("missing.toml");
    let expected = format!("{}: cannot be read: No such file", missing.display());
    assert!(
        error(&missing).starts_with(&expected),
        "{}",
        error(&missing)
    );
    let binary = folder.write("binary.toml", b"a = 1\nb = \xff\n");
    assert_eq!(
        error(&binary),
        format!("{}: line 2 is not UTF-8", binary.display())
    );
    let large = folder.path("large.toml");
    std::fs::File::create(&large)
        .unwrap()
        .set_len((16 << 20) + 1)
        .unwrap();
    assert!(error(&large).ends_with("it is larger than 16 MiB"));
    let wrong = folder.write("wrong.toml", "a = \nb = 1 2\nb = 3\n");
    let lines = error(&wrong);
    let lines: Vec<_> = lines.lines().collect();
    let starts = [":1:", ":2:", ":3:"].map(|place| format!("{}{place}", wrong.display()));
    for start in starts {
        assert!(
            lines.iter().any(|line| line.starts_with(&start)),
            "{lines:?}"
        );
    }
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Server {
    listen: Vec<String>,
    workers: u8,
}

/// An application has sections of its own in the file, whose problems are among the others.
#[test]
fn sections_of_the_application() {
    let right = "[server]\nlisten = ['a']\nworkers = 4\n[clusters.c]\nendpoints = []\n";
    let mut file = ConfigFile::parse(right).unwrap();
    let server: Server = file.section("server");
    assert_eq!(server.listen, ["a"]);
    assert_eq!(file.section::<Server>("absent"), Server::default());
    assert!(file.config().unwrap().clusters.contains_key("c"));

    let wrong = "[server]\nlisten = ['a', 1]\nworkers = 400\nwrokers = 4\n[clusters.c]\n";
    let mut file = ConfigFile::parse(wrong).unwrap();
    let server: Server = file.section("server");
    assert_eq!(server.workers, 0);
    file.refuse(&["server", "listen", "0"], "expected an address");
    let error = file.config().unwrap_err();
    let lines: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
    let expected = [
        "2:11: server.listen[0]: expected an address",
        "2:16: server.listen[1]: expected a string, found a whole number",
        "3:11: server.workers: expected a whole number from 0 to 255, found 400",
        "4:1: server: unknown field \"wrokers\", expected \"workers\"",
        "5:1: clusters.c: a cluster needs \"endpoints\" or \"discover\"",
    ];
    assert_eq!(lines, expected);
}

/// Data that was made in code has the same checks, by the path alone.
#[test]
fn data_is_checked_by_path() {
    let mut config = Config::default();
    let mut cluster = ClusterConfig::default();
    cluster.endpoints = Some(vec!["http://a".into(), "http://a/".into()]);
    config.clusters.insert("a b".into(), cluster);
    config.routes.insert("r".into(), RouteConfig::default());
    let error = config.check().unwrap_err();
    let lines: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
    let expected = [
        r#"clusters."a b".endpoints[1]: "http://a" is listed twice; use a weight instead"#,
        r#"routes.r: a route needs exactly one of "cluster", "respond" and "redirect""#,
    ];
    assert_eq!(lines, expected);
    assert_eq!(config.build().unwrap_err(), error);
}

#[test]
fn too_much_that_is_wrong_is_not_all_said() {
    let many: String = (0..1000).map(|n| format!("x{n} = 1\n")).collect();
    let lines = refused(&format!("[clusters.c]\nendpoints = []\n{many}"));
    assert_eq!(lines.len(), 100);
}
