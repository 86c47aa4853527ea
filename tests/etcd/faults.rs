//! A server that speaks of etcd's protocol what the test says, or none.

use std::{
    future::IntoFuture,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use axum_upstream::discover::Etcd;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::StreamExt;

use super::{
    follow,
    messages::{Page, Pair, Revision, Watched},
    support::{becomes, failing, fails, names},
};

/// A part of an answer.
#[derive(Clone)]
enum Part {
    Bytes(Vec<u8>),
    /// The trailers, with this status.
    End(&'static str),
    /// Nothing, for ever.
    Silence,
}

/// What answers: the method, and how many times it was called before.
type Script = dyn Fn(&str, usize) -> Response + Send + Sync;

struct FakeEtcd {
    url: String,
    script: Arc<Mutex<Arc<Script>>>,
    lists: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl FakeEtcd {
    async fn start(script: impl Fn(&str, usize) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script: Arc<Mutex<Arc<Script>>> = Arc::new(Mutex::new(Arc::new(script)));
        let (lists, watches) = (Arc::<AtomicUsize>::default(), AtomicUsize::new(0));
        let (current, listed, watches) = (script.clone(), lists.clone(), Arc::new(watches));
        let app = Router::new().fallback(move |request: Request| {
            let (current, listed, watches) = (current.clone(), listed.clone(), watches.clone());
            async move {
                let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
                let calls = if method == "Watch" { watches } else { listed };
                let nth = calls.fetch_add(1, Relaxed);
                let script = current.lock().unwrap().clone();
                script(&method, nth)
            }
        });
        let mut server = JoinSet::new();
        server.spawn(async move {
            let _ = axum::serve(listener, app).into_future().await;
        });
        Self {
            url,
            script,
            lists,
            _server: server,
        }
    }

    /// Answers as this says from now on.
    fn becomes(&self, script: impl Fn(&str, usize) -> Response + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    fn prefix(&self) -> Etcd {
        Etcd::prefix(&format!("{}/services/api/", self.url)).unwrap()
    }
}

fn framed(message: &impl Message) -> Part {
    let message = message.encode_to_vec();
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.extend_from_slice(&message);
    Part::Bytes(framed.to_vec())
}

/// An answer in gRPC.
fn grpc(parts: impl IntoIterator<Item = Part>) -> Response {
    let mut silence = false;
    let mut frames = Vec::new();
    for part in parts {
        match part {
            Part::Bytes(bytes) => frames.push(Frame::data(Bytes::from(bytes))),
            Part::End(status) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", status.parse().unwrap());
                trailers.insert("grpc-message", "etcdserver: so it is".parse().unwrap());
                frames.push(Frame::trailers(trailers));
            }
            Part::Silence => silence = true,
        }
    }
    let frames = tokio_stream::iter(frames.into_iter().map(Ok::<_, std::io::Error>));
    let body = match silence {
        true => Body::new(StreamBody::new(frames.chain(tokio_stream::pending()))),
        false => Body::new(StreamBody::new(frames)),
    };
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(body).unwrap()
}

/// A list with one endpoint.
fn list(url: &str) -> Response {
    grpc([framed(&page(url)), Part::End("0")])
}

/// The only page of a list.
fn page(url: &str) -> Page {
    Page {
        header: Some(Revision { revision: 5 }),
        keys: vec![Pair {
            key: b"/services/api/1".to_vec(),
            value: url.into(),
        }],
        more: false,
    }
}

/// A watch that has begun, and goes on with this.
fn watch(parts: impl IntoIterator<Item = Part>) -> Response {
    let created = Watched {
        created: true,
        ..Watched::default()
    };
    grpc([framed(&created)].into_iter().chain(parts))
}

/// As it should be: one endpoint, and no changes.
fn good(url: &'static str) -> impl Fn(&str, usize) -> Response + Send + Sync + 'static {
    move |method, _| match method {
        "Watch" => watch([Part::Silence]),
        _ => list(url),
    }
}

/// If the changes since the list were compacted, the keys are listed again at once.
#[tokio::test]
async fn what_was_compacted_is_listed_again() {
    let fake = FakeEtcd::start(|method, nth| match (method, nth) {
        ("Watch", 0) => watch([framed(&Watched {
            canceled: true,
            compact_revision: 9,
            ..Watched::default()
        })]),
        ("Watch", _) => watch([Part::Silence]),
        (_, 0) => list("http://a"),
        _ => list("http://b"),
    })
    .await;
    let balance = follow(fake.prefix());
    becomes(&balance, &["http://b"]).await;
    assert_eq!(failing(&balance), None);
    assert_eq!(fake.lists.load(Relaxed), 2);
}

/// A server that compacts each watch as soon as it has begun is in error, and not asked all the time.
#[tokio::test]
async fn what_is_always_compacted_is_an_error() {
    let compacted = Watched {
        canceled: true,
        compact_revision: 9,
        ..Watched::default()
    };
    let fake = FakeEtcd::start(move |method, _| match method {
        "Watch" => watch([framed(&compacted)]),
        _ => list("http://a"),
    })
    .await;
    let balance = follow(fake.prefix());
    fails(&balance, "compacted as soon as it had begun").await;
    assert_eq!(names(&balance), ["http://a"]);
    assert_eq!(fake.lists.load(Relaxed), 2);
    fake.becomes(good("http://b"));
    becomes(&balance, &["http://b"]).await;
}

/// Times of zero are the shortest that are of use.
#[tokio::test]
async fn times_may_be_zero() {
    let fake = FakeEtcd::start(good("http://a")).await;
    let source = fake.prefix().timeout(Duration::ZERO);
    let balance = follow(source.heartbeat(Duration::ZERO));
    becomes(&balance, &["http://a"]).await;
    // The fake one does not answer to questions.
    fails(&balance, "silent for 200ms").await;
    assert!(fake.lists.load(Relaxed) < 10);
}

/// Whatever a server answers instead of a list, it is an error that says so, and followed by the list when that comes.
#[tokio::test]
async fn what_is_no_list_is_an_error() {
    let html = || {
        let response = Response::builder().header("content-type", "text/html");
        response.body(Body::from("<html>")).unwrap()
    };
    let of = |change: fn(&mut Page)| {
        let mut page = page("http://a");
        change(&mut page);
        move || grpc([framed(&page), Part::End("0")])
    };
    let unavailable = || {
        let response = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
        response.body(Body::empty()).unwrap()
    };
    let bytes = |bytes: &[u8]| Part::Bytes(bytes.to_vec());
    type Answer = Box<dyn Fn() -> Response + Send + Sync>;
    let cases: Vec<(Answer, &str)> = vec![
        (Box::new(html), "another content type"),
        (Box::new(unavailable), "503"),
        (
            Box::new(|| grpc([Part::End("14")])),
            "status 14: etcdserver: so it is",
        ),
        (Box::new(|| grpc([Part::End("0")])), "no message"),
        (Box::new(|| grpc([])), "status 2"),
        (
            Box::new(move || grpc([bytes(b"\0\0\0\0\x02\x12\x09"), Part::End("0")])),
            "malformed",
        ),
        (
            Box::new(move || grpc([bytes(b"\0\0\0\0\x09\x12"), Part::End("0")])),
            "cut off",
        ),
        (
            Box::new(move || grpc([bytes(b"\x01\0\0\0\0")])),
            "compressed",
        ),
        (Box::new(move || grpc([bytes(b"\0\xff\0\0\0")])), "too long"),
        (Box::new(|| grpc([Part::Silence])), "no answer within"),
        // Pages of a list that would have no end.
        (Box::new(of(|page| page.more = true)), "not asked for"),
        (
            Box::new(of(|page| (page.more, page.keys) = (true, Vec::new()))),
            "an empty page",
        ),
        (
            Box::new(of(|page| page.keys[0].key = b"/services".to_vec())),
            "not asked for",
        ),
        (
            Box::new(of(|page| page.header = None)),
            "without a valid revision",
        ),
        (
            Box::new(of(|page| page.header = Some(Revision { revision: -1 }))),
            "without a valid revision",
        ),
    ];
    let mut tests = JoinSet::new();
    for (answer, text) in cases {
        tests.spawn(async move {
            let fake = FakeEtcd::start(move |_, _| answer()).await;
            let balance = follow(fake.prefix().timeout(Duration::from_millis(500)));
            fails(&balance, text).await;
            assert!(names(&balance).is_empty());
            fake.becomes(good("http://a"));
            becomes(&balance, &["http://a"]).await;
            assert_eq!(failing(&balance), None);
        });
    }
    while let Some(test) = tests.join_next().await {
        test.unwrap();
    }
}

/// A watch that fails right after it was begun is an error, so that a server that always does so is left alone.
#[tokio::test]
async fn a_watch_that_fails_keeps_the_list() {
    let refused = Watched {
        created: true,
        canceled: true,
        reason: "you may not".to_owned(),
        ..Watched::default()
    };
    let late = Watched {
        canceled: true,
        reason: "not any more".to_owned(),
        ..Watched::default()
    };
    let never = Watched::default();
    let malformed = Part::Bytes(b"\0\0\0\0\x02\x5a\x09".to_vec());
    let cases = [
        (
            vec![framed(&refused)],
            false,
            "Watch was refused: you may not",
        ),
        (
            vec![framed(&never), Part::Silence],
            false,
            "Watch was not begun",
        ),
        (vec![Part::Silence], false, "no answer within"),
        (vec![framed(&late)], true, "Watch was ended: not any more"),
        (vec![Part::End("0")], true, "Watch has ended"),
        (vec![Part::End("14")], true, "status 14"),
        (vec![malformed], true, "malformed"),
    ];
    let mut tests = JoinSet::new();
    for (parts, begins, text) in cases {
        tests.spawn(async move {
            let answers = Arc::new(Mutex::new(parts));
            let fake = FakeEtcd::start(move |method, _| match method {
                "Watch" if begins => watch(answers.lock().unwrap().clone()),
                "Watch" => grpc(answers.lock().unwrap().clone()),
                _ => list("http://a"),
            })
            .await;
            let balance = follow(fake.prefix().timeout(Duration::from_millis(500)));
            fails(&balance, text).await;
            // A list without a watch would never change, so it does not count until there is one.
            let expected: &[&str] = if begins { &["http://a"] } else { &[] };
            assert_eq!(names(&balance), expected, "{text}");
            assert!(fake.lists.load(Relaxed) < 10);
            fake.becomes(good("http://b"));
            becomes(&balance, &["http://b"]).await;
        });
    }
    while let Some(test) = tests.join_next().await {
        test.unwrap();
    }
}

/// A member that says nothing is left for another one: at the list, and at the watch.
#[tokio::test]
async fn a_silent_member_is_left() {
    let silent = FakeEtcd::start(|_, _| grpc([Part::Silence])).await;
    let other = FakeEtcd::start(good("http://a")).await;
    let source = silent.prefix().timeout(Duration::from_millis(200));
    let balance = follow(source.member(&other.url).unwrap());
    becomes(&balance, &["http://a"]).await;
    assert_eq!(failing(&balance), None);

    let stuck = FakeEtcd::start(good("http://a")).await;
    let other = FakeEtcd::start(good("http://b")).await;
    // Longer than what a watch must last to be followed by another one at once.
    let source = stuck.prefix().heartbeat(Duration::from_millis(600));
    let balance = follow(source.member(&other.url).unwrap());
    becomes(&balance, &["http://a"]).await;
    becomes(&balance, &["http://b"]).await;
    assert_eq!(failing(&balance), None);
}
