//! The scenarios of `docs/BALANCING.md` for all policies, in virtual time.
//!
//! ```text
//! cargo bench --bench scenarios                    # all, five seeds each: a few minutes
//! cargo bench --bench scenarios -- S8 S9 --seeds 1 # some of them
//! cargo bench --bench scenarios -- --write-docs    # and put table and plots into docs/
//! ```
//!
//! The table and the plots are written to `target/scenarios/`, too.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A bench exports nothing, so the lint would have every `pub` of the simulation be `pub(crate)`.
#![allow(unreachable_pub)]

#[path = "../../tests/scenarios/attacks.rs"]
mod attacks;
#[path = "../../tests/scenarios/cases.rs"]
mod cases;
#[path = "../../tests/scenarios/failing.rs"]
mod failing;
mod plot;
mod rows;
#[path = "../../tests/scenarios/sim/mod.rs"]
mod sim;

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use sim::client::Picks;

struct Options {
    only: Vec<String>,
    seeds: u64,
    write_docs: bool,
}

fn main() {
    let options = parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = target(root).join("scenarios");
    fs::create_dir_all(&out).unwrap();

    let table = table(&options);
    fs::write(out.join("table.md"), &table).unwrap();
    let plots = if options.only.is_empty() {
        rows::plots(options.seeds)
    } else {
        Vec::new()
    };
    for (name, svg) in &plots {
        fs::write(out.join(name), svg).unwrap();
    }
    println!("\nwritten to {}", out.display());
    if options.write_docs {
        let docs = root.join("docs");
        fs::create_dir_all(docs.join("balancing")).unwrap();
        for (name, svg) in &plots {
            fs::write(docs.join("balancing").join(name), svg).unwrap();
        }
        let page = docs.join("BALANCING.md");
        let text = fs::read_to_string(&page).unwrap();
        fs::write(page, with_table(&text, &table)).unwrap();
    }
}

fn parse() -> Options {
    let mut options = Options {
        only: Vec::new(),
        seeds: 5,
        write_docs: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match &*arg {
            // What cargo says to every bench.
            "--bench" => {}
            "--write-docs" => options.write_docs = true,
            "--seeds" => {
                options.seeds = args
                    .next()
                    .and_then(|n| n.parse().ok())
                    .expect("--seeds takes a number");
            }
            flag if flag.starts_with('-') => panic!("unknown flag {flag}"),
            name => options.only.push(name.to_owned()),
        }
    }
    assert!(
        !options.write_docs || options.only.is_empty(),
        "the docs have all scenarios"
    );
    options
}

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Runs everything and prints each row when it is there.
fn table(options: &Options) -> String {
    let mut table = String::new();
    let mut line = |line: String| {
        println!("{line}");
        std::io::stdout().flush().unwrap();
        writeln!(table, "{line}").unwrap();
    };
    let names: Vec<_> = Picks::ALL.iter().map(|picks| picks.name()).collect();
    line(format!(
        "| scenario | published | goal | {} |",
        names.join(" | ")
    ));
    line(format!("|---|---|---|{}", "---|".repeat(names.len())));
    let wanted = |name: &str| {
        options.only.is_empty() || options.only.iter().any(|only| name.starts_with(&**only))
    };
    for row in rows::rows().into_iter().filter(|row| wanted(row.name)) {
        let cells = Picks::ALL.map(|picks| {
            let values: Vec<f64> = (1..=options.seeds)
                .map(|seed| (row.case)(picks, seed))
                .collect();
            let cell = cell(&values, row.digits);
            if picks == Picks::Default {
                format!("**{cell}**")
            } else {
                cell
            }
        });
        let rows::Row {
            name,
            what,
            published,
            goal,
            ..
        } = row;
        line(format!(
            "| {name}: {what} | {published} | {goal} | {} |",
            cells.join(" | ")
        ));
    }
    table
}

/// The mean over the seeds, and how far they spread.
fn cell(values: &[f64], digits: usize) -> String {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    if mean.is_infinite() {
        return "∞".to_owned();
    }
    let far = values
        .iter()
        .map(|value| (value - mean).abs())
        .fold(0.0, f64::max);
    match far < 0.5 * 0.1_f64.powi(digits as i32) {
        true => format!("{mean:.digits$}"),
        false => format!("{mean:.digits$} ±{far:.digits$}"),
    }
}

fn with_table(page: &str, table: &str) -> String {
    const FROM: &str =
        "<!-- table: written by `cargo bench --bench scenarios -- --write-docs` -->\n";
    const TO: &str = "<!-- end of table -->";
    let (before, rest) = page
        .split_once(FROM)
        .expect("the page has the first marker");
    let (_, after) = rest.split_once(TO).expect("the page has the second marker");
    format!("{before}{FROM}\n{table}\n{TO}{after}")
}
