//! What a change does to what is in flight, and to what stays.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    routing::get,
    serve::Listener,
};
use axum_upstream::{
    config::{ClusterConfig, Config, ConfigWatch, LiveConfig},
    endpoint::Availability,
};
use futures_util::{SinkExt, StreamExt, stream};
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Folder, ask, request};

/// A server that counts the connections it has accepted.
struct Counted {
    url: String,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// Accepts and counts.
struct CountingListener(TcpListener, Arc<AtomicUsize>);

impl Listener for CountingListener {
    type Io = TcpStream;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let accepted = self.0.accept().await.unwrap();
        self.1.fetch_add(1, SeqCst);
        accepted
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl Counted {
    async fn start(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let accepted = Arc::<AtomicUsize>::default();
        let listener = CountingListener(listener, accepted.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(listener, app).await.unwrap();
        });
        Self {
            url,
            accepted,
            _tasks: tasks,
        }
    }

    async fn echo(name: &'static str) -> Self {
        Self::start(Router::new().fallback(move || async move { name })).await
    }

    fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

/// Waits until `condition` holds, which other tasks are about to bring about.
async fn eventually(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), holds)
        .await
        .expect("it never came to be");
}

fn live(text: &str) -> LiveConfig {
    LiveConfig::new(&Config::from_toml(text).unwrap()).unwrap()
}

async fn body(live: &LiveConfig, line: &str) -> String {
    ask(&live.router(), request(line)).await.1
}

#[tokio::test]
async fn a_cluster_that_stays_keeps_its_connections() {
    let server = Counted::echo("a").await;
    let text = |more: &str| {
        format!(
            "[clusters.a]\nendpoints = ['{}']\n[routes.a]\ncluster = 'a'\n{more}",
            server.url
        )
    };
    let live = live(&text(""));
    assert_eq!(body(&live, "GET x /").await, "a");
    let before = live.cluster("a").unwrap().handle();
    before.set_weight(&server.url, 0);
    before.set_weight(&server.url, 3);
    // Another route, another cluster, another setting of the route.
    let next = "strip_prefix = '/b'\n[clusters.b]\nendpoints = []\n[routes.b]\nmatch.path = '/b'\nrespond.status = 204\n";
    live.apply(&Config::from_toml(&text(next)).unwrap())
        .unwrap();
    assert_eq!(body(&live, "GET x /").await, "a");
    let (head, _) = ask(&live.router(), request("GET x /b")).await;
    assert_eq!(head.status(), StatusCode::NO_CONTENT);
    assert_eq!(server.accepted(), 1);
    assert_eq!(
        live.cluster("a").unwrap().handle().endpoints()[0].weight,
        3,
        "set by hand"
    );
    // Another setting of the cluster: it is built anew, over the same connections.
    let next = "[clusters.a.retry]\nattempts = 3\n";
    live.apply(&Config::from_toml(&text(next)).unwrap())
        .unwrap();
    assert_eq!(body(&live, "GET x /").await, "a");
    assert_eq!(server.accepted(), 1);
    assert_eq!(live.cluster("a").unwrap().handle().endpoints()[0].weight, 1);
    // Endpoints are connected to in another way: the connections are others.
    let next = "[clusters.a.client]\nconnect_timeout = '1s'\n";
    live.apply(&Config::from_toml(&text(next)).unwrap())
        .unwrap();
    assert_eq!(body(&live, "GET x /").await, "a");
    assert_eq!(server.accepted(), 2);
    assert!(live.cluster("b").is_none());
}

