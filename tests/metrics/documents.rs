//! The table of all metrics, and the dashboard, have what there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::{everything, scrape::Metrics, services::within};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the page: name, type and the keys of the labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = read("docs/OBSERVABILITY.md");
    let rows = page.lines().filter(|line| {
        ["| `axum_upstream_", "| `http_"]
            .iter()
            .any(|start| line.starts_with(start))
    });
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let labels = cells[4].split('`').skip(1).step_by(2).map(str::to_owned);
        let name = cells[1].trim_matches('`').to_owned();
        (name, (cells[2].to_owned(), labels.collect()))
    })
    .collect()
}

/// The names of metrics in the queries of the dashboard, without what Prometheus adds to those of histograms.
fn queried() -> BTreeSet<String> {
    let dashboard: String = read("docs/grafana.json");
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let expressions = dashboard.lines().filter(|line| {
        let line = line.trim_start();
        line.starts_with("\"expr\"")
            || line.starts_with("\"query\"")
            || line.starts_with("\"definition\"")
    });
    let names = expressions.flat_map(|line| line.split(word).map(str::to_owned));
    names
        .filter(|name| name.starts_with("axum_upstream_") || name.starts_with("http_"))
        .map(|name| {
            let suffix = ["_bucket", "_sum", "_count"]
                .into_iter()
                .find_map(|suffix| name.strip_suffix(suffix).map(str::to_owned));
            suffix.unwrap_or(name)
        })
        .collect()
}

#[tokio::test]
async fn the_documents_have_what_is_emitted() {
    let metrics = Metrics::new();
    within(everything(&metrics)).await;
    let emitted: BTreeMap<_, _> = metrics
        .names()
        .into_iter()
        .map(|(name, (kind, labels))| (name, (kind.to_owned(), labels)))
        .collect();
    assert_eq!(
        documented(),
        emitted,
        "documented on the left, emitted on the right"
    );

    let queried = queried();
    assert!(queried.len() > 10, "{queried:?}");
    let unknown: Vec<_> = queried
        .iter()
        .filter(|name| !emitted.contains_key(*name))
        .collect();
    assert!(unknown.is_empty(), "in the dashboard alone: {unknown:?}");

    // Nothing of the text is lost on a parser, and each name has a line of help.
    let text = metrics.text();
    for name in emitted.keys() {
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    let lines = text.lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let buckets = lines.clone().filter(|line| line.contains("_bucket{"));
    let histograms = metrics.names().len();
    let samples = metrics.scrape();
    let of_buckets: usize = samples
        .iter()
        .map(|sample| match &sample.value {
            prometheus_parse::Value::Histogram(buckets) => buckets.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(buckets.clone().count(), of_buckets);
    let others = samples
        .iter()
        .filter(|sample| !matches!(sample.value, prometheus_parse::Value::Histogram(_)));
    assert_eq!(lines.count() - of_buckets, others.count());
    assert!(histograms > 20);
}
