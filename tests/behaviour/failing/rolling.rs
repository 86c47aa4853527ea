//! A rolling restart of all servers of a cluster, under load.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use axum_upstream::LoadBalance;
use tokio::{net::TcpListener, task::JoinSet};

use super::trial::{Trial, answer_from, get, skip};
use crate::support::{Conn, eventually, proxy::OK, within};

/// A server that can be stopped, and started again on the same port.
struct Restarted {
    address: SocketAddr,
    served: Arc<AtomicUsize>,
    running: JoinSet<()>,
}

impl Restarted {
    async fn new() -> Self {
        let socket = socket();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let mut server = Self {
            address,
            served: Arc::default(),
            running: JoinSet::new(),
        };
        server.serve(socket.listen(64).unwrap());
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let served = self.served.clone();
        self.running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                connections.spawn(async move {
                    let mut conn = Conn::new(stream);
                    while conn.request().await.is_some() {
                        // Others get their turn, so that requests are in flight when it is stopped.
                        tokio::task::yield_now().await;
                        if !conn.try_send(OK).await {
                            return;
                        }
                        served.fetch_add(1, SeqCst);
                    }
                });
            }
        });
    }

    /// Stops the server at once: its port refuses, and connections break, whatever is in flight on them.
    async fn stop(&mut self) {
        self.running.shutdown().await;
    }

    fn start(&mut self) {
        let socket = socket();
        socket.bind(self.address).unwrap();
        self.serve(socket.listen(64).unwrap());
    }

    fn served(&self) -> usize {
        self.served.load(SeqCst)
    }
}

/// A socket whose port can be bound again while connections of the server before are being closed.
fn socket() -> tokio::net::TcpSocket {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket
}

/// Four servers are stopped and started one after the other, without a word to the proxy, while eight clients send one
/// GET after the other. None of them fails, and each server gets requests again.
#[tokio::test]
async fn a_rolling_restart_costs_no_get() {
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(Restarted::new().await);
    }
    let urls: Vec<_> = servers
        .iter()
        .map(|server| format!("http://{}", server.address))
        .collect();
    let trial = Trial::new(LoadBalance::builder().seed(1), &urls).await;
    let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (address, is_over) = (trial.proxy.address, is_over.clone());
        let answered: Arc<AtomicUsize> = Arc::clone(&answered);
        clients.spawn(async move {
            while !is_over.load(SeqCst) {
                let (status, _, body, is_whole) = answer_from(address, get()).await;
                assert_eq!((status, body.as_str(), is_whole), (200, "ok", true));
                answered.fetch_add(1, SeqCst);
            }
        });
    }
    let more = async |requests: usize| {
        let before = answered.load(SeqCst);
        eventually(|| answered.load(SeqCst) >= before + requests).await;
    };
    more(40).await;
    for server in &mut servers {
        server.stop().await;
        more(40).await;
        server.start();
        let before = server.served();
        // The back-off passes, and a request finds that it is there again. The budget is that of another second.
        let mut seconds = 0;
        while server.served() == before {
            skip(std::time::Duration::from_secs(1)).await;
            more(16).await;
            seconds += 1;
            assert!(seconds < 20, "it gets requests again");
        }
    }
    is_over.store(true, SeqCst);
    within(async {
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
    })
    .await;
    assert!(answered.load(SeqCst) >= 40 + 4 * (40 + 16));
}
