//! How a connection is made.

use std::sync::{Arc, Mutex};

use axum::{Router, extract::Request as AxumRequest};
use axum_upstream::upstream::Client;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tower::{ServiceExt, service_fn};

use crate::support::{
    Conn, counted,
    direct::{get, send},
    proxy, tls, within,
};

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_are_endpoints() {
    within(async {
        let path = std::env::temp_dir().join(format!("axum-upstream-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let app = Router::new().fallback(|request: AxumRequest| async move {
            format!("{} {:?}", request.uri(), request.headers()["host"])
        });
        let served = tokio::spawn(async move { axum::serve(listener, app).await });
        let url = format!("unix:{}", path.display());
        let proxy = proxy::balanced([&url]).await;
        let mut client = Conn::connect(proxy.address).await;
        for _ in 0..2 {
            client.send("GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(
                client.response().await.unwrap().text(),
                "/a?b \"localhost\""
            );
        }
        served.abort();
        let _ = std::fs::remove_file(&path);
        let gone = Client::new(&url).unwrap().oneshot(get()).await;
        assert!(gone.is_err());
        assert!(Client::new("unix:run/app.sock").unwrap_err().is_config());
    })
    .await;
}

/// A connector of one's own: it is asked for the endpoint's address, and its streams are pooled like any.
#[tokio::test]
async fn connectors_can_be_ones_own() {
    within(async {
        let (server, count) = counted::http1(usize::MAX).await;
        let address = server.address;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = asked.clone();
        let connector = service_fn(move |uri: http::Uri| {
            record.lock().unwrap().push(uri.to_string());
            async move {
                tokio::net::TcpStream::connect(address)
                    .await
                    .map(TokioIo::new)
            }
        });
        let client = Client::builder()
            .connector(connector)
            .build("http://far.away.test:81/base")
            .unwrap();
        for _ in 0..3 {
            assert_eq!(send(&client, get()).await, 200);
        }
        assert_eq!(*asked.lock().unwrap(), ["http://far.away.test:81/"]);
        assert_eq!(count.made(), 1);
    })
    .await;
}

/// Many first requests over TLS to an endpoint of HTTP/1.1 shake hands side by side.
#[tokio::test]
async fn first_handshakes_do_not_wait_for_each_other() {
    within(async {
        let authority = tls::Authority::new();
        let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
        let (go, went) = watch::channel(false);
        let app = Router::new().fallback(move || {
            let (arrived, mut went) = (arrived.clone(), went.clone());
            async move {
                let _ = arrived.send(());
                drop(went.wait_for(|went| *went).await);
            }
        });
        let identity = authority.issue(&["localhost"], |_| ());
        let server = tls::app(app, identity.server(), &["http/1.1"]).await;
        let url = format!("https://localhost:{}", server.address.port());
        let client = Client::builder()
            .tls(authority.client())
            .build(&url)
            .unwrap();
        let all = (0..20).map(|_| send(&client, get()));
        let release = async {
            // All twenty are there at once, though none is answered.
            for _ in 0..20 {
                arrivals.recv().await.unwrap();
            }
            go.send(true).unwrap();
        };
        let (statuses, ()) = tokio::join!(futures_util::future::join_all(all), release);
        assert!(statuses.iter().all(|status| *status == 200));
    })
    .await;
}
