//! A server that ends, and one that begins.

use std::time::Duration;

use axum_upstream::status::status_router;

use crate::{
    browser::{Browser, until},
    page::{Look, all_busy, in_state, says},
    servers::{Server, app, cluster, load},
};

/// How soon the end of a server has to be seen: five requests later with the next event, which is at most a second
/// away. That takes less than two seconds; the rest is for a machine with other work.
const SEEN: Duration = Duration::from_secs(5);

/// A server that ends is shown as ejected, with the cause; when it is back, so is its endpoint.
pub async fn failing(browser: &Browser) -> Server {
    let mut servers = [(); 3].map(|()| Server::hello());
    let balance = cluster(servers.each_ref());
    let _load = load(balance.clone());
    let server = Server::start(app(status_router(&balance)));
    browser.open(&server).await;
    all_busy(browser, 3).await;

    let lost = servers[1].url();
    let killed = Look::at(browser).await.now;
    servers[1].stop().await;
    let seen = until("the end of a server is seen", SEEN, || async {
        let look = Look::at(browser).await;
        match look.row(&lost).state == "ejected" {
            true => Ok(look),
            false => Err(format!("{:?}", look.rows)),
        }
    })
    .await;
    println!("seen as ejected after {} ms", seen.now - killed);
    let cause = seen.row(&lost).cell("State");
    assert!(cause.contains("Connection refused"), "{cause}");
    assert!(!cause.contains("\u{a0}d"), "not for days: {cause}");
    for row in seen.rows.iter().filter(|row| row.name != lost) {
        assert_eq!(row.state, "usable");
        assert_eq!(row.cell("State"), "usable", "it has always been");
    }

    let told = says(browser, "[data-part=events] li", "ejected").await;
    assert!(
        told.contains(&lost) && told.contains("Connection refused"),
        "{told}"
    );
    says(browser, "[data-part=figures]", "2 of 3").await;

    servers[1].start_again();
    in_state(browser, &lost, "usable").await;
    let told = says(browser, "[data-part=events] li", "admitted").await;
    assert!(told.contains(&lost), "{told}");
    all_busy(browser, 3).await;
    server
}
