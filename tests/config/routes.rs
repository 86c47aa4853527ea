//! Which route gets a request, and what is done with it.

use axum::{Router, body::Body, routing::get};
use axum_upstream::config::{Config, ConfigFile, LiveConfig};
use http::{Request, StatusCode, header};

use crate::support::{Folder, Servers, ask, request};

/// Builds a router, where `{one}` and `{two}` in the text are the URLs of two servers.
async fn build(servers: &mut Servers, text: &str) -> Router {
    let (one, two) = (servers.echo("one").await, servers.echo("two").await);
    let text = text.replace("{one}", &one).replace("{two}", &two);
    Config::from_toml(&text).unwrap().build().unwrap()
}

/// The servers that answered, or the statuses.
async fn answers(router: &Router, lines: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for line in lines {
        let (head, _) = ask(router, request(line)).await;
        let server = head.headers().get("x-server");
        all.push(match server {
            Some(name) => name.to_str().unwrap().to_owned(),
            None => head.status().as_u16().to_string(),
        });
    }
    all
}

#[tokio::test]
async fn the_most_specific_route_takes_it() {
    let mut servers = Servers::default();
    let router = build(
        &mut servers,
        r#"
[clusters]
one.endpoints = ["{one}"]
two.endpoints = ["{two}"]
[routes.api]
match = { host = ["*.example.com", "b.test"], path_prefix = "/api" }
cluster = "one"
[routes.write]
match = { host = "api.example.com", path_prefix = "/api", method = ["PUT", "POST"] }
cluster = "two"
[routes.gone]
match.path = "/gone"
respond = { status = 410, body = "gone for good" }
"#,
    )
    .await;
    let lines = [
        "GET api.example.com /api/x",
        "PUT api.example.com /api/x",
        "GET b.test:8080 /api",
        "GET c.test /api",
        "GET b.test /apiary",
        "GET api.example.com /gone",
    ];
    let expected = ["one", "two", "one", "404", "404", "410"];
    assert_eq!(answers(&router, &lines).await, expected);
}

