//! Clients that do not read their response.

use std::{convert::Infallible, time::Duration};

use axum::Router;
use axum_upstream::ReverseProxy;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::support::{Client, proxy, server, versions};

/// Sends when it is dropped.
struct Dropped(mpsc::UnboundedSender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

versions! {
    /// The idle timeout holds when it is the client that stands still, too: its endpoint is let go.
    async fn a_client_that_does_not_read_lets_its_endpoint_go(down, up) {
        let (tell, mut ended) = mpsc::unbounded_channel();
        let app = Router::new().fallback(move || {
            let endless = stream::repeat_with({
                let dropped = Dropped(tell.clone());
                move || {
                    let _held = &dropped;
                    Ok::<_, Infallible>(Bytes::from_static(&[0; 16 * 1024]))
                }
            });
            async move { axum::body::Body::from_stream(endless) }
        });
        let server = server::app(app).await;
        let proxy = ReverseProxy::to(&server.url_for(up)).unwrap();
        let proxy = proxy::serve(proxy.idle_timeout(Duration::from_millis(50))).await;
        let mut client = Client::connect(down, proxy.address).await;
        let response = client.get("/").await;
        assert_eq!(response.status(), 200);
        ended.recv().await.expect("the endpoint's body was dropped");
        drop(response);
    }
}
