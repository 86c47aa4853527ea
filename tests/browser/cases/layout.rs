//! Schemes of colours, and windows of any width.

use axum_upstream::{EndpointSpec, LoadBalance, policy::RoundRobin, status::StatusRouter};
use serde_json::json;

use crate::{
    browser::Browser,
    page::{Look, says},
    servers::{Server, app, load},
};

/// The width of the window and of the page, and what reaches beyond the window.
const WIDTHS: &str = r#"
  const wide = [...document.body.querySelectorAll("*")]
    .filter((element) => element.getBoundingClientRect().right > innerWidth)
    .map((element) => `${element.localName} ${element.id || element.className}`);
  return [innerWidth, document.documentElement.scrollWidth, wide];
"#;

/// The texts that do not stand out from what is behind them, with their ratio of contrast as WCAG 2 has it.
const FAINT: &str = r#"
  const rgb = (colour) => colour.match(/[\d.]+/g).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [red, green, blue, alpha = 1] = rgb(getComputedStyle(at).backgroundColor);
      if (alpha > 0) return [red, green, blue];
    }
    return [255, 255, 255];
  };
  const linear = (part) => part <= 10.3 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  const contrast = (element) => {
    const both = [rgb(getComputedStyle(element).color), behind(element)].map(luminance).sort((a, b) => b - a);
    return (both[0] + 0.05) / (both[1] + 0.05);
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.body.querySelectorAll("*")]
    .filter((element) => element.checkVisibility() && hasText(element) && contrast(element) < 4.5)
    .map((element) => `${element.textContent}: ${contrast(element)}`);
"#;

/// Nothing makes the page wider than the window, and everything can be read, in light and dark.
pub async fn layout(browser: &Browser) -> Server {
    let hello = Server::hello();
    let long = format!("{}/{}", hello.url(), "long".repeat(60));
    let mut gone = Server::hello();
    gone.stop().await;
    let urls = [hello.url(), long.clone(), gone.url()];
    let specs = urls.map(|url| EndpointSpec::url(&url).unwrap());
    let balance = LoadBalance::builder()
        .name("cluster".repeat(30))
        .policy(RoundRobin)
        .endpoints(specs)
        .unwrap();
    let _load = load(balance.clone());
    let status = StatusRouter::default().cluster(&balance).actions(true);
    let server = Server::start(app(status.into_router()));
    browser.open(&server).await;
    says(browser, "[data-part=events]", "ejected").await;
    says(browser, ".endpoints", &long).await;
    browser
        .click(&format!("//tbody//th/button[.='{long}']"))
        .await;
    browser.click("//button[.='Explain']").await;
    says(browser, "#explain-rows", &long).await;
    assert_eq!(Look::at(browser).await.rows.len(), 3);

    let mut colours = Vec::new();
    for scheme in ["light", "dark"] {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        browser
            .devtools(
                "Emulation.setEmulatedMedia",
                json!({ "features": [feature] }),
            )
            .await;
        for width in [360, 768, 1280] {
            let size =
                json!({ "width": width, "height": 740, "deviceScaleFactor": 1, "mobile": false });
            browser
                .devtools("Emulation.setDeviceMetricsOverride", size)
                .await;
            let page = browser.run(WIDTHS).await;
            assert_eq!(page[0], width);
            assert!(page[1].as_u64() <= page[0].as_u64(), "{scheme}: {page:#}");
        }
        let colour = "return getComputedStyle(document.body).backgroundColor;";
        colours.push(browser.run(colour).await);
        // A row changes its colour slowly.
        let settle = "document.getAnimations().forEach((animation) => animation.finish());";
        browser.run(settle).await;
        assert_eq!(browser.run(FAINT).await, json!([]), "{scheme}");
    }
    assert_ne!(colours[0], colours[1]);
    let none = json!({ "features": [] });
    browser.devtools("Emulation.setEmulatedMedia", none).await;
    browser
        .devtools("Emulation.clearDeviceMetricsOverride", json!({}))
        .await;
    server
}
