//! Checks by the gRPC health protocol, with a real gRPC server.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use axum_upstream::{EndpointSpec, HealthCheck, LoadBalance};
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use tonic::{
    Request, Response, Status,
    server::{Grpc, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower::Service;

use super::{checked, often, opened, shut};
use crate::support::{Http, server, within};

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;
const SERVICE_UNKNOWN: i32 = 3;

type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;
type States = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

/// `grpc.health.v1.Health` for the service `shop.Cart`, whose state the test sets.
#[derive(Clone)]
struct Health {
    state: watch::Sender<i32>,
    has_watch: bool,
}

impl Health {
    fn new(state: i32, has_watch: bool) -> Self {
        let state = watch::Sender::new(state);
        Self { state, has_watch }
    }

    async fn serve(&self) -> server::Server {
        let path = "/grpc.health.v1.Health/{method}";
        server::app(Router::new().route_service(path, self.clone())).await
    }
}

struct Check(Health);

impl UnaryService<HealthCheckRequest> for Check {
    type Response = HealthCheckResponse;
    type Future = Answer<HealthCheckResponse>;

    fn call(&mut self, request: Request<HealthCheckRequest>) -> Self::Future {
        let status = *self.0.state.borrow();
        Box::pin(async move {
            match request.into_inner().service.as_str() {
                "shop.Cart" => Ok(Response::new(HealthCheckResponse { status })),
                other => Err(Status::not_found(other)),
            }
        })
    }
}

struct Watch(Health);

impl ServerStreamingService<HealthCheckRequest> for Watch {
    type Response = HealthCheckResponse;
    type ResponseStream = States;
    type Future = Answer<States>;

    fn call(&mut self, request: Request<HealthCheckRequest>) -> Self::Future {
        let states = WatchStream::new(self.0.state.subscribe());
        Box::pin(async move {
            let known = request.into_inner().service == "shop.Cart";
            let states = states.map(move |status| {
                let status = if known { status } else { SERVICE_UNKNOWN };
                Ok(HealthCheckResponse { status })
            });
            Ok(Response::new(Box::pin(states) as States))
        })
    }
}

impl Service<http::Request<axum::body::Body>> for Health {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<axum::body::Body>) -> Self::Future {
        let health = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<HealthCheckResponse, HealthCheckRequest>::default();
            let mut grpc = Grpc::new(codec);
            Ok(match request.uri().path() {
                "/grpc.health.v1.Health/Check" => grpc.unary(Check(health), request).await,
                "/grpc.health.v1.Health/Watch" if health.has_watch => {
                    grpc.server_streaming(Watch(health), request).await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

fn grpc(service: &str) -> HealthCheck {
    HealthCheck::grpc(service).unwrap().required_before_use()
}

/// Many servers have no `Watch`.
#[tokio::test]
async fn check_follows_the_state() {
    within(async {
        let health = Health::new(SERVING, false);
        let server = health.serve().await;
        let balance = checked(often(grpc("shop.Cart")), [server.url_for(Http::Two)]);
        opened(&balance).await;
        health.state.send_replace(NOT_SERVING);
        shut(&balance).await;
        health.state.send_replace(SERVING);
        opened(&balance).await;
    })
    .await;
}

/// There is one check in thirty years: only `Watch` can have reported what follows. Thresholds are for checks.
#[tokio::test]
async fn watch_reports_at_once() {
    within(async {
        let health = Health::new(SERVING, true);
        let server = health.serve().await;
        let once = grpc("shop.Cart").interval(Duration::MAX).unwrap();
        let once = once.unhealthy_after(10).unwrap().healthy_after(10).unwrap();
        let balance = checked(once, [server.url_for(Http::Two)]);
        opened(&balance).await;
        for _ in 0..3 {
            health.state.send_replace(NOT_SERVING);
            shut(&balance).await;
            health.state.send_replace(SERVING);
            opened(&balance).await;
        }
        drop(balance);
        health.state.closed().await;
    })
    .await;
}

/// `Check` says NOT_FOUND, `Watch` SERVICE_UNKNOWN.
#[tokio::test]
async fn an_unknown_service_fails() {
    within(async {
        for has_watch in [false, true] {
            let server = Health::new(SERVING, has_watch).serve().await;
            let check = often(HealthCheck::grpc("shop.Basket").unwrap());
            shut(&checked(check, [server.url_for(Http::Two)])).await;
        }
    })
    .await;
}

/// A server of gRPC without the health service, and one that knows no gRPC at all.
#[tokio::test]
async fn a_server_without_the_protocol_fails() {
    within(async {
        let other = Router::new()
            .fallback(|| async { Status::unimplemented("").into_http::<tonic::body::Body>() });
        let plain = Router::new().fallback(|| async { "hello" });
        for app in [other, plain] {
            let server = server::app(app).await;
            let check = often(HealthCheck::grpc("").unwrap());
            shut(&checked(check, [server.url_for(Http::Two)])).await;
        }
    })
    .await;
}

/// An endpoint in this process is checked like any other.
#[tokio::test]
async fn a_service_in_this_process_is_checked() {
    within(async {
        let health = Health::new(SERVING, true);
        let path = "/grpc.health.v1.Health/{method}";
        let router = Router::new().route_service(path, health.clone());
        let balance = LoadBalance::builder()
            .health_check(grpc("shop.Cart"))
            .endpoints([EndpointSpec::new("in-process", router).boxed()])
            .unwrap();
        opened(&balance).await;
        health.state.send_replace(NOT_SERVING);
        shut(&balance).await;
    })
    .await;
}
