//! Requests that change an endpoint: drain, restore, weight.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{feed::Feed, source::StatusSource};

/// The field that such a request must have.
///
/// A page of another site can have a browser send a `POST` with the credentials of the person who is logged in, but no
/// field of its own, unless the server allows it (the CORS protocol of the Fetch standard).
const FIELD: &str = "x-axum-upstream-action";

/// The largest weight that is accepted: more is a mistake.
const MOST: u32 = 1_000_000;

/// The body of a request for another weight.
#[derive(Deserialize)]
struct NewWeight {
    weight: u32,
}

/// Lets an endpoint have no new requests.
pub(super) async fn drain(
    State(feed): State<Arc<Feed>>,
    Path((cluster, endpoint)): Path<(String, String)>,
    fields: HeaderMap,
) -> Response {
    act(&feed, &cluster, &fields, |cluster| cluster.drain(&endpoint))
}

/// Gives an endpoint its weight back.
pub(super) async fn restore(
    State(feed): State<Arc<Feed>>,
    Path((cluster, endpoint)): Path<(String, String)>,
    fields: HeaderMap,
) -> Response {
    act(&feed, &cluster, &fields, |cluster| {
        cluster.restore(&endpoint)
    })
}

/// Gives an endpoint another weight.
pub(super) async fn weight(
    State(feed): State<Arc<Feed>>,
    Path((cluster, endpoint)): Path<(String, String)>,
    fields: HeaderMap,
    body: Bytes,
) -> Response {
    match serde_json::from_slice(&body) {
        Ok(NewWeight { weight }) if weight <= MOST => act(&feed, &cluster, &fields, |cluster| {
            cluster.set_weight(&endpoint, weight)
        }),
        Ok(_) => (
            StatusCode::BAD_REQUEST,
            format!("the weight is more than {MOST}"),
        )
            .into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// Changes an endpoint of a cluster, unless a page of another site may have asked for it. `change` returns false if
/// there is no such endpoint.
fn act(
    feed: &Feed,
    cluster: &str,
    fields: &HeaderMap,
    change: impl FnOnce(&StatusSource) -> bool,
) -> Response {
    if fields.get(FIELD).is_none_or(|value| value != "1") {
        let needed = format!("the field {FIELD}: 1 is missing");
        return (StatusCode::FORBIDDEN, needed).into_response();
    }
    let Some(cluster) = feed.cluster(Some(cluster)) else {
        return (StatusCode::NOT_FOUND, "no such cluster").into_response();
    };
    let changed = change(&cluster);
    feed.renew();
    match changed {
        true => StatusCode::NO_CONTENT.into_response(),
        false => (StatusCode::NOT_FOUND, "no such endpoint").into_response(),
    }
}
