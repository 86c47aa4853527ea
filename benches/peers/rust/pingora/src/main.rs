//! pingora's HTTP proxy with its round-robin load balancer.

use std::sync::Arc;

use async_trait::async_trait;
use peer_common::Arguments;
use pingora::{
    http::RequestHeader,
    lb::{LoadBalancer, selection::RoundRobin},
    prelude::{HttpPeer, Result},
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
};

struct Balanced(Arc<LoadBalancer<RoundRobin>>);

#[async_trait]
impl ProxyHttp for Balanced {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let upstream = self.0.select(b"", 256).expect("there are upstreams");
        Ok(Box::new(HttpPeer::new(upstream, false, String::new())))
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
        request.insert_header("X-Forwarded-Proto", "http")
    }
}

fn main() {
    let Arguments { listen, workers, upstreams } = Arguments::parse();
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
    let balancer = LoadBalancer::try_from_iter(upstreams).expect("socket addresses");
    let mut proxy = http_proxy_service(&server.configuration, Balanced(Arc::new(balancer)));
    proxy.add_tcp(&listen.to_string());
    server.add_service(proxy);
    server.run_forever();
}
