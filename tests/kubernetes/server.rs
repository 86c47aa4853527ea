//! A server that speaks of the Kubernetes API what a watch of EndpointSlices needs, with the faults that one has.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Query, Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsAcceptor;

/// The API server. It ends with this.
pub struct ApiServer {
    pub port: u16,
    state: Arc<ApiState>,
    tls: Option<TlsAcceptor>,
    tasks: JoinSet<()>,
}

struct ApiState {
    store: Mutex<Store>,
    /// Of which each change wakes the watches.
    changed: watch::Sender<()>,
}

/// What the server knows.
struct Store {
    version: u64,
    /// The oldest version from which a watch can begin.
    oldest: u64,
    slices: BTreeMap<String, Value>,
    events: Vec<(u64, Value)>,
    requests: Vec<Asked>,
    /// What everything is answered by, if it is set.
    fault: Option<Arc<Fault>>,
    /// How many times watches were ended, and how.
    end: (u64, WatchFault),
    /// What `Authorization` has to be.
    authorization: Option<String>,
    /// How many slices a page has at most.
    page: usize,
    /// What each watch begins with, and ends after, if it is set.
    first: Option<String>,
}

type Fault = dyn Fn() -> Response + Send + Sync;

/// How a watch ends before its time.
#[derive(Clone)]
pub enum WatchFault {
    /// The connection breaks.
    Broken,
    /// By these lines.
    Lines(String),
}

/// A request that was made.
#[derive(Clone, Debug)]
pub struct Asked {
    pub is_watch: bool,
    pub version: Option<String>,
    pub has_next: bool,
}

impl ApiServer {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Starts a server that speaks TLS, if it is given any.
    pub async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let state = ApiState {
            store: Mutex::new(Store {
                version: 100,
                oldest: 0,
                slices: BTreeMap::new(),
                events: Vec::new(),
                requests: Vec::new(),
                fault: None,
                end: (0, WatchFault::Broken),
                authorization: None,
                page: usize::MAX,
                first: None,
            }),
            changed: watch::channel(()).0,
        };
        let mut server = Self {
            port: 0,
            state: Arc::new(state),
            tls,
            tasks: JoinSet::new(),
        };
        server.start_again().await;
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends the server with all its connections.
    pub fn kill(&mut self) {
        self.tasks.abort_all();
    }

    /// Starts it again, at the same port and with the data that it has.
    pub async fn start_again(&mut self) {
        while self.tasks.join_next().await.is_some() {}
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let app = Router::new()
            .fallback(answer)
            .with_state(self.state.clone());
        self.tasks.spawn(serve(listener, app, self.tls.clone()));
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.state.store.lock().unwrap()
    }

    /// Changes what the server knows, and tells the watches.
    fn change(&self, change: impl FnOnce(&mut Store)) {
        change(&mut self.store());
        self.state.changed.send_replace(());
    }

    /// Puts a slice. Whatever is in it, it is one of the Service.
    pub fn put(&self, name: &str, slice: Value) {
        self.change(|store| {
            let kind = match store.slices.contains_key(name) {
                true => "MODIFIED",
                false => "ADDED",
            };
            store.version += 1;
            let slice = store.versioned(name, slice);
            store.slices.insert(name.to_owned(), slice.clone());
            store.event(kind, slice);
        });
    }

    pub fn delete(&self, name: &str) {
        self.change(|store| {
            store.version += 1;
            let slice = store.slices.remove(name).unwrap();
            let slice = store.versioned(name, slice);
            store.event("DELETED", slice);
        });
    }

    /// Tells the watches that nothing of theirs has changed, while much else has.
    pub fn bookmark(&self) {
        self.change(|store| {
            store.version += 50;
            let version = store.version.to_string();
            let object = json!({"kind": "EndpointSlice", "metadata": {"resourceVersion": version}});
            store.event("BOOKMARK", object);
        });
    }

    /// Forgets all versions before this moment, without a word to the watches.
    pub fn forget(&self) {
        let mut store = self.store();
        store.version += 1;
        store.oldest = store.version;
    }