/// The source cannot be read while the configuration changes: the endpoints that it had named go on, and leave when it
/// names others.
#[cfg(feature = "file")]
#[tokio::test]
async fn discovered_endpoints_go_on_while_their_source_fails() {
    let (first, second) = (Counted::echo("a").await, Counted::echo("b").await);
    let folder = Folder::new("discovered");
    folder.write("servers", format!("{}\n", first.url));
    let text = |more: &str| {
        let path = folder.path("servers");
        format!(
            "[clusters.a]\n{more}discover.file = {{ path = '{}', interval = '20ms' }}\n[routes.a]\ncluster = 'a'\n",
            path.display()
        )
    };
    let live = live(&text(""));
    assert_eq!(body(&live, "GET x /").await, "a");
    let before = live.cluster("a").unwrap().handle();
    before.set_weight(&first.url, 5);

    fs::remove_file(folder.path("servers")).unwrap();
    // It is not touched: discovery goes on, and so does what was set by hand.
    let other = format!(
        "{}[routes.b]\nmatch.path = '/b'\nrespond = {{}}\n",
        text("")
    );
    live.apply(&Config::from_toml(&other).unwrap()).unwrap();
    assert_eq!(body(&live, "GET x /").await, "a");
    assert_eq!(live.cluster("a").unwrap().handle().endpoints()[0].weight, 5);
    // It is built anew.
    #[cfg(feature = "status")]
    let discovery = || live.cluster("a").unwrap().status().discovery.unwrap();
    #[cfg(feature = "status")]
    let before = discovery().last_success.unwrap();
    let other = text("retry.attempts = 3\n");
    live.apply(&Config::from_toml(&other).unwrap()).unwrap();
    assert_eq!(body(&live, "GET x /").await, "a");
    assert_eq!(first.accepted(), 1);
    // What it was given is no success of the source.
    #[cfg(feature = "status")]
    {
        eventually(|| discovery().last_error.is_some()).await;
        assert_eq!(discovery().last_success, Some(before));
        assert!(discovery().failures_in_a_row > 0);
    }

    folder.write("servers", format!("{}\n", second.url));
    let only_second = || {
        let endpoints = live.cluster("a").unwrap().handle().endpoints();
        endpoints.len() == 1 && *endpoints[0].name == *second.url
    };
    eventually(only_second).await;
    #[cfg(feature = "status")]
    assert!(discovery().last_success.unwrap() > before);
    assert_eq!(body(&live, "GET x /").await, "b");
}

/// What has passed its checks is used at once by the cluster that takes the place of another.
#[tokio::test]
async fn an_endpoint_that_is_known_to_work_need_not_be_checked_first() {
    let checks = Arc::<AtomicUsize>::default();
    let app = Router::new().fallback(|| async { "a" }).route(
        "/healthz",
        get(move || async move {
            // Only the first one is answered.
            if checks.fetch_add(1, SeqCst) > 0 {
                std::future::pending::<()>().await;
            }
        }),
    );
    let server = Counted::start(app).await;
    let text = format!(
        "[clusters.a]\nendpoints = ['{}']\nhealth_check = {{ http = '/healthz', required_before_use = true }}\n\
         [routes.a]\ncluster = 'a'\n",
        server.url
    );
    let live = live(&text);
    let usable = || {
        let endpoints = live.cluster("a").unwrap().handle().endpoints();
        endpoints[0].availability == Availability::Usable
    };
    assert!(!usable());
    eventually(usable).await;
    let other = format!("{text}[clusters.a.client]\nconnect_timeout = '1s'\n");
    live.apply(&Config::from_toml(&other).unwrap()).unwrap();
    assert!(usable());
    assert_eq!(body(&live, "GET x /").await, "a");
}

#[tokio::test]
async fn endpoints_come_and_go() {
    let (a, b, c) = (
        Counted::echo("a").await,
        Counted::echo("b").await,
        Counted::echo("c").await,
    );
    let mut config = Config::from_toml(
        "[clusters.all]\nendpoints = []\npolicy = 'round-robin'\n[routes.all]\ncluster = 'all'\n",
    )
    .unwrap();
    let mut set = |live: Option<&LiveConfig>, endpoints: &[&str]| {
        let endpoints = endpoints.iter().map(|url| (*url).into()).collect();
        let cluster: &mut ClusterConfig = config.clusters.get_mut("all").unwrap();
        cluster.endpoints = Some(endpoints);
        if let Some(live) = live {
            live.apply(&config).unwrap();
        }
        config.clone()
    };
    let live = LiveConfig::new(&set(None, &[&a.url, &b.url])).unwrap();
    let four = || async {
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(body(&live, "GET x /").await);
        }
        all.sort();
        all.concat()
    };
    assert_eq!(four().await, "aabb");
    set(Some(&live), &[&b.url, &c.url]);
    assert_eq!(four().await, "bbcc");
    set(Some(&live), &[&format!("{};weight=3", b.url), &c.url]);
    assert_eq!(four().await, "bbbc");
    assert_eq!(b.accepted(), 1, "it stayed all the time");
    // Drained by hand, it stays so, whatever becomes of others.
    live.cluster("all").unwrap().handle().set_weight(&b.url, 0);
    set(
        Some(&live),
        &[&format!("{};weight=3", b.url), &c.url, &a.url],
    );
    assert_eq!(four().await, "aacc");
    assert_eq!(b.accepted(), 1);
    let names = live.cluster("all").unwrap().handle().endpoints();
    assert_eq!(names.len(), 3);
}

