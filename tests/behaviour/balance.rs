//! Which endpoint a request goes to, and what happens when there is none.

mod affinity;
mod discovery;
mod users_code;
mod weights;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Request as AxumRequest, routing::get};
use axum_upstream::{
    Body, BoxError, EndpointSpec, Error, Info, LoadBalance, ReverseProxy,
    policy::{Policy, RoundRobin, Sticky},
    upstream::{Client, ClientBuilder},
};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{
    Service, ServiceExt,
    discover::{Change, ServiceList},
    service_fn,
};

use crate::support::{Conn, Message, eventually, proxy, server, within};

type Reply = Result<Response<Body>, BoxError>;

/// An endpoint that answers with its name.
#[derive(Clone)]
struct Named(&'static str);

impl Service<Request<Body>> for Named {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        std::future::ready(Ok(Response::new(Body::from(self.0))))
    }
}

fn named(name: &'static str) -> EndpointSpec<Named> {
    EndpointSpec::new(name, Named(name))
}

fn request() -> Request<Body> {
    Request::get("/").body(Body::empty()).unwrap()
}

/// How many of `n` requests, one at a time, each endpoint answered.
async fn shares<S, B>(balance: &LoadBalance<S>, n: usize) -> BTreeMap<String, usize>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes>,
{
    let mut shares = BTreeMap::new();
    for _ in 0..n {
        let response = balance.clone().oneshot(request()).await.unwrap();
        *shares.entry(endpoint_of(&response)).or_default() += 1;
    }
    shares
}

fn endpoint_of<B>(response: &Response<B>) -> String {
    response
        .extensions()
        .get::<Info>()
        .unwrap()
        .endpoint()
        .unwrap()
        .to_owned()
}

