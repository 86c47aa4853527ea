//! One of several clusters, or of several proxies, for each request.

use std::sync::Arc;

use axum::{Router, body::Body as AxumBody, routing::any};
use axum_upstream::{
    Body, Info, LoadBalance, ReverseProxy,
    split::{Split, SplitBranch},
};
use http::{Request, StatusCode};
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::support::{
    Client, Http, client::text, eventually, proxy, server, server::Server, versions, within,
};

async fn named(name: &'static str) -> Server {
    let echo = move |body: String| async move { format!("{name} {body}") };
    server::app(Router::new().fallback(any(echo))).await
}

fn cluster(server: &Server, http: Http) -> LoadBalance<axum_upstream::upstream::Client> {
    LoadBalance::new([server.url_for(http)]).unwrap()
}

versions! {
    /// In front of clusters, with bodies both ways; a switch changes where the next request goes.
    async fn clusters_behind_one_proxy(down, up) {
        let (blue, green) = (named("blue").await, named("green").await);
        let branches = [("blue", 1, cluster(&blue, up)), ("green", 0, cluster(&green, up))];
        let split = Split::new(branches).unwrap();
        let handle = split.handle();
        let proxy = ReverseProxy::new(split).rewrite_response(|head| {
            let branch = head.extensions.get::<SplitBranch>().unwrap();
            let branch = branch.name().parse().unwrap();
            head.headers.insert("x-branch", branch);
        });
        let server = proxy::serve(proxy).await;
        let mut client = Client::connect(down, server.address).await;
        for name in ["blue", "green", "blue"] {
            handle.switch_to(name).unwrap();
            let request = Request::post("/").body(Body::from("hello")).unwrap();
            let response = client.send(request).await;
            assert_eq!(response.headers()["x-branch"], name);
            assert_eq!(text(response).await, format!("{name} hello"));
        }
        let counts: Vec<_> = handle.branches().iter().map(|branch| branch.requests).collect();
        assert_eq!(counts, [2, 1]);
    }
}

/// Whole proxies as branches, each with its own settings; and an error of one is a response with its branch.
#[tokio::test]
async fn proxies_as_branches() {
    within(async {
        let blue = named("blue").await;
        let down = server::refusing();
        let proxies = [
            ("blue", 1, ReverseProxy::to(&blue.url()).unwrap()),
            ("down", 1, ReverseProxy::to(&down.url()).unwrap()),
        ];
        let split = Split::new(proxies).unwrap();
        let handle = split.handle();
        let app: Router = Router::new().fallback_service(split);
        let ask = || {
            let request = Request::get("/")
                .header("host", "a")
                .body(AxumBody::empty());
            app.clone().oneshot(request.unwrap())
        };
        handle.switch_to("blue").unwrap();
        let response = ask().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            response.extensions().get::<SplitBranch>().unwrap().name(),
            "blue"
        );
        handle.switch_to("down").unwrap();
        let response = ask().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(
            response.extensions().get::<SplitBranch>().unwrap().name(),
            "down"
        );
        assert!(response.extensions().get::<Info>().is_some());
    })
    .await;
}

/// What is in flight when the weights change ends where it began.
#[tokio::test]
async fn requests_in_flight_stay() {
    within(async {
        let (arrived, go) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let slow = {
            let (arrived, go) = (arrived.clone(), go.clone());
            let slow = move || {
                let (arrived, go) = (arrived.clone(), go.clone());
                async move {
                    arrived.notify_one();
                    go.notified().await;
                    "slow"
                }
            };
            server::app(Router::new().fallback(slow)).await
        };
        let fast = named("fast").await;
        let branches = [
            ("slow", 1, cluster(&slow, Http::One)),
            ("fast", 0, cluster(&fast, Http::One)),
        ];
        let split = Split::new(branches).unwrap();
        let handle = split.handle();
        let server = proxy::serve(ReverseProxy::new(split)).await;
        let mut client = Client::connect(Http::Two, server.address).await;
        let mut other = client.beside().await;
        let waiting = tokio::spawn(async move { text(other.get("/").await).await });
        arrived.notified().await;
        handle.switch_to("fast").unwrap();
        assert_eq!(text(client.get("/").await).await, "fast ");
        assert!(!waiting.is_finished());
        go.notify_one();
        assert_eq!(waiting.await.unwrap(), "slow");
        eventually(|| handle.branches().iter().all(|branch| branch.requests == 1)).await;
    })
    .await;
}