/// What is in flight at an endpoint that is gone, in a cluster that is gone, finishes.
#[tokio::test]
async fn what_is_gone_drains() {
    let (sender, receiver) = mpsc::channel::<&'static str>(1);
    let receiver = Arc::new(tokio::sync::Mutex::new(Some(receiver)));
    let slow = Router::new().fallback(move || {
        let receiver = receiver.clone();
        async move {
            let receiver = receiver.lock().await.take().unwrap();
            let parts = stream::unfold(receiver, |mut receiver| async {
                let part = receiver.recv().await?;
                Some((Ok::<_, std::io::Error>(Bytes::from(part)), receiver))
            });
            Body::from_stream(parts)
        }
    });
    let server = Counted::start(slow).await;
    let live = live(&format!(
        "[clusters.a]\nendpoints = ['{}']\n[routes.a]\ncluster = 'a'\n",
        server.url
    ));
    sender.send("one ").await.unwrap();
    let response = tower::ServiceExt::oneshot(live.router(), request("GET x /"))
        .await
        .unwrap();
    live.apply(&Config::from_toml("[routes.a]\nrespond.body = 'other'\n").unwrap())
        .unwrap();
    assert_eq!(body(&live, "GET x /").await, "other");
    sender.send("two").await.unwrap();
    drop(sender);
    let whole = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&whole[..], b"one two");
}

/// A wrong one changes nothing, and is in the status until a right one comes.
#[tokio::test]
async fn a_wrong_one_changes_nothing() {
    let live = live("[routes.a]\nrespond.body = 'one'\n");
    let status = live.status();
    assert_eq!((status.generation, status.problems.len()), (1, 0));
    let mut wrong = Config::from_toml("[routes.a]\nrespond.body = 'two'\n").unwrap();
    wrong.routes.get_mut("a").unwrap().cluster = Some("none".into());
    let error = live.apply(&wrong).unwrap_err();
    assert_eq!(body(&live, "GET x /").await, "one");
    let status = live.status();
    assert_eq!(status.generation, 1);
    assert_eq!(status.problems, error.problems());
    live.apply(&Config::from_toml("[routes.a]\nrespond.body = 'two'\n").unwrap())
        .unwrap();
    assert_eq!(body(&live, "GET x /").await, "two");
    let status = live.status();
    assert_eq!((status.generation, status.problems.len()), (2, 0));
    let error = live.reload().await.unwrap_err().to_string();
    assert_eq!(error, "this configuration does not follow a file");
}

fn route(body: &str) -> String {
    format!("[routes.a]\nrespond.body = '{body}'\n")
}

#[tokio::test]
async fn each_version_of_a_file_is_adjusted() {
    let folder = Folder::new("adjusted");
    let path = folder.write("proxy.toml", route("one"));
    let live = ConfigWatch::new(&path)
        .interval(Duration::MAX)
        .adjust(|config| {
            let respond = config.defaults.route.respond.get_or_insert_default();
            respond.status = Some(203);
        })
        .start();
    // The defaults of routes have no answer.
    assert!(live.is_err());
    let live = ConfigWatch::new(&path)
        .interval(Duration::MAX)
        .adjust(|config| {
            let added = config.routes["a"].clone();
            config.routes.entry("b".into()).or_insert(added);
            let added = config.routes.get_mut("b").unwrap();
            added.matching.path = vec!["/b".into()];
        })
        .start()
        .unwrap();
    assert_eq!(body(&live, "GET x /b").await, "one");
    folder.write("proxy.toml", route("two"));
    live.reload().await.unwrap();
    assert_eq!(body(&live, "GET x /b").await, "two");
}

