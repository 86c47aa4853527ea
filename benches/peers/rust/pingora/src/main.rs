//! pingora's HTTP proxy with its round-robin load balancer.

use std::sync::Arc;

use async_trait::async_trait;
use peer_common::Arguments;
use pingora::{
    apps::HttpServerOptions,
    http::RequestHeader,
    lb::{LoadBalancer, selection::RoundRobin},
    prelude::{HttpPeer, Result},
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
};

struct Balanced {
    balancer: Arc<LoadBalancer<RoundRobin>>,
    /// What clients speak, for `X-Forwarded-Proto`.
    scheme: &'static str,
    /// Whether endpoints speak HTTP/2.
    h2c: bool,
}

#[async_trait]
impl ProxyHttp for Balanced {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let upstream = self.balancer.select(b"", 256).expect("there are upstreams");
        let mut peer = HttpPeer::new(upstream, false, String::new());
        if self.h2c {
            peer.options.set_http_version(2, 2);
        }
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        if let Some(client) = session.client_addr().and_then(|address| address.as_inet()) {
            request.insert_header("X-Forwarded-For", client.ip().to_string())?;
        }
        if let Some(host) = session.req_header().headers.get("Host") {
            request.insert_header("X-Forwarded-Host", host.clone())?;
        }
        request.insert_header("X-Forwarded-Proto", self.scheme)
    }
}

fn main() {
    let Arguments { listen, workers, upstreams, tls, h2c } = Arguments::parse();
    let conf = ServerConf {
        threads: workers,
        // One thread has none to steal from.
        work_stealing: workers > 1,
        // In all, not for each endpoint.
        upstream_keepalive_pool_size: 256 * upstreams.len(),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let balancer = Arc::new(LoadBalancer::try_from_iter(upstreams).expect("socket addresses"));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut proxy = http_proxy_service(&server.configuration, Balanced { balancer, scheme, h2c });
    // Clients may speak HTTP/2 by prior knowledge.
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    proxy.app_logic_mut().expect("it has not started").server_options = Some(options);
    match tls.as_ref().map(|folder| ["cert.pem", "key.pem"].map(|file| folder.join(file).display().to_string())) {
        Some([certificate, key]) => proxy.add_tls(&listen.to_string(), &certificate, &key).expect("both are there"),
        None => proxy.add_tcp(&listen.to_string()),
    }
    server.add_service(proxy);
    server.run_forever();
}
