//! What each path gives.

use std::{array, convert::Infallible};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CONTENT_TYPE, HeaderName, HeaderValue, UPGRADE},
};

use crate::websocket;

static LARGEST: [u8; 1 << 20] = [b'x'; 1 << 20];

type Frames = array::IntoIter<Result<Frame<Bytes>, Infallible>, 2>;
type Body = Either<Full<Bytes>, StreamBody<stream::Iter<Frames>>>;

pub async fn answer(request: Request<Incoming>, port: u16) -> Result<Response<Body>, Infallible> {
    if request.headers().contains_key(UPGRADE) {
        return Ok(websocket::accept(request).map(Either::Left));
    }
    let length = match request.uri().path() {
        "/100" => 100,
        "/10k" => 10 << 10,
        "/1m" => 1 << 20,
        "/post" => 3,
        "/seen" => return Ok(seen(&request, port)),
        "/grpc.Echo/Unary" => return Ok(unary(request).await),
        _ => return Ok(status(StatusCode::NOT_FOUND)),
    };
    if request.into_body().collect().await.is_err() {
        return Ok(status(StatusCode::BAD_REQUEST));
    }
    Ok(Response::new(Either::Left(Full::new(Bytes::from_static(&LARGEST[..length])))))
}

/// Which endpoint it was, and what it was told about the client.
fn seen(request: &Request<Incoming>, port: u16) -> Response<Body> {
    let client = request.headers().get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let line = format!("{port} {}", client.unwrap_or_default());
    Response::new(Either::Left(Full::new(line.into())))
}

/// A gRPC method that gives its message back, without a length, as gRPC's servers do.
async fn unary(request: Request<Incoming>) -> Response<Body> {
    let Ok(message) = request.into_body().collect().await else {
        return status(StatusCode::BAD_REQUEST);
    };
    let ok = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let frames = [Ok(Frame::data(message.to_bytes())), Ok(Frame::trailers(ok))];
    let mut response = Response::new(Either::Right(StreamBody::new(stream::iter(frames))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}