#[tokio::test]
async fn a_file_is_followed() {
    let folder = Folder::new("followed");
    let path = folder.write("proxy.toml", route("one"));
    let seen = Arc::<AtomicUsize>::default();
    let sees = seen.clone();
    let live = ConfigWatch::new(&path)
        .interval(Duration::MAX)
        .sections(move |file| {
            let number: usize = file.section("number");
            let sees = sees.clone();
            move || sees.store(number, SeqCst)
        })
        .start()
        .unwrap();
    assert_eq!(body(&live, "GET x /").await, "one");
    let generation = |generation| {
        let live = live.clone();
        async move { eventually(|| live.status().generation == generation).await }
    };
    // Replaced by a rename.
    folder.write("next", format!("number = 7\n{}", route("two")));
    fs::rename(folder.path("next"), &path).unwrap();
    generation(2).await;
    assert_eq!(body(&live, "GET x /").await, "two");
    assert_eq!(seen.load(SeqCst), 7);
    // Written in place.
    fs::write(&path, route("three")).unwrap();
    generation(3).await;
    assert_eq!(body(&live, "GET x /").await, "three");
    // Wrong, then gone, then empty.
    folder.write(
        "proxy.toml",
        format!("number = 8\n{}nonsense = 1\n", route("four")),
    );
    eventually(|| live.status().problems.len() == 1).await;
    let problem = live.status().problems[0].to_string();
    let expected = format!(
        "{}:4:1: routes.a: unknown field \"nonsense\"",
        path.display()
    );
    assert!(problem.starts_with(&expected), "{problem}");
    fs::remove_file(&path).unwrap();
    eventually(|| live.status().problems[0].message.contains("cannot be read")).await;
    fs::write(&path, "").unwrap();
    eventually(|| live.status().problems[0].message.contains("empty")).await;
    assert_eq!(body(&live, "GET x /").await, "three");
    assert_eq!(seen.load(SeqCst), 0, "what is wrong is not told");
    // Half of it is no version.
    fs::write(&path, route("five").trim_end()).unwrap();
    generation(4).await;
    assert_eq!(body(&live, "GET x /").await, "five");
    assert!(live.status().problems.is_empty());
}

/// As kubelet mounts a ConfigMap: the file is a link into `..data`, which is a link to a folder, and is replaced.
#[cfg(unix)]
#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    use std::os::unix::fs::symlink;

    let folder = Folder::new("config-map");
    let mount = |version: &str| {
        fs::create_dir(folder.path(version)).unwrap();
        fs::write(folder.path(version).join("proxy.toml"), route(version)).unwrap();
        symlink(version, folder.path("..data_tmp")).unwrap();
        fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    };
    mount("..1");
    symlink("..data/proxy.toml", folder.path("proxy.toml")).unwrap();
    let live = ConfigWatch::new(folder.path("proxy.toml"))
        .interval(Duration::MAX)
        .start()
        .unwrap();
    for (version, generation) in [("..2", 2), ("..3", 3)] {
        mount(version);
        eventually(|| live.status().generation == generation).await;
        assert_eq!(body(&live, "GET x /").await, version);
    }
}

/// The status follows the clusters, and has what is wrong with a configuration that was not taken.
#[cfg(feature = "status")]
#[tokio::test(start_paused = true)]
async fn the_status_follows() {
    let config = |text: &str| Config::from_toml(text).unwrap();
    let one = config("[clusters.one]\nendpoints = ['http://127.0.0.1:1']\n");
    let live = LiveConfig::new(&one).unwrap();
    let router = live.status_router().into_router();
    let status = || async {
        // A report is used again for a second.
        tokio::time::advance(Duration::from_secs(1)).await;
        let (_, body) = ask(&router, request("GET x /status.json")).await;
        let status: serde_json::Value = serde_json::from_str(&body).unwrap();
        let clusters = status["clusters"].as_array().unwrap().iter();
        let names: Vec<_> = clusters
            .map(|cluster| cluster["name"].to_string())
            .collect();
        (names.join(" "), status["configuration"].clone())
    };
    let (names, configuration) = status().await;
    assert_eq!(names, "\"one\"");
    assert_eq!(configuration["generation"], 1);
    let two = config("[clusters.two]\nendpoints = []\n[clusters.three]\nendpoints = []\n");
    live.apply(&two).unwrap();
    let (names, configuration) = status().await;
    assert_eq!(names, "\"three\" \"two\"");
    assert_eq!(configuration["generation"], 2);
    let mut wrong = two.clone();
    wrong.clusters.get_mut("two").unwrap().endpoints = None;
    live.apply(&wrong).unwrap_err();
    let (names, configuration) = status().await;
    assert_eq!(names, "\"three\" \"two\"");
    let expected = "2:1: clusters.two: a cluster needs \"endpoints\" or \"discover\"";
    assert_eq!(
        configuration["problems"][0].as_str().unwrap()[2..],
        expected[2..]
    );
}

