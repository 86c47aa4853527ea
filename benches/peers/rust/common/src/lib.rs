//! What the peers have in common: the arguments, the runtime, and the gateway's allocator.

use std::{env, future::Future, net::SocketAddr};

use tokio::runtime::Builder;

/// The gateway has this one too: with the system's, its peers would be measured with a handicap.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `LISTEN WORKERS UPSTREAM...`, where all but WORKERS are socket addresses.
pub struct Arguments {
    pub listen: SocketAddr,
    pub workers: usize,
    pub upstreams: Vec<SocketAddr>,
}

impl Arguments {
    /// Ends the program if they are wrong.
    pub fn parse() -> Self {
        let mut words = env::args().skip(1);
        let mut next = |what| words.next().unwrap_or_else(|| panic!("{what} is missing"));
        let listen = next("LISTEN").parse().expect("LISTEN is a socket address");
        let workers = next("WORKERS").parse().expect("WORKERS is a number");
        let upstreams = words.map(|word| word.parse().expect("UPSTREAM is a socket address"));
        Self { listen, workers, upstreams: upstreams.collect() }
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
