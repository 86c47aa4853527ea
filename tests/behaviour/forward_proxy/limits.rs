//! How many tunnels there may be, how long they last, and what they carry.

use std::time::Duration;

use axum_upstream::{ForwardProxy, upstream::Client};
use http::StatusCode;
use tower::service_fn;

use super::{Tunnel, both_versions, connect_head, echo, local, serve};
use crate::support::{Conn, Http, eventually, within};

both_versions! {
    /// A tunnel beyond the limit of its client is refused, until one of the others has ended.
    async fn a_client_has_a_number_of_tunnels(http) {
        let target = echo("").await;
        let proxy = serve(ForwardProxy::new(local()).max_tunnels_per_client(2)).await;
        let mut first = Tunnel::open(http, &proxy, target.address).await.unwrap();
        let _second = Tunnel::open(http, &proxy, target.address).await.unwrap();
        let refused = Tunnel::open(http, &proxy, target.address).await.err();
        assert_eq!(refused, Some(StatusCode::TOO_MANY_REQUESTS));
        first.finish().await;
        assert_eq!(first.rest().await, b"bye");
        // The task of the tunnel ends a moment after its bytes have arrived.
        while Tunnel::open(http, &proxy, target.address).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

/// A client that leaves before it is connected has no tunnel.
#[tokio::test]
async fn a_client_that_leaves_early_leaves_nothing() {
    within(async {
        let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
        // Told of each question, answers none.
        let resolver = service_fn(move |_: String| {
            let guard = asked.clone();
            async move {
                let (ended, end) = tokio::sync::oneshot::channel::<()>();
                let _ = guard.send(end);
                std::future::pending::<()>().await;
                drop(ended);
                Ok::<_, std::io::Error>([])
            }
        });
        let client = Client::builder().resolver(resolver);
        let proxy = ForwardProxy::with_client(local(), client)
            .unwrap()
            .max_tunnels_per_client(1);
        let proxy = serve(proxy).await;
        for _ in 0..2 {
            let mut client = Conn::connect(proxy.address).await;
            client.send(connect_head("a.example:443")).await;
            let end = questions.recv().await.unwrap();
            client.abort();
            // The question was dropped, and the tunnel counts no more.
            assert!(end.await.is_err());
        }
    })
    .await;
}

#[tokio::test]
async fn an_idle_tunnel_ends() {
    for http in [Http::One, Http::Two] {
        let target = echo("").await;
        let proxy = ForwardProxy::new(local()).tunnel_idle_timeout(Duration::from_secs(5));
        let proxy = serve(proxy).await;
        let mut tunnel = Tunnel::open(http, &proxy, target.address).await.unwrap();
        tunnel.send("x").await;
        assert_eq!(tunnel.take(1).await, b"x");
        // From here on the clock moves by hand, or to the next timer when nothing else can happen.
        tokio::time::pause();
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(3)).await;
            tunnel.send("a").await;
            assert_eq!(tunnel.take(1).await, b"a");
        }
        assert!(tunnel.rest().await.is_empty());
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_tunnel_ends_after_its_total_timeout_however_busy_it_is() {
    for http in [Http::One, Http::Two] {
        let target = echo("").await;
        let proxy = ForwardProxy::new(local()).tunnel_total_timeout(Duration::from_secs(8));
        let proxy = serve(proxy).await;
        let mut tunnel = Tunnel::open(http, &proxy, target.address).await.unwrap();
        tunnel.send("x").await;
        assert_eq!(tunnel.take(1).await, b"x");
        tokio::time::pause();
        for _ in 0..2 {
            tokio::time::advance(Duration::from_secs(3)).await;
            tunnel.send("a").await;
            assert_eq!(tunnel.take(1).await, b"a");
        }
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(tunnel.rest().await.is_empty());
        tokio::time::resume();
    }
}

both_versions! {
    /// The bytes of both directions count; those up to the limit arrive.
    async fn a_tunnel_carries_a_number_of_bytes(http) {
        let target = echo("hello").await;
        let proxy = serve(ForwardProxy::new(local()).tunnel_byte_limit(9)).await;
        let mut tunnel = Tunnel::open(http, &proxy, target.address).await.unwrap();
        assert_eq!(tunnel.take(5).await, b"hello");
        tunnel.send("ab").await;
        assert_eq!(tunnel.take(2).await, b"ab");
        tunnel.send("c").await;
        assert!(tunnel.rest().await.is_empty());
    }
}

/// The last place is free again when its tunnel has failed to open.
#[tokio::test]
async fn a_tunnel_that_failed_does_not_count() {
    within(async {
        let refusing = crate::support::server::refusing();
        let target = echo("").await;
        let proxy = serve(ForwardProxy::new(local()).max_tunnels_per_client(1)).await;
        for _ in 0..3 {
            let refused = Tunnel::open(Http::Two, &proxy, refusing.address)
                .await
                .err();
            assert_eq!(refused, Some(StatusCode::BAD_GATEWAY));
        }
        assert!(
            Tunnel::open(Http::Two, &proxy, target.address)
                .await
                .is_ok()
        );
    })
    .await;
}

/// The connections to a target that was not asked for lately are closed for those to another one.
#[tokio::test]
async fn connections_are_kept_to_a_number_of_targets() {
    use crate::support::counted;
    within(async {
        let (one, first) = counted::http1(usize::MAX).await;
        let (two, second) = counted::http1(usize::MAX).await;
        let proxy = serve(ForwardProxy::new(local()).max_targets(1)).await;
        let mut client = Conn::connect(proxy.address).await;
        let mut get = async |address: std::net::SocketAddr| {
            client
                .send(format!("GET http://{address}/ HTTP/1.1\r\nHost: a\r\n\r\n"))
                .await;
            assert_eq!(client.response().await.unwrap().text(), "ok");
        };
        get(one.address).await;
        get(one.address).await;
        assert_eq!((first.made(), first.open()), (1, 1));
        get(two.address).await;
        eventually(|| first.open() == 0).await;
        assert_eq!(second.open(), 1);
    })
    .await;
}
