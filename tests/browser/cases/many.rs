//! A cluster of many endpoints.

use axum_upstream::{LoadBalance, status::status_router};
use tokio::time::Instant;

use crate::{
    browser::{Browser, SOON, until},
    page::Look,
    servers::{Server, app, load},
};

/// All endpoints have a row, and a filter leaves those that are asked for.
pub async fn many(browser: &Browser) -> Server {
    let hello = Server::hello();
    let urls = (0..300).map(|nth| format!("{}/e{nth:03}", hello.url()));
    let balance = LoadBalance::new(urls).unwrap();
    let _load = load(balance.clone());
    let server = Server::start(app(status_router(&balance)));
    let began = Instant::now();
    browser.open(&server).await;
    rows(browser, "", 300).await;
    println!("300 rows after {:.1?}", began.elapsed());

    for (filter, number) in [("/e29", 10), ("/e1", 100), ("no such", 0)] {
        let began = Instant::now();
        browser.write("//input[@id='filter']", filter).await;
        rows(browser, filter, number).await;
        println!("{number} rows after {:.1?}", began.elapsed());
    }
    browser.write("//input[@id='filter']", "/E007").await;
    let look = rows(browser, "/e007", 1).await;
    browser
        .click(&format!("//tbody//th/button[.='{}']", look.rows[0].name))
        .await;
    until("the details are shown", SOON, || async {
        let shown = browser.text(".details").await;
        shown.contains("Attempts").then_some(()).ok_or(shown)
    })
    .await;
    server
}

/// Waits until so many rows are shown, all of them of endpoints with this in their name.
async fn rows(browser: &Browser, filter: &str, number: usize) -> Look {
    until(&format!("{number} rows of {filter:?}"), SOON, || async {
        let look = Look::at(browser).await;
        let fits = look.rows.iter().all(|row| row.name.contains(filter));
        match fits && look.rows.len() == number {
            true => Ok(look),
            false => Err(format!("{} rows", look.rows.len())),
        }
    })
    .await
}
