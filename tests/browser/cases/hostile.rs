//! Names and errors that would be markup.

use axum_upstream::{
    Body, BoxError, EndpointSpec, LoadBalance,
    policy::RoundRobin,
    status::{StatusRouter, StatusSource},
};
use http::{Request, Response};
use serde_json::json;
use tower::service_fn;

use crate::{
    browser::{Browser, SOON, until},
    page::{Look, says},
    servers::{Server, app, load},
};

const NAME: &str = "<script>alert(1)</script>";
const ERROR: &str = "<img src=x onerror=alert(1)>";
const CLUSTER: &str = "\"><svg onload=alert(1)>";

/// The elements that only markup from elsewhere could have added.
const FOREIGN: &str = r#"
  const handles = (element) => element.getAttributeNames().some((name) => name.startsWith("on"));
  return [...document.querySelectorAll("*")]
    .filter((element) => element.matches("img, script:not([nonce])") || handles(element))
    .map((element) => element.outerHTML);
"#;

/// What comes from elsewhere is shown as text wherever it is shown, and nothing of it becomes an element.
pub async fn hostile(browser: &Browser) -> Server {
    let good = Server::hello();
    let fail =
        service_fn(|_: Request<Body>| async { Err::<Response<Body>, BoxError>(ERROR.into()) });
    let specs = [
        EndpointSpec::new(NAME, fail).boxed(),
        EndpointSpec::url(&good.url()).unwrap().boxed(),
    ];
    let builder = LoadBalance::builder().name(CLUSTER).policy(RoundRobin);
    let balance = builder.endpoints(specs).unwrap();
    let _load = load(balance.clone());
    // A second cluster has the names of both in the navigation and in the form.
    let second = LoadBalance::new([good.url()]).unwrap();
    let clusters = StatusRouter::default()
        .cluster(StatusSource::from(&balance))
        .cluster(&second)
        .actions(true);
    let server = Server::start(app(clusters.into_router()));
    browser.open(&server).await;

    until("the error is shown", SOON, || async {
        let look = Look::at(browser).await;
        let found = look.rows.iter().find(|row| row.name == NAME);
        let shown = found.is_some_and(|row| row.cell("Last error").contains(ERROR));
        shown.then_some(()).ok_or(format!("{:?}", look.rows))
    })
    .await;
    says(browser, "[data-part=events]", NAME).await;
    browser
        .click(&format!("//tbody//th/button[.='{NAME}']"))
        .await;
    says(browser, ".details", ERROR).await;
    browser.click("//button[.='Explain']").await;
    says(browser, "#explain-rows", NAME).await;
    says(browser, "#nav", CLUSTER).await;
    says(browser, "#explain select", CLUSTER).await;

    assert!(!browser.has_prompt().await);
    assert_eq!(browser.run(FOREIGN).await, json!([]));
    server
}
