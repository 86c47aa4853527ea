//! Buttons and forms.

use axum_upstream::status::{EndpointState, StatusRouter};

use crate::{
    browser::{Browser, SOON, until},
    page::{Look, all_busy, in_state, says},
    servers::{Server, app, cluster, load},
};

/// An endpoint can be drained, restored and given another weight, and a dry run names one.
pub async fn actions(browser: &Browser) -> Server {
    let servers = [(); 3].map(|()| Server::hello());
    let balance = cluster(servers.each_ref());
    let _load = load(balance.clone());
    let status = StatusRouter::default().cluster(&balance).actions(true);
    let server = Server::start(app(status.into_router()));
    browser.open(&server).await;
    all_busy(browser, 3).await;

    let name = servers[1].url();
    let state = || balance.status().endpoints[1].state;
    browser
        .click(&format!("//tbody//th/button[.='{name}']"))
        .await;
    let button = |text: &str| format!("//tr[@class='details']//button[.='{text}']");
    browser.click(&button("Drain")).await;
    in_state(browser, &name, "draining").await;
    assert_eq!(state(), EndpointState::Draining);
    says(browser, "[data-part=events]", "drained").await;

    browser.click(&button("Restore")).await;
    in_state(browser, &name, "usable").await;
    assert_eq!(state(), EndpointState::Usable);
    all_busy(browser, 3).await;

    let field = "//tr[@class='details']//input[@type='number']";
    browser.write(field, "5").await;
    browser.click(&button("Set weight")).await;
    until("the weight is shown", SOON, || async {
        let look = Look::at(browser).await;
        let weight = look.row(&name).cell("Weight").to_owned();
        (weight == "5").then_some(()).ok_or(weight)
    })
    .await;

    browser
        .write("//input[@name='path']", "/some/path?x=1")
        .await;
    browser
        .write("//textarea[@name='headers']", "X-Tenant: blue")
        .await;
    browser.click("//button[.='Explain']").await;
    let answer = says(browser, "#explain-answer", "It would go to").await;
    assert!(
        servers.iter().any(|server| answer.contains(&server.url())),
        "{answer}"
    );
    says(browser, "#explain-rows", &name).await;
    server
}