    /// Changes what there is so that no watch is told, as between two watches.
    pub fn put_unseen(&self, name: &str, slice: Value) {
        let mut store = self.store();
        let slice = store.versioned(name, slice);
        store.slices.insert(name.to_owned(), slice);
    }

    /// Ends the watches that go on.
    pub fn end_watches(&self, fault: WatchFault) {
        self.change(|store| store.end = (store.end.0 + 1, fault));
    }

    /// Ends each watch that begins from now on by these lines.
    pub fn begins_watches_by(&self, lines: Option<String>) {
        self.change(|store| store.first = lines);
    }

    /// Answers everything like this from now on.
    pub fn fails(&self, fault: impl Fn() -> Response + Send + Sync + 'static) {
        self.change(|store| store.fault = Some(Arc::new(fault)));
    }

    pub fn recovers(&self) {
        self.change(|store| store.fault = None);
    }

    /// Wants to be asked with this from now on.
    pub fn wants(&self, authorization: &str) {
        self.change(|store| store.authorization = Some(authorization.to_owned()));
    }

    pub fn page(&self, slices: usize) {
        self.change(|store| store.page = slices);
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.store().requests.clone()
    }

    /// How many lists were begun.
    pub fn lists(&self) -> usize {
        let asked = self.asked();
        let lists = asked
            .iter()
            .filter(|asked| !asked.is_watch && !asked.has_next);
        lists.count()
    }

    /// The versions from which watches began.
    pub fn watched(&self) -> Vec<String> {
        let asked = self.asked().into_iter().filter(|asked| asked.is_watch);
        asked.filter_map(|asked| asked.version).collect()
    }

    /// How many watches go on.
    pub fn ongoing(&self) -> usize {
        self.state.changed.receiver_count()
    }

    pub fn version(&self) -> String {
        self.store().version.to_string()
    }
}

impl Store {
    fn versioned(&self, name: &str, mut slice: Value) -> Value {
        slice["apiVersion"] = "discovery.k8s.io/v1".into();
        slice["kind"] = "EndpointSlice".into();
        slice["metadata"] = json!({
            "name": name,
            "namespace": "default",
            "resourceVersion": self.version.to_string(),
            "labels": {"kubernetes.io/service-name": "api"},
        });
        slice
    }

    fn event(&mut self, kind: &str, object: Value) {
        let mut event = json!({"type": kind});
        event["object"] = object;
        self.events.push((self.version, event));
    }
}

async fn serve(listener: TcpListener, app: Router, tls: Option<TlsAcceptor>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(speak(stream, app.clone(), tls.clone()));
    }
}

async fn speak(stream: TcpStream, app: Router, tls: Option<TlsAcceptor>) {
    let server = auto::Builder::new(TokioExecutor::new());
    let app = TowerToHyperService::new(app);
    match tls {
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                let _ = server.serve_connection(TokioIo::new(stream), app).await;
            }
        }
        None => drop(server.serve_connection(TokioIo::new(stream), app).await),
    }
}

/// An error as the API describes it.
pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

/// A response of JSON.
pub fn respond(code: u16, body: &Value) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    let status = StatusCode::from_u16(code).unwrap();
    (status, json, body.to_string()).into_response()
}

async fn answer(
    State(state): State<Arc<ApiState>>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let is_watch = query.get("watch").is_some_and(|watch| watch == "true");
    let fault = {
        let mut store = state.store.lock().unwrap();
        store.requests.push(Asked {
            is_watch,
            version: query.get("resourceVersion").cloned(),
            has_next: query.contains_key("continue"),
        });
        let sent = request.headers().get(header::AUTHORIZATION);
        let sent = sent.map(|sent| sent.to_str().unwrap());
        if sent != store.authorization.as_deref() {
            return respond(401, &status(401, "Unauthorized", "Unauthorized"));
        }
        store.fault.clone()
    };
    if let Some(fault) = fault {
        return fault();
    }
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let selector = query.get("labelSelector").map(String::as_str);
    if request.uri().path() != path || selector != Some("kubernetes.io/service-name=api") {
        return respond(404, &status(404, "NotFound", "there is nothing here"));
    }
    match is_watch {
        true => watch_slices(&state, &query),
        false => list_slices(&state, &query),
    }
}

