//! A proxy over a cluster that tells of each exchange, and a clock that can be moved.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use axum::{Router, middleware::map_response, response::Response};
use axum_upstream::{
    Body, Info, LoadBalance, Outcome, ReverseProxy,
    balance::{Handle, LoadBalanceBuilder},
    endpoint::Availability,
    policy::RoundRobin,
    upstream,
};
use http::Request;
use http_body_util::BodyExt;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::{Client, Http, eventually, server, server::Server, within};

/// A proxy in front of a cluster, on a clock that only [`skip`] moves.
pub struct Trial {
    pub proxy: Server,
    pub handle: Handle<upstream::Client>,
    urls: Vec<String>,
    infos: UnboundedReceiver<Info>,
    _clock: Rc<FrozenClock>,
}

/// What came of one exchange.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub headers: http::HeaderMap,
    /// What of the body came before it ended, and whether it came whole.
    pub body: String,
    pub is_whole: bool,
    /// The position of the endpoint among the URLs, and the outcome, of each attempt.
    pub attempts: Vec<(usize, Outcome)>,
}

impl Seen {
    /// The endpoints that were asked, in order.
    pub fn path(&self) -> Vec<usize> {
        self.attempts
            .iter()
            .map(|(endpoint, _)| *endpoint)
            .collect()
    }

    /// The first attempt's outcome.
    pub fn first(&self) -> Outcome {
        self.attempts[0].1
    }

    /// Asserts that the client has a whole answer of the good endpoint.
    #[track_caller]
    pub fn is_ok(&self) {
        let seen = (self.status, self.body.as_str(), self.is_whole);
        assert_eq!(seen, (200, "ok", true), "{self:?}");
    }
}

/// The settings of most tests: the defaults, but each endpoint is asked in turn, the first one first.
pub fn in_turn() -> LoadBalanceBuilder {
    LoadBalance::builder().seed(1).policy(RoundRobin)
}

impl Trial {
    /// A proxy over a cluster of these URLs.
    pub async fn new(settings: LoadBalanceBuilder, urls: &[String]) -> Self {
        Self::with(settings, urls, |proxy| proxy).await
    }

    /// As [`new`](Self::new), with settings of the proxy.
    pub async fn with(
        settings: LoadBalanceBuilder,
        urls: &[String],
        proxy: impl FnOnce(ReverseProxy<LoadBalance>) -> ReverseProxy<LoadBalance>,
    ) -> Self {
        let clock = frozen();
        let backends = settings.urls(urls).unwrap();
        let handle = backends.handle();
        let (tell, infos) = unbounded_channel();
        let app = Router::new()
            .fallback_service(proxy(ReverseProxy::new(backends)))
            .layer(map_response(move |response: Response| {
                if let Some(info) = response.extensions().get::<Info>() {
                    let _ = tell.send(info.clone());
                }
                async { response }
            }));
        Self {
            proxy: server::app(app).await,
            handle,
            urls: urls.to_vec(),
            infos,
            _clock: clock,
        }
    }

    /// Sends a request over a connection of its own, and waits for all of the answer.
    pub async fn send(&mut self, request: Request<Body>) -> Seen {
        let answer = within(answer(&self.proxy, request)).await;
        self.seen(answer).await
    }

    /// What came of an exchange whose answer is there.
    pub async fn seen(&mut self, (status, headers, body, is_whole): Answer) -> Seen {
        let info = within(self.infos.recv()).await.unwrap();
        eventually(|| info.attempts().all(|attempt| attempt.outcome().is_some())).await;
        let attempts = info.attempts().map(|attempt| {
            let endpoint = self.urls.iter().position(|url| url == attempt.endpoint());
            (endpoint.unwrap(), attempt.outcome().unwrap())
        });
        Seen {
            status,
            headers,
            body,
            is_whole,
            attempts: attempts.collect(),
        }
    }

    pub async fn get(&mut self) -> Seen {
        self.send(get()).await
    }

    /// Sends GETs until one is first sent to this endpoint, and returns what came of that one.
    pub async fn get_from(&mut self, endpoint: usize) -> Seen {
        loop {
            let seen = self.get().await;
            if seen.path().first() == Some(&endpoint) {
                return seen;
            }
        }
    }

    /// Forgets the next exchange that was answered.
    pub async fn forget(&mut self) {
        within(self.infos.recv()).await.unwrap();
    }

