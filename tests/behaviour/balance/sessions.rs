//! Sticky sessions.

use axum_upstream::{Body, EndpointSpec, policy::Sticky};
use http::{HeaderMap, Request, Response};
use tower::{ServiceExt, service_fn};

use super::Reply;

/// The fields of an answer that the endpoint sent with this `Cache-Control`, to a client with this cookie.
async fn answer(cache_control: &'static [&'static str], cookie: Option<&str>) -> HeaderMap {
    let service = service_fn(move |_: Request<Body>| async move {
        let mut response = Response::new(Body::empty());
        for value in cache_control {
            let value = http::HeaderValue::from_static(value);
            response.headers_mut().append("cache-control", value);
        }
        Reply::Ok(response)
    });
    let sticky = Sticky::cookie("backend").unwrap().key([1; 16]);
    let builder = axum_upstream::LoadBalance::builder().policy(sticky);
    let spec = EndpointSpec::new("a", service);
    let balance = builder.endpoints([spec]).unwrap();
    let mut request = super::request();
    if let Some(cookie) = cookie {
        let cookie = cookie.parse().unwrap();
        request.headers_mut().insert("cookie", cookie);
    }
    balance.oneshot(request).await.unwrap().headers().clone()
}

fn cache_control(fields: &HeaderMap) -> Vec<&str> {
    let values = fields.get_all("cache-control").into_iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

/// RFC 9111 7.3: a cache may give a `Set-Cookie` to others, and all of them would go to one endpoint.
#[tokio::test(start_paused = true)]
async fn a_cookie_is_for_no_shared_cache() {
    for (sent, received) in [
        (&[][..], &["private"][..]),
        (&["max-age=60"], &["max-age=60", "private"]),
        (&["public, s-maxage=60"], &["public, s-maxage=60", "private"]),
        (&["no-cache"], &["no-cache", "private"]),
        (&["private=\"x-field, private\""], &["private=\"x-field, private\"", "private"]),
        // It is so already.
        (&["max-age=60, Private"], &["max-age=60, Private"]),
        (&["max-age=60", "no-store"], &["max-age=60", "no-store"]),
    ] {
        let fields = answer(sent, None).await;
        assert!(fields.contains_key("set-cookie"));
        assert_eq!(cache_control(&fields), received);
    }
}

/// A client that has its cookie gets answers that anybody may keep.
#[tokio::test(start_paused = true)]
async fn an_answer_without_a_cookie_is_as_it_was() {
    let first = answer(&["public"], None).await;
    let cookie = first["set-cookie"].to_str().unwrap().split(';').next();
    let fields = answer(&["public"], cookie).await;
    assert!(!fields.contains_key("set-cookie"));
    assert_eq!(cache_control(&fields), ["public"]);
}