#[tokio::test(start_paused = true)]
async fn requests_are_spread_by_weight() {
    let specs = [named("a"), named("b"), named("c").weight(2).unwrap()];
    let balance = LoadBalance::builder().seed(1).endpoints(specs).unwrap();
    let shares = shares(&balance, 4_000).await;
    for (name, fair) in [("a", 1_000), ("b", 1_000), ("c", 2_000)] {
        assert!(shares[name].abs_diff(fair) < 200, "{shares:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_choices() {
    let picks = || async {
        let specs = ["a", "b", "c", "d", "e"].map(named);
        let balance = LoadBalance::builder().seed(42).endpoints(specs).unwrap();
        let mut picks = Vec::new();
        for _ in 0..50 {
            let response = balance.clone().oneshot(request()).await.unwrap();
            picks.push(endpoint_of(&response));
        }
        picks
    };
    assert_eq!(picks().await, picks().await);
}

/// What is drawn where nothing was given must not follow from the time at which the process began, as a generator
/// seeded by the clock does: whoever knows a cookie finds that time in seconds, and forges cookies for every endpoint.
#[tokio::test(start_paused = true)]
async fn what_is_drawn_does_not_follow_from_the_clock() {
    let cookie = || async {
        fastrand::seed(7);
        let sticky = Sticky::cookie("backend").unwrap();
        session(&over([named("a")], sticky), None).await.unwrap()
    };
    assert_ne!(cookie().await, cookie().await, "the secret of the cookie");

    let subset = || async {
        fastrand::seed(7);
        let names = (0..1_000).map(|n| EndpointSpec::new(n.to_string(), Named("x")));
        let builder = LoadBalance::builder().policy(RoundRobin).subset(10);
        let balance = builder.endpoints(names).unwrap();
        shares(&balance, 10).await
    };
    assert_ne!(
        subset().await,
        subset().await,
        "what a process's own subset comes from"
    );
}

/// Replicas that were given the same secret agree about who belongs where.
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_given_is_shared_by_replicas() {
    let replica = || {
        let sticky = Sticky::cookie("backend").unwrap().key([7; 16]);
        over(["a", "b", "c"].map(named), sticky)
    };
    let cookie = session(&replica(), None).await.unwrap();
    for _ in 0..20 {
        assert_eq!(
            session(&replica(), Some(&cookie)).await,
            None,
            "no new cookie"
        );
    }
}

fn over<const N: usize>(
    specs: [EndpointSpec<Named>; N],
    policy: impl Into<Policy>,
) -> LoadBalance<Named> {
    LoadBalance::builder()
        .policy(policy)
        .endpoints(specs)
        .unwrap()
}

/// The cookie that a client gets which sends this one.
async fn session(balance: &LoadBalance<Named>, cookie: Option<&str>) -> Option<String> {
    let mut request = request();
    if let Some(cookie) = cookie {
        request
            .headers_mut()
            .insert("cookie", cookie.parse().unwrap());
    }
    let response = balance.clone().oneshot(request).await.unwrap();
    let set = response.headers().get("set-cookie")?.to_str().unwrap();
    Some(set.split(';').next().unwrap().to_owned())
}

/// Check 67: a response that has not ended is load, so the other endpoint gets the next requests.
#[tokio::test(start_paused = true)]
async fn a_long_response_is_load_to_its_last_byte() {
    let balance = LoadBalance::builder()
        .endpoints(["a", "b"].map(named))
        .unwrap();
    let response = balance.clone().oneshot(request()).await.unwrap();
    let busy = endpoint_of(&response);
    assert!(!shares(&balance, 20).await.contains_key(&busy));
    drop(response);
    assert!(shares(&balance, 20).await.contains_key(&busy));
}

/// Two URLs and a router in this process in one cluster.
#[tokio::test]
async fn unlike_endpoints_share_a_cluster() {
    within(async {
        let one = server::app(Router::new().fallback(|| async { "one" })).await;
        let two = server::app(Router::new().fallback(|| async { "two" })).await;
        let router: Router = Router::new().route(
            "/",
            get(|request: AxumRequest| async move {
                let host = request.headers()["host"].to_str().unwrap();
                format!("in process, for {host}")
            }),
        );
        let specs = [
            EndpointSpec::url(&one.url()).unwrap().boxed(),
            EndpointSpec::url(&two.url_for(crate::support::Http::Two))
                .unwrap()
                .boxed(),
            EndpointSpec::new("in-process", router).boxed(),
        ];
        let balance = LoadBalance::builder()
            .policy(RoundRobin)
            .endpoints(specs)
            .unwrap();
        let proxy = proxy::serve(ReverseProxy::new(balance)).await;
        let mut seen = BTreeMap::<String, usize>::new();
        let mut client = Conn::connect(proxy.address).await;
        for _ in 0..30 {
            client.send(proxy::get("")).await;
            *seen
                .entry(client.response().await.unwrap().text())
                .or_default() += 1;
        }
        assert_eq!(
            seen.keys().collect::<Vec<_>>(),
            ["in process, for example.com", "one", "two"]
        );
    })
    .await;
}

/// Check 64: an empty cluster answers at once, says when to come back, and recovers with the next insert.
#[tokio::test(start_paused = true)]
async fn an_empty_cluster_is_a_503_until_the_next_insert() {
    let balance = LoadBalance::builder()
        .endpoints(Vec::<EndpointSpec<Named>>::new())
        .unwrap();
    let handle = balance.handle();
    let proxy = ReverseProxy::new(balance);
    let start = Instant::now();
    let get = || Request::get("http://a/").body(Body::empty()).unwrap();
    let response = proxy.clone().oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert!(
        response
            .extensions()
            .get::<Arc<Error>>()
            .unwrap()
            .is_no_endpoint()
    );
    assert_eq!(start.elapsed(), Duration::ZERO);

    assert!(handle.insert(named("a")).is_none());
    assert_eq!(
        proxy.clone().oneshot(get()).await.unwrap().status(),
        StatusCode::OK
    );
    assert!(handle.remove("a").is_some());
    assert_eq!(
        proxy.clone().oneshot(get()).await.unwrap().status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
}

/// Check 65, S26: removed is removed, in-flight requests finish, and the handle tells when.
#[tokio::test]
async fn removal_drains() {
    within(async {
        let balance = LoadBalance::builder()
            .endpoints(["a", "b"].map(named))
            .unwrap();
        let handle = balance.handle();
        let held: Vec<_> =
            futures_util::future::join_all((0..4).map(|_| balance.clone().oneshot(request())))
                .await;
        let draining = handle.remove("a").unwrap();
        assert_eq!((draining.name(), draining.in_flight()), ("a", 2));
        assert!(handle.remove("a").is_none());
        assert_eq!(shares(&balance, 50).await.len(), 1);

        let mut finished = std::pin::pin!(draining.finished());
        assert!(futures_util::poll!(&mut finished).is_pending());
        for response in held {
            response.unwrap().into_body().collect().await.unwrap();
        }
        finished.await;
        assert_eq!(draining.in_flight(), 0);
    })
    .await;
}

/// Whoever inserted a URL can remove it by the same.
#[tokio::test(start_paused = true)]
async fn a_url_is_removed_as_it_was_inserted() {
    let balance = LoadBalance::new(["http://a/base/;weight=2"]).unwrap();
    let handle = balance.handle();
    assert_eq!(handle.endpoints()[0].name.as_ref(), "http://a/base");
    assert!(handle.remove("http://a/other").is_none());
    assert!(handle.remove("http://a/base/;weight=2").is_some());
}

#[tokio::test(start_paused = true)]
async fn replacing_keeps_what_stays() {
    let balance = LoadBalance::builder()
        .endpoints(["a", "b"].map(named))
        .unwrap();
    let handle = balance.handle();
    let held: Vec<_> =
        futures_util::future::join_all((0..2).map(|_| balance.clone().oneshot(request()))).await;
    let gone = handle.replace([named("b").weight(3).unwrap(), named("c")]);
    assert_eq!(
        gone.iter().map(|gone| gone.name()).collect::<Vec<_>>(),
        ["a"]
    );
    let now: Vec<_> = handle
        .endpoints()
        .into_iter()
        .map(|e| (e.name.to_string(), e.weight, e.in_flight))
        .collect();
    assert_eq!(now, [("b".to_owned(), 3, 1), ("c".to_owned(), 1, 0)]);
    drop(held);
    assert!(
        handle
            .insert(named("c"))
            .is_some_and(|gone| gone.in_flight() == 0),
        "replaced under its name"
    );
    assert!(!shares(&balance, 50).await.contains_key("a"));
}

/// Check 65, under load from many tasks while endpoints come and go: nothing panics, nothing goes to a removed one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_lose_nothing() {
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let balance = LoadBalance::builder().endpoints(NAMES.map(named)).unwrap();
    let handle = balance.handle();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let balance = balance.clone();
        senders.spawn(async move {
            for _ in 0..5_000 {
                balance.clone().oneshot(request()).await.unwrap();
            }
        });
    }
    let mut random = fastrand::Rng::with_seed(5);
    while !senders.is_empty() {
        // One of them always stays.
        let name = NAMES[random.usize(1..NAMES.len())];
        match handle.remove(name) {
            Some(draining) => draining.finished().await,
            None => drop(handle.insert(named(name))),
        }
        if let Some(result) = senders.try_join_next() {
            result.unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert!(
        handle
            .endpoints()
            .iter()
            .all(|endpoint| endpoint.in_flight == 0)
    );
}

/// A discovery fed by hand.
type Feed = mpsc::UnboundedSender<Result<Change<u32, EndpointSpec<Named>>, &'static str>>;

fn discovered() -> (Feed, LoadBalance<Named>) {
    let (feed, changes) = mpsc::unbounded_channel();
    (
        feed,
        LoadBalance::from_discover(UnboundedReceiverStream::new(changes)).unwrap(),
    )
}

#[tokio::test(start_paused = true)]
async fn discovery_inserts_replaces_and_removes() {
    let (feed, balance) = discovered();
    let names = || {
        balance
            .handle()
            .endpoints()
            .iter()
            .map(|e| e.name.to_string())
            .collect::<Vec<_>>()
    };
    feed.send(Ok(Change::Insert(1, named("a")))).unwrap();
    feed.send(Ok(Change::Insert(2, named("b")))).unwrap();
    eventually(|| names() == ["a", "b"]).await;
    feed.send(Ok(Change::Insert(1, named("c")))).unwrap();
    eventually(|| names() == ["b", "c"]).await;
    feed.send(Ok(Change::Remove(2))).unwrap();
    feed.send(Ok(Change::Remove(9))).unwrap();
    eventually(|| names() == ["c"]).await;
    assert_eq!(shares(&balance, 3).await["c"], 3);
}

/// Check 75: the end and an error of discovery keep the last set.
#[tokio::test(start_paused = true)]
async fn the_last_set_outlives_its_discovery() {
    for end in [None, Some("broken")] {
        let (feed, balance) = discovered();
        feed.send(Ok(Change::Insert(1, named("a")))).unwrap();
        if let Some(error) = end {
            feed.send(Err(error)).unwrap();
        }
        drop(feed.clone());
        drop(feed);
        eventually(|| !balance.handle().endpoints().is_empty()).await;
        assert_eq!(shares(&balance, 3).await["a"], 3);
        balance.handle().insert(named("b"));
        assert_eq!(shares(&balance, 4).await.len(), 2);
    }
}

/// While discovery has said nothing, a request waits, as long as the ready timeout allows.
#[tokio::test(start_paused = true)]
async fn the_first_answer_of_discovery_is_waited_for() {
    let (feed, balance) = discovered();
    let waiting = balance.clone().oneshot(request());
    let mut waiting = std::pin::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    feed.send(Ok(Change::Insert(1, named("a")))).unwrap();
    assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);

    let (_feed, silent) = discovered();
    let start = Instant::now();
    assert!(
        silent
            .oneshot(request())
            .await
            .unwrap_err()
            .is_no_endpoint()
    );
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

/// The task that reads discovery ends with the last clone.
#[tokio::test]
async fn discovery_ends_with_its_balancer() {
    let (feed, balance) = discovered();
    let clone = balance.clone();
    drop(balance);
    assert!(!feed.is_closed());
    drop(clone);
    within(feed.closed()).await;
}

/// Any `Discover`: tower's own list of services.
#[tokio::test(start_paused = true)]
async fn towers_service_list_is_a_discovery() {
    let clients = ["http://a", "http://b"].map(|url| Client::new(url).unwrap());
    let list = ServiceList::new::<Request<Body>>(clients);
    let balance: LoadBalance = LoadBalance::from_discover(list).unwrap();
    eventually(|| balance.handle().endpoints().len() == 2).await;
    assert_eq!(balance.handle().endpoints()[1].name.as_ref(), "http://b");
}

/// Check 69: a request that found no connection goes to another endpoint, whole, whatever its method.
#[tokio::test]
async fn a_refused_connection_is_tried_elsewhere() {
    within(async {
        let (dead, dead_too) = (server::refusing(), server::refusing());
        let (live, mut requests) = server::canned(proxy::OK).await;
        let urls = [format!("{}/base", dead.url()), dead_too.url(), live.url()];
        let balance = LoadBalance::builder().seed(1).urls(urls).unwrap();
        let proxy = proxy::serve(ReverseProxy::new(balance.clone())).await;
        let mut client = Conn::connect(proxy.address).await;
        for _ in 0..20 {
            client
                .send(
                    "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                )
                .await;
            assert_eq!(client.response().await.unwrap().status(), 200);
            let seen: Message = requests.recv().await.unwrap();
            assert_eq!((seen.start_line(), seen.text().as_str()), ("POST /x HTTP/1.1", "abc"));
            assert_eq!(seen.field("host"), Some(live.address.to_string().as_str()));
        }
        let response = balance.clone().oneshot(request()).await.unwrap();
        assert!(response.extensions().get::<Info>().unwrap().attempts().count() <= 3);
    })
    .await;
}

/// All down: one answer after one round, no storm.
#[tokio::test]
async fn when_all_refuse_the_answer_is_502() {
    let dead: Vec<_> = (0..3).map(|_| server::refusing()).collect();
    let balance = LoadBalance::new(dead.iter().map(server::Refusing::url)).unwrap();
    let response = within(
        ReverseProxy::new(balance).oneshot(Request::get("http://a/").body(Body::empty()).unwrap()),
    );
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let error = response.extensions().get::<Arc<Error>>().unwrap();
    assert!(error.is_connect());
    assert!(
        dead.iter()
            .any(|dead| Some(dead.url().as_str()) == error.endpoint())
    );
}

/// Check 69: a request whose bytes went out is not sent again.
#[tokio::test]
async fn what_may_have_arrived_is_not_sent_twice() {
    within(async {
        let count = Arc::new(Mutex::new(0));
        let counted = count.clone();
        let dies = server::raw(move |mut conn| {
            let counted = counted.clone();
            async move {
                if conn.request().await.is_some() {
                    *counted.lock().unwrap() += 1;
                }
            }
        })
        .await;
        let (live, _requests) = server::canned(proxy::OK).await;
        let balance = LoadBalance::builder()
            .seed(1)
            .urls([dies.url(), live.url()])
            .unwrap();
        let proxy = proxy::serve(ReverseProxy::new(balance)).await;
        let mut statuses = Vec::new();
        for _ in 0..10 {
            let mut client = Conn::connect(proxy.address).await;
            client
                .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
                .await;
            statuses.push(client.response().await.unwrap().status());
        }
        let failed = statuses.iter().filter(|status| **status == 502).count();
        assert!(
            failed > 0 && failed == *count.lock().unwrap(),
            "{statuses:?}"
        );
    })
    .await;
}

/// Check 68: a pooled connection that the server closed is no error, to any method.
#[tokio::test]
async fn a_stale_connection_is_no_error() {
    within(async {
        let once = server::raw(|mut conn| async move {
            conn.request().await;
            conn.send(proxy::OK).await;
        })
        .await;
        let proxy = proxy::to(&once.url()).await;
        let mut client = Conn::connect(proxy.address).await;
        for _ in 0..50 {
            client
                .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
                .await;
            // A POST that a closing connection may have taken must not be repeated; one that it surely did not, must.
            let status = client.response().await.unwrap().status();
            assert!(status == 200 || status == 502);
            client.send(proxy::get("")).await;
            assert_eq!(client.response().await.unwrap().status(), 200);
        }
    })
    .await;
}

/// An endpoint of one's own that fails is a 502 with its name.
#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_a_502() {
    let fails = service_fn(|_: Request<Body>| async { Reply::Err("boom".into()) });
    let balance = LoadBalance::builder()
        .endpoints([EndpointSpec::new("fails", fails)])
        .unwrap();
    let handle = balance.handle();
    let request = Request::get("http://a/").body(Body::empty()).unwrap();
    let response = ReverseProxy::new(balance).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let error = response.extensions().get::<Arc<Error>>().unwrap();
    assert_eq!(error.endpoint(), Some("fails"));
    assert_eq!(
        std::error::Error::source(&**error).unwrap().to_string(),
        "boom"
    );
    assert_eq!(handle.endpoints()[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_work_are_named() {
    for (urls, says) in [
        (&["http://a", "http://a"][..], "endpoints"),
        (&["http://a;weight=0"], "endpoint weight"),
        (&["nonsense"], "endpoint URL"),
    ] {
        let error = LoadBalance::new(urls).unwrap_err();
        assert!(
            error.is_config() && error.to_string().contains(says),
            "{error}"
        );
    }
    let client = ClientBuilder::default;
    for (builder, says) in [
        (LoadBalance::builder().subset(0), "subset"),
        (
            LoadBalance::builder().client(client().max_connections(0)),
            "max_connections",
        ),
        (
            LoadBalance::builder().client(client().max_response_fields(0)),
            "max_response_fields",
        ),
        (
            LoadBalance::builder().client(client().http2_stream_window(1)),
            "http2_stream_window",
        ),
    ] {
        let error = builder.urls(["http://a"]).unwrap_err();
        assert!(
            error.is_config() && error.to_string().contains(says),
            "{error}"
        );
    }
    let outside = std::thread::spawn(|| {
        let list = ServiceList::new::<Request<Body>>([Client::new("http://a").unwrap()]);
        LoadBalance::from_discover(list).map(|_: LoadBalance| ())
    });
    assert!(outside.join().unwrap().unwrap_err().is_config());
}

/// Dropping a request that waits for an endpoint leaves nothing counted.
#[tokio::test(start_paused = true)]
async fn dropped_while_waiting() {
    let (feed, balance) = discovered();
    let mut waiting = Box::pin(balance.clone().oneshot(request()));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(waiting);
    feed.send(Ok(Change::Insert(1, named("a")))).unwrap();
    eventually(|| !balance.handle().endpoints().is_empty()).await;
    assert_eq!(balance.handle().endpoints()[0].in_flight, 0);
}

/// Discovery that gives a key another endpoint never leaves a cluster of one empty; a name lives as long as any key.
#[tokio::test(start_paused = true)]
async fn discovery_changes_in_one_step() {
    let (feed, balance) = discovered();
    let names = || {
        balance
            .handle()
            .endpoints()
            .iter()
            .map(|e| e.name.to_string())
            .collect::<Vec<_>>()
    };
    feed.send(Ok(Change::Insert(1, named("a")))).unwrap();
    feed.send(Ok(Change::Insert(2, named("a")))).unwrap();
    feed.send(Ok(Change::Remove(1))).unwrap();
    feed.send(Ok(Change::Insert(3, named("b")))).unwrap();
    eventually(|| names() == ["a", "b"]).await;
    feed.send(Ok(Change::Remove(2))).unwrap();
    eventually(|| names() == ["b"]).await;
    let gone = balance
        .handle()
        .replace([named("c"), named("c").weight(2).unwrap()]);
    assert_eq!(gone.len(), 1);
    assert_eq!(balance.handle().endpoints()[0].weight, 2);
    assert_eq!(balance.handle().endpoints().len(), 1);
}

/// Check 75: an error of discovery is not its end.
#[tokio::test(start_paused = true)]
async fn discovery_goes_on_after_an_error() {
    let (feed, balance) = discovered();
    feed.send(Ok(Change::Insert(1, named("a")))).unwrap();
    feed.send(Err("broken")).unwrap();
    feed.send(Ok(Change::Insert(2, named("b")))).unwrap();
    within(async {
        while balance.handle().endpoints().len() < 2 {
            tokio::time::advance(Duration::from_millis(100)).await;
        }
    })
    .await;
}

/// The `Host` of an endpoint that could not be reached does not go to the next.
#[tokio::test]
async fn a_host_stays_with_its_endpoint() {
    within(async {
        let dead = server::refusing();
        let (live, mut requests) = server::canned(proxy::OK).await;
        let specs = [
            EndpointSpec::new("dead", Client::new(&dead.url()).unwrap()),
            EndpointSpec::url(&live.url()).unwrap(),
        ];
        let balance = LoadBalance::builder().seed(1).endpoints(specs).unwrap();
        for _ in 0..10 {
            balance
                .clone()
                .oneshot(request())
                .await
                .unwrap()
                .into_body()
                .collect()
                .await
                .unwrap();
            let host = requests
                .recv()
                .await
                .unwrap()
                .field("host")
                .map(ToOwned::to_owned);
            assert_eq!(host, Some(live.address.to_string()));
        }
    })
    .await;
}
