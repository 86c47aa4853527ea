//! A server that is restarted while its page is open.

use axum_upstream::status::status_router;
use serde_json::json;

use crate::{
    browser::Browser,
    page::{all_busy, says},
    servers::{Server, app, cluster, load},
};

/// Keeps every text that is ever shown and has a negative number, the descriptions of the charts among them.
const WATCH: &str = r#"
  window.negative = [];
  const keep = ({ target, attributeName }) => {
    const text = attributeName ? target.getAttribute(attributeName) : target.textContent;
    if (/(^|[^\w.])[-\u2212]\s*\d|NaN|undefined|Infinity/.test(text)) window.negative.push(text);
  };
  new MutationObserver((changes) => changes.forEach(keep))
    .observe(document.body, { subtree: true, childList: true, characterData: true, attributeFilter: ["aria-label"] });
"#;

/// The page goes on by itself with the counters of the new server, which begin at 0.
pub async fn restart(browser: &Browser) -> Server {
    let hello = [Server::hello(), Server::hello()];
    let balance = || cluster(hello.each_ref());
    let first = balance();
    let first_load = load(first.clone());
    let mut server = Server::start(app(status_router(&first)));
    browser.open(&server).await;
    browser.run(WATCH).await;
    all_busy(browser, 2).await;

    server.stop().await;
    says(browser, "#mode", "connection lost").await;
    says(browser, "#age", "old").await;
    drop(first_load);
    let second = balance();
    server.start_again_as(app(status_router(&second)));

    says(browser, "#news", "The server was restarted").await;
    says(browser, "#mode", "live").await;
    // Not before, so that the new counters are seen to be less than the old ones.
    let _load = load(second.clone());
    all_busy(browser, 2).await;
    assert_eq!(browser.text("#age").await, "");
    assert_eq!(browser.run("return window.negative;").await, json!([]));
    // Otherwise nothing would have been found.
    browser
        .run("document.getElementById('news').textContent = 'now -3/s';")
        .await;
    assert_eq!(
        browser.run("return window.negative;").await,
        json!(["now -3/s"])
    );
    server
}
