//! The documentation, the schema and the code say the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use axum_upstream::config::Config;
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files in the page, from the smallest to the one with everything.
fn files() -> Vec<String> {
    let page = read("docs/CONFIG.md");
    let blocks = page.split("```toml\n").skip(1);
    let mut files: Vec<_> = blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect();
    files.sort_by_key(String::len);
    files
}

/// With the features that the page needs.
#[cfg(all(
    feature = "adaptive-limit",
    feature = "dns",
    feature = "etcd",
    feature = "file",
    feature = "http2",
    feature = "kubernetes",
    feature = "status"
))]
#[test]
fn the_files_of_the_page_are_right() {
    for file in files() {
        if let Err(error) = Config::from_toml(&file) {
            panic!("{error}");
        }
    }
}

/// Whatever an editor leaves, each problem has a place in the file, and nothing panics.
#[test]
fn a_file_that_is_edited_at_random() {
    let whole = files().pop().unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let mut rng = fastrand::Rng::with_seed(1);
    let pieces = [
        "", "=", "[", "]", "{", "}", "\"", "'", ".", "a", "-1", "1e9", "true", "\n", "{*", "é", "#",
    ];
    for _ in 0..1_000 {
        let mut edited: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        for _ in 0..rng.usize(1..4) {
            let line = rng.usize(..edited.len());
            match rng.u8(..3) {
                0 => drop(edited.remove(line)),
                1 => edited.swap(line, rng.usize(..lines.len() / 2)),
                _ => {
                    let text = &mut edited[line];
                    let places: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
                    let from = rng.usize(..=places.len());
                    let at = places.get(from).copied().unwrap_or(text.len());
                    let end = places.get(from + rng.usize(..4)).copied();
                    let end = end.unwrap_or(text.len()).max(at);
                    text.replace_range(at..end, pieces[rng.usize(..pieces.len())]);
                }
            }
        }
        let text = edited.join("\n");
        if let Err(error) = Config::from_toml(&text) {
            assert!(!error.problems().is_empty());
            for problem in error.problems() {
                let line = problem.line.unwrap();
                assert!(line >= 1 && line <= text.lines().count() + 1, "{problem}");
                assert!(!problem.message.is_empty());
            }
        }
    }
}

#[test]
fn the_file_of_the_example_is_right() {
    Config::from_file(path("examples/config.toml")).unwrap();
}

/// Every setting is in the large file, be it in a comment.
#[test]
fn the_page_has_every_setting() {
    let file = files().pop().unwrap();
    let words: BTreeSet<_> = file
        .split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'))
        .collect();
    let missing: Vec<_> = settings()
        .into_iter()
        .filter(|(_, name)| !words.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// `UPDATE_SCHEMA=1 cargo test --features config --test config` writes it.
#[test]
fn the_schema_is_that_of_the_code() {
    let file = path("docs/config.schema.json");
    let now = serde_json::to_string_pretty(&Config::json_schema_with(&["gateway"])).unwrap() + "\n";
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&file, &now).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == now,
        "docs/config.schema.json is not that of the code: run this test with UPDATE_SCHEMA=1"
    );
}

/// The settings of the schema, each with the table it is in.
fn settings() -> BTreeSet<(String, String)> {
    let schema = Config::json_schema();
    let mut found = BTreeSet::new();
    let mut add = |table: &str, schema: &Value| {
        for name in properties(schema) {
            found.insert((table.to_owned(), name));
        }
    };
    add("Config", &schema);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        add(name, definition);
    }
    found
}

/// The names of the properties of a table, and of those in its alternatives.
fn properties(schema: &Value) -> Vec<String> {
    let own = schema["properties"].as_object();
    let mut names: Vec<_> = own
        .into_iter()
        .flat_map(|own| own.keys().cloned())
        .collect();
    for alternatives in ["anyOf", "oneOf"] {
        for alternative in schema[alternatives].as_array().into_iter().flatten() {
            names.extend(properties(alternative));
            let constant = alternative["const"].as_str().map(str::to_owned);
            names.extend(constant);
            let all = alternative["enum"].as_array().into_iter().flatten();
            names.extend(all.filter_map(Value::as_str).map(str::to_owned));
        }
    }
    names
}