fn list_slices(state: &ApiState, query: &HashMap<String, String>) -> Response {
    let store = state.store.lock().unwrap();
    // A token is the version of the list and how many slices it had before.
    let token = query.get("continue");
    let (version, skipped) = match token.map(|token| token.split_once('-').unwrap()) {
        Some((version, skipped)) => (version.parse().unwrap(), skipped.parse().unwrap()),
        None => (store.version, 0_usize),
    };
    if version < store.oldest {
        let message = "The provided continue parameter is too old";
        return respond(410, &status(410, "Expired", message));
    }
    let limit: usize = query["limit"].parse().unwrap();
    let limit = limit.min(store.page);
    let items: Vec<_> = store.slices.values().skip(skipped).take(limit).collect();
    let end = skipped + items.len();
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if end < store.slices.len() {
        metadata["continue"] = format!("{version}-{end}").into();
    }
    let list = json!({
        "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
        "metadata": metadata, "items": items,
    });
    respond(200, &list)
}

fn respond_lines(lines: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], lines).into_response()
}

/// A watch that goes on.
struct OngoingWatch {
    changes: watch::Receiver<()>,
    sent: u64,
    ended: u64,
    until: Instant,
    is_over: bool,
}

fn watch_slices(state: &Arc<ApiState>, query: &HashMap<String, String>) -> Response {
    let sent: u64 = query["resourceVersion"].parse().unwrap();
    let seconds: u64 = query["timeoutSeconds"].parse().unwrap();
    assert_eq!(query["allowWatchBookmarks"], "true");
    let ongoing = {
        let store = state.store.lock().unwrap();
        if sent < store.oldest {
            let message = format!("too old resource version: {sent} ({})", store.oldest);
            return respond(410, &status(410, "Expired", &message));
        }
        if let Some(lines) = &store.first {
            return respond_lines(lines.clone());
        }
        OngoingWatch {
            changes: state.changed.subscribe(),
            sent,
            ended: store.end.0,
            until: Instant::now() + Duration::from_secs(seconds),
            is_over: false,
        }
    };
    let body = stream::unfold(
        (state.clone(), ongoing),
        |(state, mut ongoing)| async move {
            let piece = ongoing.next(&state).await?;
            Some((piece, (state, ongoing)))
        },
    );
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, Body::from_stream(body)).into_response()
}

impl OngoingWatch {
    /// The next lines.
    async fn next(&mut self, state: &ApiState) -> Option<Result<Bytes, io::Error>> {
        while !self.is_over {
            if let Some(lines) = self.lines(state) {
                return Some(lines);
            }
            match timeout_at(self.until, self.changes.changed()).await {
                Ok(changed) => changed.ok()?,
                Err(_) => return None,
            }
        }
        None
    }

    /// The lines that are there to be sent.
    fn lines(&mut self, state: &ApiState) -> Option<Result<Bytes, io::Error>> {
        let store = state.store.lock().unwrap();
        let events = store.events.iter();
        let events = events.filter(|(version, _)| *version > self.sent);
        let lines: String = events.map(|(_, event)| format!("{event}\n")).collect();
        self.sent = self.sent.max(store.version);
        if !lines.is_empty() {
            return Some(Ok(lines.into()));
        }
        self.is_over = store.end.0 > self.ended;
        self.is_over.then(|| match &store.end.1 {
            WatchFault::Broken => Err(io::ErrorKind::ConnectionReset.into()),
            WatchFault::Lines(lines) => Ok(lines.clone().into()),
        })
    }
}

/// A slice of IPv4 addresses, all of which have the same port.
pub fn slice(port: u16, endpoints: Value) -> Value {
    let mut slice = json!({
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": port}],
    });
    slice["endpoints"] = endpoints;
    slice
}

/// A pod that is ready.
pub fn ready(ip: &str) -> Value {
    json!({"addresses": [ip], "conditions": {"ready": true, "serving": true, "terminating": false}})
}
