//! What the peers have in common: the arguments, the runtime, and the gateway's allocator.

use std::{env, future::Future, net::SocketAddr, path::PathBuf};

use tokio::runtime::Builder;

/// The gateway has this one too: with the system's, its peers would be measured with a handicap.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `[--tls FOLDER] [--h2c] LISTEN WORKERS UPSTREAM...`, where LISTEN and UPSTREAM are socket addresses.
pub struct Arguments {
    pub listen: SocketAddr,
    pub workers: usize,
    pub upstreams: Vec<SocketAddr>,
    /// Where `cert.pem` and `key.pem` are, if clients speak TLS.
    pub tls: Option<PathBuf>,
    /// Whether endpoints speak HTTP/2, by prior knowledge.
    pub h2c: bool,
}

impl Arguments {
    /// Ends the program if they are wrong.
    pub fn parse() -> Self {
        let mut words = env::args().skip(1).peekable();
        let tls = words.next_if_eq("--tls").map(|_| words.next().expect("FOLDER is missing").into());
        let h2c = words.next_if_eq("--h2c").is_some();
        let mut next = |what| words.next().unwrap_or_else(|| panic!("{what} is missing"));
        let listen = next("LISTEN").parse().expect("LISTEN is a socket address");
        let workers = next("WORKERS").parse().expect("WORKERS is a number");
        let upstreams = words.map(|word| word.parse().expect("UPSTREAM is a socket address"));
        Self { listen, workers, upstreams: upstreams.collect(), tls, h2c }
    }
}

/// Runs on as many threads as asked for; one has no other to share with, as in the gateway.
pub fn block_on(workers: usize, main: impl Future<Output = ()>) {
    let mut builder = match workers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(workers).enable_all().build().expect("a runtime").block_on(main);
}