/// Where the methods of one builder are, and which tables have their settings.
struct Builder {
    file: &'static str,
    /// The `impl` blocks with its methods begin like this.
    of: &'static str,
    tables: &'static [&'static str],
    /// Methods whose settings have other names.
    renamed: &'static [(&'static str, &'static str)],
    /// Methods that are no settings, or cannot be said in a file, with the reason.
    not: &'static [(&'static str, &'static str)],
}

const BUILDERS: &[Builder] = &[
    Builder {
        file: "src/balance/builder.rs",
        of: "impl LoadBalanceBuilder",
        tables: &["ClusterConfig"],
        renamed: &[("urls", "endpoints")],
        not: &[("name", "the key of the cluster"), ("wake", "a closure")],
    },
    Builder {
        file: "src/upstream/builder.rs",
        of: "impl ClientBuilder",
        tables: &["ClientConfig"],
        renamed: &[],
        not: &[
            ("name", "of an endpoint: EndpointConfig::name"),
            ("resolver", "a service"),
            ("connector", "a service"),
            ("tls_connector", "a service"),
            ("tls_connector_http1", "a service"),
        ],
    },
    Builder {
        file: "src/proxy/reverse_proxy.rs",
        of: "impl",
        tables: &["RouteConfig"],
        renamed: &[
            ("with_forwarded", "forwarded"),
            ("without_forwarded", "forwarded"),
            ("not_behind_tls", "behind_tls"),
            ("without_via", "via"),
            ("with_via_on_responses", "via_on_responses"),
            ("without_via_on_responses", "via_on_responses"),
            ("with_reverse_mapping", "reverse_mapping"),
            ("without_reverse_mapping", "reverse_mapping"),
        ],
        not: &[
            ("new", "makes a proxy"),
            ("to", "makes a proxy"),
            ("client_addr", "of one connection"),
            ("rewrite_path", "a closure"),
            ("try_rewrite_request", "a closure"),
            ("rewrite_response_to", "a closure"),
            ("on_error", "a closure"),
            ("close_tunnels", "is done, not set"),
            ("forward", "is done, not set"),
        ],
    },
    Builder {
        file: "src/retry/policy.rs",
        of: "impl Retry ",
        tables: &["RetryConfig"],
        renamed: &[],
        not: &[("never", "retry = false"), ("when", "a closure")],
    },
    Builder {
        file: "src/retry/budget.rs",
        of: "impl RetryBudget ",
        tables: &["RetryBudgetConfig"],
        renamed: &[],
        not: &[("new", "makes one")],
    },
    Builder {
        file: "src/retry/hedge.rs",
        of: "impl Hedge ",
        tables: &["HedgeConfig"],
        renamed: &[],
        not: &[],
    },
    Builder {
        file: "src/health/ejection.rs",
        of: "impl Ejection ",
        tables: &["EjectionConfig"],
        renamed: &[],
        not: &[],
    },
    Builder {
        file: "src/health/check.rs",
        of: "impl HealthCheck ",
        tables: &["HealthCheckConfig"],
        renamed: &[],
        not: &[("accept", "a closure")],
    },
    Builder {
        file: "src/limit/adaptive/settings.rs",
        of: "impl AdaptiveConcurrency ",
        tables: &["AdaptiveConcurrencyConfig"],
        renamed: &[],
        not: &[("gradient", "where there is no aimd")],
    },
    Builder {
        file: "src/endpoint/spec.rs",
        of: "impl",
        tables: &["Endpoint", "EndpointTable"],
        renamed: &[],
        not: &[
            ("url_with", "the client is that of the cluster"),
            ("new", "an endpoint that is a service in the process"),
            ("load", "a closure"),
            ("map", "a layer"),
            ("boxed", "of services"),
        ],
    },
    Builder {
        file: "src/balance/policy/consistent_hash.rs",
        of: "impl ConsistentHash ",
        tables: &["ConsistentHashConfig"],
        renamed: &[],
        not: &[("by", "a closure")],
    },
    Builder {
        file: "src/balance/policy/any.rs",
        of: "impl Sticky ",
        tables: &["StickyConfig"],
        renamed: &[],
        not: &[],
    },
    Builder {
        file: "src/balance/policy/p2c.rs",
        of: "impl P2c ",
        tables: &["PolicyConfig"],
        renamed: &[("new", "p2c"), ("in_flight", "p2c-in-flight")],
        not: &[("reported", "the measures of load are closures")],
    },
    Builder {
        file: "src/discover/dns/mod.rs",
        of: "impl Dns ",
        tables: &["DnsConfig", "DiscoverConfig"],
        renamed: &[("addresses", "dns")],
        not: &[("client", "that of the cluster")],
    },
    Builder {
        file: "src/discover/file/mod.rs",
        of: "impl WatchedFile ",
        tables: &["WatchedFileConfig"],
        renamed: &[("new", "path")],
        not: &[("client", "that of the cluster")],
    },
    Builder {
        file: "src/discover/etcd/mod.rs",
        of: "impl Etcd ",
        tables: &["EtcdConfig"],
        renamed: &[],
        not: &[("client", "that of the cluster")],
    },
    Builder {
        file: "src/discover/kubernetes/mod.rs",
        of: "impl Kubernetes ",
        tables: &["KubernetesConfig"],
        renamed: &[],
        not: &[("client", "that of the cluster")],
    },
];

