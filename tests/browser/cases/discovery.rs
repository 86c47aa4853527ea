//! A cluster that follows a source, which fails and recovers.

use axum_upstream::{BoxError, EndpointSpec, LoadBalance, status::StatusRouter};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::discover::Change;

use crate::{
    browser::Browser,
    page::says,
    servers::{Server, app},
};

/// The page says when the source last reported, how often it has failed since then, and why.
pub async fn discovery(browser: &Browser) -> Server {
    let (feed, changes) = mpsc::unbounded_channel::<Result<_, BoxError>>();
    let followed = LoadBalance::builder().name("followed");
    let followed: LoadBalance = followed
        .discover(UnboundedReceiverStream::new(changes))
        .unwrap();
    let fixed = LoadBalance::builder().name("fixed");
    let fixed: LoadBalance = fixed.urls(["http://127.0.0.1:1"]).unwrap();
    let status = StatusRouter::default().cluster(&followed).cluster(&fixed);
    let server = Server::start(app(status.into_router()));
    browser.open(&server).await;
    let line = "[data-part=discovery]";
    says(browser, line, "Discovery has not reported yet").await;
    // A cluster of fixed endpoints has no such line.
    let hidden = "return [...document.querySelectorAll('[data-part=discovery]')].map((line) => line.hidden);";
    assert_eq!(browser.run(hidden).await, json!([false, true]));

    feed.send(Err("the source is <b>away</b>".into())).unwrap();
    let said = says(browser, line, "Discovery fails (1×)").await;
    assert!(said.contains("has not reported yet; "), "{said}");
    assert!(said.contains("ago: the source is <b>away</b>"), "{said}");

    says(browser, "#nav", "followed discovery fails").await;
    let spec = EndpointSpec::url("http://127.0.0.1:2").unwrap();
    feed.send(Ok(Change::Insert(1, spec))).unwrap();
    let said = says(browser, line, "Discovery last reported").await;
    assert!(said.contains("last error"), "{said}");

    feed.send(Err("it is away again".into())).unwrap();
    let said = says(browser, line, "Discovery fails (1×)").await;
    assert!(
        said.contains("last reported") && said.contains("it is away again"),
        "{said}"
    );
    server
}
