//! Answers, and how they compare.

use std::sync::mpsc;

use futures_util::stream;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tower::{Layer, ServiceExt};

use super::{super::*, lengths::KnownLength, *};

/// Returns a service that answers with these frames.
fn frames(status: u16, grade: &'static str, parts: &'static [&'static str]) -> First {
    answering(move || {
        let fields = HeaderMap::from_iter([("x-trailer".parse().unwrap(), grade.parse().unwrap())]);
        let data = parts
            .iter()
            .map(|part| Ok::<_, BoxError>(Frame::data((*part).into())));
        let frames: Vec<_> = data.chain([Ok(Frame::trailers(fields))]).collect();
        let response = Response::builder()
            .status(status)
            .header("x-head", grade)
            .header("x-other", status);
        Ok(response
            .body(Body::new(StreamBody::new(stream::iter(frames))))
            .unwrap())
    })
}

/// Has a request answered by both, and returns the comparison.
async fn compared(fields: &[&'static str], first: First, second: First) -> Option<Comparison> {
    let (sender, compared) = mpsc::channel();
    let fields = fields.iter().map(|name| HeaderName::from_static(name));
    let layer = MirrorLayer::new(second)
        .answer_limit(8)
        .compare(fields, move |comparison| sender.send(comparison).unwrap());
    ask(&layer.layer(first), get()).await;
    let stats = settle(&layer.handle()).await;
    let comparison = compared.try_recv().ok();
    assert_eq!(stats.compared, u64::from(comparison.is_some()));
    comparison
}

#[tokio::test]
async fn answers_are_compared() {
    let one = || frames(200, "1", &["abc", "def"]);
    let other = || frames(200, "1", &["a", "bcd", "ef"]);
    for (fields, first, second, equal) in [
        (&["x-head", "x-trailer"][..], one(), other(), true),
        (&[], one(), frames(201, "1", &["abcdef"]), false),
        (&[], one(), frames(200, "1", &["abcdeg"]), false),
        (&[], one(), frames(200, "1", &["abcde"]), false),
        (&["x-head"], one(), frames(200, "2", &["abcdef"]), false),
        (&["x-trailer"], one(), frames(200, "2", &["abcdef"]), false),
        (&[], one(), frames(200, "2", &["abcdef"]), true),
        // Beyond the limit nothing is known.
        (
            &[],
            frames(200, "1", &["123456789"]),
            frames(200, "1", &["123456789"]),
            false,
        ),
        (&[], one(), answering(|| Err("down".into())), false),
    ] {
        let comparison = compared(fields, first, second).await.unwrap();
        assert_eq!(comparison.is_equal(), equal, "{comparison:?}");
        assert_eq!(
            (&comparison.method, comparison.uri.path()),
            (&Method::GET, "/x")
        );
        assert_eq!(comparison.first.fields.len(), fields.len());
    }
    let comparison = compared(&[], one(), answering(|| Err("down".into())))
        .await
        .unwrap();
    assert_eq!(comparison.first.status, StatusCode::OK);
    assert_eq!((comparison.first.bytes, comparison.second), (6, None));
}

/// Answers without a body are at their end before anything polls them.
#[tokio::test]
async fn empty_answers_are_compared() {
    let empty = || answering(|| Ok(Response::new(Body::empty())));
    assert!(compared(&[], empty(), empty()).await.unwrap().is_equal());
}

/// A server that has sent all of a declared length does not wait for the end of the stream.
#[tokio::test]
async fn an_answer_of_known_length_ends_with_its_data() {
    for text in ["ab", ""] {
        let (sender, compared) = mpsc::channel();
        let layer = MirrorLayer::new(answering(move || Ok(Response::new(text.into()))))
            .compare([], move |comparison| sender.send(comparison).unwrap());
        let known = answering(move || {
            let frames = stream::iter((!text.is_empty()).then(|| data(text)));
            let body = KnownLength(
                StreamBody::new(frames.chain(stream::pending())),
                text.len() as u64,
            );
            Ok(Response::new(Body::new(body)))
        });
        let response = layer.layer(known).oneshot(get()).await.unwrap();
        let mut body = response.into_body();
        if !text.is_empty() {
            assert_eq!(
                body.frame().await.unwrap().unwrap().into_data().unwrap(),
                text
            );
        }
        drop(body);
        assert_eq!(settle(&layer.handle()).await.compared, 1);
        assert!(compared.try_recv().unwrap().is_equal());
    }
}

#[tokio::test]
async fn without_a_whole_first_answer_nothing_is_compared() {
    let layer = MirrorLayer::new(ok()).compare([], |_| unreachable!());
    let failing = answering(|| Err("down".into()));
    assert!(layer.layer(failing).oneshot(get()).await.is_err());
    let broken = answering(|| {
        let frames = stream::iter([data("ab"), Err("broken".into())]);
        Ok(Response::new(Body::new(StreamBody::new(frames))))
    });
    let response = layer.layer(broken).oneshot(get()).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    // A client that leaves.
    drop(layer.layer(ok()).oneshot(get()).await.unwrap());
    let stats = settle(&layer.handle()).await;
    assert_eq!(
        (stats.answered, stats.compared, stats.not_compared),
        (3, 0, 3)
    );
}

/// An answer without end is cut off, and one that fails is counted.
#[tokio::test]
async fn answers_of_the_second_are_read_within_limits() {
    let endless = answering(|| {
        let frames = stream::repeat_with(|| data("12345678"));
        Ok(Response::new(Body::new(StreamBody::new(frames))))
    });
    let layer = MirrorLayer::new(endless).answer_limit(100);
    ask(&layer.layer(ok()), get()).await;
    assert_eq!(settle(&layer.handle()).await.answered, 1);
    let failing = answering(|| {
        let frames = stream::iter([data("ab"), Err("broken".into())]);
        Ok(Response::new(Body::new(StreamBody::new(frames))))
    });
    let layer = MirrorLayer::new(failing);
    assert_eq!(ask(&layer.layer(ok()), get()).await, "first");
    let stats = settle(&layer.handle()).await;
    assert_eq!((stats.answered, stats.failed), (0, 1));
}

/// A hook that panics ends its task, and no other.
#[tokio::test]
async fn a_hook_that_panics_harms_no_request() {
    let layer = MirrorLayer::new(ok()).compare([], |_| panic!("on purpose"));
    let mirror = layer.layer(ok());
    for _ in 0..3 {
        assert_eq!(ask(&mirror, get()).await, "first");
        settle(&layer.handle()).await;
    }
    assert_eq!(layer.handle().stats().compared, 3);
}