/// The public methods in the blocks of a file that begin with `of`.
fn methods(file: &str, of: &str) -> BTreeSet<String> {
    let text = read(file);
    let mut found = BTreeSet::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("impl") {
            inside = line.starts_with(of) && !line.contains(" for ");
        } else if line == "}" {
            inside = false;
        } else if let Some(rest) = line.strip_prefix("    pub fn ").filter(|_| inside) {
            let name = rest.split(['(', '<']).next().unwrap();
            // A method that reads takes no value.
            let reads = rest.contains("(&self)") && rest.contains("->");
            if !reads {
                found.insert(name.to_owned());
            }
        } else if let Some(rest) = line.strip_prefix("    pub async fn ").filter(|_| inside) {
            found.insert(rest.split(['(', '<']).next().unwrap().to_owned());
        }
    }
    assert!(!found.is_empty(), "{file} has no methods of {of:?}");
    found
}

/// Each method of a builder is a setting, or there is a reason why not; and no reason is left over.
#[test]
fn every_method_is_a_setting() {
    let settings = settings();
    let mut wrong = Vec::new();
    for builder in BUILDERS {
        let methods = methods(builder.file, builder.of);
        let renamed: BTreeMap<_, _> = builder.renamed.iter().copied().collect();
        let not: BTreeMap<_, _> = builder.not.iter().copied().collect();
        for method in &methods {
            let name = renamed
                .get(method.as_str())
                .map_or(method.as_str(), |name| name);
            let is_setting = builder
                .tables
                .iter()
                .any(|table| settings.contains(&((*table).to_owned(), name.to_owned())));
            if is_setting == not.contains_key(method.as_str()) {
                wrong.push(format!("{}: {method}", builder.file));
            }
        }
        let stale = renamed.keys().chain(not.keys());
        let stale = stale.filter(|method| !methods.contains(**method));
        wrong.extend(stale.map(|method| format!("{}: {method} is not there", builder.file)));
    }
    assert!(
        wrong.is_empty(),
        "neither a setting nor listed as none, or both:\n{}",
        wrong.join("\n")
    );
}
