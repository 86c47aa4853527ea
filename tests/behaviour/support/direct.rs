//! Requests to one endpoint through an `upstream::Client`, with no proxy in front.

use axum_upstream::{Body, upstream::Client};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

pub fn get() -> Request<Body> {
    Request::get("/").body(Body::empty()).unwrap()
}

pub fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("/").body(body.into()).unwrap()
}

/// Sends the request and reads the whole answer.
pub async fn send(client: &Client, request: Request<Body>) -> StatusCode {
    let response = client.clone().oneshot(request).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status
}