#[tokio::test]
async fn what_no_route_takes() {
    let text = "[routes.a]\nmatch = { path = '/a', method = ['GET', 'POST'] }\nrespond = {}\n\
                [routes.b]\nmatch = { host = 'b', path = '/a', method = 'PATCH' }\nrespond = {}\n";
    let router = Config::from_toml(text).unwrap().build().unwrap();
    let (head, body) = ask(&router, request("GET b /b")).await;
    assert_eq!(head.status(), StatusCode::NOT_FOUND);
    assert_eq!(body, "not found\n");
    let (head, _) = ask(&router, request("DELETE b /a")).await;
    assert_eq!(head.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(head.headers()[header::ALLOW], "GET, HEAD, PATCH, POST");
    let (head, _) = ask(&router, request("DELETE a /a")).await;
    assert_eq!(head.headers()[header::ALLOW], "GET, HEAD, POST");
    assert_eq!(
        answers(&router, &["HEAD a /a", "PATCH b /a"]).await,
        ["200", "200"]
    );
}

/// An application's own routes and layers are around it.
#[tokio::test]
async fn it_is_mounted_beside_other_routes() {
    let mut servers = Servers::default();
    let text = "[clusters.c]\nendpoints = ['{one}/base']\n[routes.all]\ncluster = 'c'\n";
    let configured = build(&mut servers, text).await;
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .nest_service("/nested", configured.clone())
        .fallback_service(configured);
    let (_, body) = ask(&app, request("GET a /healthz")).await;
    assert_eq!(body, "ok");
    let (_, body) = ask(&app, request("GET a /x?y")).await;
    assert!(body.starts_with("one: GET /base/x?y\n"), "{body}");
    let (_, body) = ask(&app, request("GET a /nested/x")).await;
    assert!(body.starts_with("one: GET /base/x\n"), "{body}");
    assert!(body.contains("x-forwarded-prefix: /nested\n"), "{body}");
}

/// By a default of all routes, which a route turns off.
#[tokio::test]
async fn what_endpoints_say_of_themselves_is_mapped() {
    let mut servers = Servers::default();
    let app = Router::new().fallback(async || [("location", "/login")]);
    let one = servers.start(app).await;
    let text = format!(
        r#"
[defaults.route]
strip_prefix = "/api"
reverse_mapping = true
[clusters.c]
endpoints = ["{one}"]
[routes.on]
cluster = "c"
[routes.off]
cluster = "c"
match.method = "PUT"
reverse_mapping = false
"#
    );
    let router = Config::from_toml(&text).unwrap().build().unwrap();
    for (method, location) in [("GET", "/api/login"), ("PUT", "/login")] {
        let (head, _) = ask(&router, request(&format!("{method} example.com /api/x"))).await;
        assert_eq!(head.headers()["location"], location);
    }
}

#[tokio::test]
async fn requests_and_responses_are_rewritten() {
    let folder = Folder::new("rewritten");
    folder.write("token", "t0ken\r\n");
    let mut servers = Servers::default();
    let one = servers.echo("one").await;
    let text = format!(
        r#"
[defaults.route]
via = "front"
rewrite_response.set = {{ x-frame-options = "DENY", x-both = "default" }}
[clusters.c]
endpoints = ["{one}"]
[routes.all]
cluster = "c"
match.path_prefix = "/api"
strip_prefix = "/api"
add_prefix = "/v2"
host = "preserve"
forwarded = true
behind_tls = true
via_on_responses = true
rewrite_request = {{ remove = ["x-gone"], set.authorization.file = "token", add = {{ x-more = "b" }} }}
rewrite_response = {{ remove = ["x-server"], set.X-Both = "route" }}
"#
    );
    let path = folder.write("proxy.toml", text);
    let router = Config::from_file(path).unwrap().build().unwrap();
    let request = Request::get("/api/x")
        .header("host", "example.com")
        .header("x-gone", "1")
        .header("x-more", "a");
    let (head, body) = ask(&router, request.body(Body::empty()).unwrap()).await;
    assert!(
        body.starts_with("one: GET /v2/x\nhost: example.com\n"),
        "{body}"
    );
    for field in [
        "authorization: t0ken\n",
        "x-more: a\nx-more: b\n",
        "via: 1.1 front\n",
        "forwarded: for=unknown;host=example.com;proto=https\n",
        "x-forwarded-prefix: /api\n",
    ] {
        assert!(body.contains(field), "{field}{body}");
    }
    assert!(!body.contains("x-gone"));
    let headers = head.headers();
    assert!(!headers.contains_key("x-server"));
    assert_eq!(headers["x-frame-options"], "DENY");
    assert_eq!(headers["x-both"], "route");
    assert_eq!(headers["via"], "1.1 front");
}

#[tokio::test]
async fn answers_of_its_own() {
    let folder = Folder::new("answers");
    folder.write("page.html", "<h1>Back soon</h1>\n");
    let text = r#"
[routes.page]
match.path = "/page"
respond = { status = 503, body = { file = "page.html" }, fields = { content-type = "text/html", retry-after = "60" } }
[routes.secure]
match.host = "example.com"
redirect = { to = "https://{host}{path}{query}" }
[routes.moved]
match.path_prefix = "/old"
redirect = { to = "/new", status = 302 }
"#;
    let path = folder.write("proxy.toml", text);
    let router = Config::from_file(path).unwrap().build().unwrap();
    let (head, body) = ask(&router, request("GET a /page")).await;
    assert_eq!(head.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(head.headers()["content-type"], "text/html");
    assert_eq!(head.headers()["retry-after"], "60");
    assert_eq!(body, "<h1>Back soon</h1>");
    let (head, _) = ask(&router, request("GET example.com:80 /a//b?c=d")).await;
    assert_eq!(head.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(head.headers()["location"], "https://example.com/a//b?c=d");
    let (head, _) = ask(&router, request("GET a /old/x")).await;
    assert_eq!(head.status(), StatusCode::FOUND);
    assert_eq!(head.headers()["location"], "/new");
}

/// A limit is that of the route, and what a route does not say is said by the defaults.
#[tokio::test]
async fn limits_are_those_of_the_route() {
    let mut servers = Servers::default();
    let text = r#"
[defaults.route]
body_limit = "10B"
[clusters.c]
endpoints = ["{one}"]
[routes.small]
match.path = "/small"
cluster = "c"
[routes.large]
match.path = "/large"
cluster = "c"
body_limit = "1KiB"
[routes.any]
match.path = "/any"
cluster = "c"
body_limit = false
"#;
    let router = build(&mut servers, text).await;
    let post = |path: &str, size: usize| {
        let request = Request::post(path).header("host", "a");
        request.body(Body::from(vec![b'x'; size])).unwrap()
    };
    for (path, size, status) in [
        ("/small", 10, 200),
        ("/small", 11, 413),
        ("/large", 1024, 200),
        ("/large", 1025, 413),
        ("/any", 100_000, 200),
    ] {
        let (head, _) = ask(&router, post(path, size)).await;
        assert_eq!(head.status(), status, "{path} {size}");
    }
}

/// Every table is merged setting by setting.
#[test]
fn defaults_are_merged() {
    let text = r#"
[defaults.cluster]
policy = "least-request"
max_in_flight = 10
queue = { requests = 5, deadline = "3s" }
health_check = { interval = "7s" }
[defaults.cluster.retry]
attempts = 4
budget.ratio = 0.5
[clusters.none]
endpoints = []
[clusters.own]
endpoints = []
retry.per_try_timeout = "1s"
health_check.http = "/"
queue.deadline = "1s"
[clusters.off]
endpoints = []
retry = false
queue = false
max_in_flight = false
"#;
    // What cannot be is found where it is, and a queue without a limit cannot be.
    assert!(Config::from_toml(text).is_ok());
    let without_limit = text.replace("queue = false\n", "");
    let error = Config::from_toml(&without_limit).unwrap_err().to_string();
    let expected =
        "5:9: defaults.cluster.queue: it needs an in-flight limit, without which nothing is full";
    assert_eq!(error, expected);
}

#[tokio::test]
async fn clusters_are_within_reach() {
    let text = "[clusters.b]\nendpoints = ['http://127.0.0.1:1', { url = 'http://127.0.0.1:2', weight = 0, name = 'two' }]\n\
                [clusters.a]\nendpoints = []\n";
    let live = LiveConfig::new(&Config::from_toml(text).unwrap()).unwrap();
    assert_eq!(live.clusters().len(), 2);
    let endpoints = live.cluster("b").unwrap().handle().endpoints();
    let seen: Vec<_> = endpoints
        .iter()
        .map(|one| (&*one.name, one.weight))
        .collect();
    assert_eq!(seen, [("http://127.0.0.1:1", 1), ("two", 0)]);
    assert!(live.cluster("c").is_none());
}

/// Without a runtime, what needs one is refused by name.
#[test]
fn a_health_check_needs_a_runtime() {
    let text = "[clusters.a]\nendpoints = []\nhealth_check.tcp = true\n";
    let config = ConfigFile::parse(text).unwrap().config().unwrap();
    let error = config.build().unwrap_err();
    assert_eq!(error.problems().len(), 1);
    assert!(
        error.to_string().starts_with("1:1: clusters.a: "),
        "{error}"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        assert!(config.build().is_ok());
    });
}