/// By a call, it is read again even if it is the same: files that it names may be others.
#[tokio::test]
async fn a_call_reloads() {
    let folder = Folder::new("call");
    folder.write("page", "one");
    let path = folder.write("proxy.toml", "[routes.a]\nrespond.body.file = 'page'\n");
    let live = ConfigWatch::new(&path)
        .interval(Duration::MAX)
        .start()
        .unwrap();
    assert_eq!(body(&live, "GET x /").await, "one");
    folder.write("page", "two");
    live.reload().await.unwrap();
    assert_eq!(body(&live, "GET x /").await, "two");
    fs::remove_file(folder.path("page")).unwrap();
    let error = live.reload().await.unwrap_err();
    assert!(error.to_string().contains("cannot read"), "{error}");
    assert_eq!(body(&live, "GET x /").await, "two");
}

/// A cluster whose files have changed is built anew, although its settings are the same.
#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
#[tokio::test]
async fn a_changed_certificate_makes_another_cluster() {
    let folder = Folder::new("certificate");
    let certificate = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    folder.write("ca.pem", certificate().cert.pem());
    let text = "[clusters.a]\nendpoints = ['http://127.0.0.1:1', 'http://127.0.0.1:2']\nclient.tls.roots = 'ca.pem'\n";
    let path = folder.write("proxy.toml", text);
    let live = ConfigWatch::new(&path)
        .interval(Duration::MAX)
        .start()
        .unwrap();
    let mark = |live: &LiveConfig| live.cluster("a").unwrap().handle().endpoints()[0].weight;
    live.cluster("a")
        .unwrap()
        .handle()
        .set_weight("http://127.0.0.1:1", 9);
    live.reload().await.unwrap();
    assert_eq!(mark(&live), 9);
    folder.write("ca.pem", certificate().cert.pem());
    live.reload().await.unwrap();
    assert_eq!(mark(&live), 1);
    folder.write("ca.pem", "nothing");
    let error = live.reload().await.unwrap_err().to_string();
    assert!(
        error.contains("clusters.a.client.tls.roots: expected certificates in PEM"),
        "{error}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_reloads() {
    let folder = Folder::new("signal");
    let path = folder.write("proxy.toml", route("one"));
    let live = ConfigWatch::new(&path)
        .interval(Duration::MAX)
        .on_hangup()
        .start()
        .unwrap();
    let mut kill = tokio::process::Command::new("kill");
    let status = kill
        .args(["-HUP", &std::process::id().to_string()])
        .status();
    assert!(status.await.unwrap().success());
    eventually(|| live.status().generation == 2).await;
}

/// The task ends with the last that uses the configuration.
#[tokio::test]
async fn nothing_is_left() {
    let folder = Folder::new("left");
    let path = folder.write("proxy.toml", route("one"));
    let told = Arc::new(());
    let weak = Arc::downgrade(&told);
    let live = ConfigWatch::new(&path)
        .sections(move |_| {
            let _ = &told;
            || {}
        })
        .start()
        .unwrap();
    let router = live.router();
    drop(live);
    assert!(weak.upgrade().is_some());
    drop(router);
    eventually(|| weak.upgrade().is_none()).await;
}

/// A WebSocket and a download live through a hundred reloads under load: no request fails, and no connection is made
/// anew to an endpoint that stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load() {
    const CLIENTS: usize = 4;
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let app = Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route(
            "/socket",
            get(|upgrade: axum::extract::WebSocketUpgrade| async {
                upgrade.on_upgrade(|mut socket| async move {
                    while let Some(Ok(message)) = socket.recv().await {
                        if socket.send(message).await.is_err() {
                            break;
                        }
                    }
                })
            }),
        )
        .route(
            "/download",
            get(move || async move {
                let receiver = receiver.lock().unwrap().take().unwrap();
                let parts = stream::unfold(receiver, |mut receiver| async {
                    let part = receiver.recv().await?;
                    Some((Ok::<_, std::io::Error>(part), receiver))
                });
                Body::from_stream(parts)
            }),
        );
    let stays = Counted::start(app).await;
    let comes = Counted::echo("hello").await;
    let folder = Folder::new("hundred");
    // Every second version has another endpoint, another cluster, and another route.
    let text = |version: usize| {
        let mut text = format!(
            "[clusters.main]\nendpoints = ['{};weight=20'{}]\n[routes.main]\ncluster = 'main'\n\
             rewrite_response.set.x-version = '{version}'\n\
             [clusters.fixed]\nendpoints = ['{}']\n[routes.fixed]\nmatch.path = ['/socket', '/download']\n\
             cluster = 'fixed'\n",
            stays.url,
            if version % 2 == 0 {
                String::new()
            } else {
                format!(", '{}'", comes.url)
            },
            stays.url,
        );
        if version % 2 == 1 {
            text += &format!(
                "[clusters.other]\nendpoints = ['{}']\n[routes.other]\nmatch.path = '/other'\ncluster = 'other'\n",
                comes.url
            );
        }
        text
    };
    let path = folder.write("proxy.toml", text(0));
    let live = ConfigWatch::new(&path)
        .interval(Duration::MAX)
        .start()
        .unwrap();
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = front.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    let router = live.router();
    tasks.spawn(async move { axum::serve(front, router).await.unwrap() });

    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/socket"))
        .await
        .unwrap();
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<Body>();
    let uri = |path: &str| {
        format!("http://{address}{path}")
            .parse::<http::Uri>()
            .unwrap()
    };
    sender.send(Bytes::from_static(b"0")).await.unwrap();
    let download = client.get(uri("/download")).await.unwrap();
    let download = tokio::spawn(download.into_body().collect());

    let stop = Arc::<AtomicBool>::default();
    let mut load = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, uri, stop) = (client.clone(), uri("/hello"), stop.clone());
        load.spawn(async move {
            let mut count = 0_usize;
            while !stop.load(SeqCst) {
                let response = client.get(uri.clone()).await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(&body[..], b"hello");
                count += 1;
            }
            count
        });
    }
    let mut versions = 0;
    for version in 1..=100 {
        folder.write("next", text(version));
        fs::rename(folder.path("next"), &path).unwrap();
        live.reload().await.unwrap();
        socket
            .send(Message::text(version.to_string()))
            .await
            .unwrap();
        let echoed = socket.next().await.unwrap().unwrap();
        assert_eq!(echoed.into_text().unwrap().as_str(), version.to_string());
        sender
            .send(Bytes::from(format!(" {version}")))
            .await
            .unwrap();
        let response = client.get(uri("/hello")).await.unwrap();
        versions += usize::from(response.headers()["x-version"] == version.to_string().as_str());
    }
    stop.store(true, SeqCst);
    let mut requests = 0;
    while let Some(count) = load.join_next().await {
        requests += count.unwrap();
    }
    drop(sender);
    let whole = download.await.unwrap().unwrap().to_bytes();
    let expected: Vec<_> = (0..=100).map(|version| version.to_string()).collect();
    assert_eq!(whole, expected.join(" "));
    assert_eq!(versions, 100, "each took effect at once");
    assert!(requests > 100, "{requests}");
    assert!(live.status().generation > 100);
    // One for the socket, one for the download, and some for the load: a client may be faster than the pool that its
    // connection goes back to. Made anew by each change, they would be hundreds.
    let accepted = stays.accepted();
    assert!(accepted <= 2 + 2 * (CLIENTS + 1), "{accepted}");
    socket.close(None).await.unwrap();
}