    /// The endpoints that were asked for the next request that was answered.
    pub async fn path(&mut self) -> Vec<usize> {
        let answer = (0, http::HeaderMap::new(), String::new(), true);
        self.seen(answer).await.path()
    }

    pub async fn post(&mut self, body: impl Into<Body>) -> Seen {
        self.send(post(body)).await
    }

    /// Whether the endpoint may be given requests.
    pub fn availability(&self, endpoint: usize) -> Availability {
        let endpoints = self.handle.endpoints();
        let found = endpoints
            .iter()
            .find(|found| *found.name == *self.urls[endpoint]);
        found.unwrap().availability
    }

    /// How many requests are in flight at the endpoint.
    pub fn in_flight(&self, endpoint: usize) -> usize {
        let endpoints = self.handle.endpoints();
        let found = endpoints
            .iter()
            .find(|found| *found.name == *self.urls[endpoint]);
        found.unwrap().in_flight
    }

    pub fn is_ejected(&self, endpoint: usize) -> bool {
        matches!(self.availability(endpoint), Availability::Ejected { .. })
    }
}

/// The status, the header fields, what came of the body, and whether that is all. The status is 0 if the connection was
/// closed before a head.
pub type Answer = (u16, http::HeaderMap, String, bool);

/// Sends a request to a proxy over a connection of its own, and waits for all of the answer.
pub async fn answer(proxy: &Server, request: Request<Body>) -> Answer {
    answer_from(proxy.address, request).await
}

/// As [`answer`], for a task of its own.
pub async fn answer_from(address: std::net::SocketAddr, request: Request<Body>) -> Answer {
    let mut client = Client::connect(Http::One, address).await;
    let Ok(response) = client.try_send(request).await else {
        return (0, http::HeaderMap::new(), String::new(), false);
    };
    let (head, mut body) = response.into_parts();
    let (mut read, mut is_whole) = (Vec::new(), true);
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => read.extend_from_slice(&data),
            Ok(Err(_)) => {}
            Err(_) => is_whole = false,
        }
    }
    let read = String::from_utf8(read).unwrap();
    (head.status.as_u16(), head.headers, read, is_whole)
}

pub fn get() -> Request<Body> {
    Request::get("/").body(Body::empty()).unwrap()
}

pub fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("/").body(body.into()).unwrap()
}

/// Moves the clock forward, at once. It stands still otherwise.
pub async fn skip(time: Duration) {
    // A timer fires at the end of its millisecond.
    tokio::time::advance(time + Duration::from_millis(1)).await;
}

/// A clock that stands still, however slow the machine is, until the last of these is dropped.
///
/// tokio's paused clock would move to the next deadline whenever nothing is left to do but to wait for a socket. It does
/// not while a thread is blocked on its behalf.
pub(crate) struct FrozenClock {
    _thaw: mpsc::Sender<()>,
    is_thawed: Arc<AtomicBool>,
}

thread_local! {
    static CLOCK: RefCell<Weak<FrozenClock>> = const { RefCell::new(Weak::new()) };
}

/// After this long, the clock moves again, so that a test that waits for something that never comes fails.
const TOO_LONG: Duration = Duration::from_secs(20);

/// Stops tokio's clock for as long as what it returns is held.
pub(crate) fn frozen() -> Rc<FrozenClock> {
    CLOCK.with_borrow_mut(|clock| {
        clock.upgrade().unwrap_or_else(|| {
            tokio::time::pause();
            let is_thawed = Arc::new(AtomicBool::new(false));
            let (thaw, thawed) = mpsc::channel::<()>();
            let flag = is_thawed.clone();
            tokio::task::spawn_blocking(move || {
                if thawed.recv_timeout(TOO_LONG) == Err(RecvTimeoutError::Timeout) {
                    resume_once(&flag);
                }
            });
            let frozen = Rc::new(FrozenClock {
                _thaw: thaw,
                is_thawed,
            });
            *clock = Rc::downgrade(&frozen);
            frozen
        })
    })
}

impl Drop for FrozenClock {
    fn drop(&mut self) {
        resume_once(&self.is_thawed);
    }
}

fn resume_once(is_thawed: &AtomicBool) {
    if !is_thawed.swap(true, SeqCst) {
        tokio::time::resume();
    }
}
