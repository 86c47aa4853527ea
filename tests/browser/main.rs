//! The status page, and a WebSocket through the proxy, in a real browser, over real servers. Without chromedriver and Chromium there is nothing to test
//! with, and the tests are skipped.

#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary exports nothing, so the lint would have every `pub` be `pub(crate)`.
#![allow(unreachable_pub)]

mod browser;
mod cases;
mod page;
mod servers;

use std::{
    io::{Write, stderr},
    sync::Mutex,
};

use axum_upstream::{LoadBalance, status::status_router};
use tokio::time::Instant;

use self::{
    browser::{Browser, Programs, SOON, until},
    servers::{Server, app},
};

/// One browser for all cases, as its start takes longer than any of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_browser() {
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(missing) => {
            // Not by a macro, whose output is shown only if the test fails.
            let _ = writeln!(stderr(), "the browser tests are skipped: {missing}");
            return;
        }
    };
    let browser = Browser::start(&programs).await;
    the_console_is_heard(&browser).await;
    let run = Cases(&browser);
    run.case("failing", &[], cases::failing(&browser)).await;
    run.case("discovery", &[], cases::discovery(&browser)).await;
    run.case("hostile", &[], cases::hostile(&browser)).await;
    run.case("many", &[], cases::many(&browser)).await;
    // The page cannot keep the browser from saying that a server does not answer.
    let network = ["net::ERR_"];
    run.case("restart", &network, cases::restart(&browser))
        .await;
    run.case("layout", &[], cases::layout(&browser)).await;
    run.case("actions", &[], cases::actions(&browser)).await;
    run.case("websocket", &["favicon"], cases::websocket(&browser))
        .await;
    browser.close().await;
}

/// The cases, in one browser.
struct Cases<'a>(&'a Browser);

impl Cases<'_> {
    /// Runs a case, which returns the server of its page, and fails if it leaves anything on the console that has none
    /// of the `expected` texts.
    async fn case(&self, name: &str, expected: &[&str], case: impl Future<Output = Server>) {
        let began = Instant::now();
        // The page is left before its server ends, which it would complain about.
        let server = case.await;
        self.0.leave().await;
        drop(server);
        let mut console = self.0.console().await;
        console.retain(|entry| {
            let message = entry["message"].as_str().unwrap_or_default();
            !expected.iter().any(|text| message.contains(text))
        });
        assert!(console.is_empty(), "{name}: on the console: {console:#?}");
        println!("{name}: {:.1?}", began.elapsed());
    }
}

/// That there is nothing on the console means something only if the rest would be there.
async fn the_console_is_heard(browser: &Browser) {
    let balance = LoadBalance::new(["http://127.0.0.1:1"]).unwrap();
    let server = Server::start(app(status_router(&balance)));
    browser.open(&server).await;
    browser
        .run("setTimeout(() => { throw new Error('thrown'); }); console.error('written');")
        .await;
    browser
        .run("document.body.setAttribute('style', 'color: red');")
        .await;
    let wanted = ["thrown", "written", "Content Security Policy"];
    let heard = Mutex::new(String::new());
    until("the console is heard", SOON, || async {
        let entries = format!("{:?}", browser.console().await);
        let mut heard = heard.lock().unwrap();
        heard.push_str(&entries);
        match wanted.iter().all(|text| heard.contains(text)) {
            true => Ok(()),
            false => Err(heard.clone()),
        }
    })
    .await;
    browser.leave().await;
}
