//! An origin that does whatever it likes.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use axum_upstream::{Body, BoxError};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::sleep;
use tower::Service;

use super::{
    clock::time_of_day,
    head::{Head, date, one_in},
    record::{Exchange, Record, content},
};

/// Answers at random, and writes down what it has answered.
#[derive(Clone)]
pub struct RandomOrigin(pub Arc<Mutex<Record>>);

impl RandomOrigin {
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap()
    }

    /// Decides what becomes of a request.
    fn begin(&self, request: &Request<Body>) -> Exchange {
        let fields = request.headers();
        let client: usize = fields["x-client"].to_str().unwrap().parse().unwrap();
        let mut record = self.lock();
        let record = &mut *record;
        let random = &mut record.random;
        let ask = &record.asks[client];
        let id = record.exchanges.len();
        let now = record.clock.now();
        let mut exchange = Exchange {
            id,
            client,
            method: ask.method,
            url: ask.url,
            head: Head::random(random),
            of: id,
            length: [0, 1, 10, 300, 20_000][random.usize(..5)],
            breaks: false,
            has_trailers: one_in(random, 6),
            fails: one_in(random, 20),
            sent: now,
            came: now,
            completed: None,
        };
        let mut confirmed = record.exchanges.iter().filter(|one| {
            one.url == ask.url && one.of == one.id && !one.fails && is_confirmed(one, fields)
        });
        // Two with the same date cannot be told apart.
        let (known, other) = (confirmed.next(), confirmed.next());
        let known = known.filter(|_| other.is_none());
        if exchange.head.status == 204 {
            exchange.length = 0;
        }
        if let Some(known) = known.filter(|_| !one_in(random, 3)) {
            exchange.confirm(known, 304, now);
        } else if ask.method == "HEAD" {
            // A head for a response that it has given before, or for one that has another tag.
            let known = record.exchanges.iter().rev();
            let mut known =
                known.filter(|one| one.url == ask.url && one.of == one.id && one.method == "GET");
            match known
                .next()
                .filter(|known| random.bool() && known.head.etag.is_some())
            {
                Some(known) => exchange.confirm(known, known.head.status, now),
                None => exchange.head.etag = Some("strong"),
            }
        } else if fields.contains_key(header::RANGE) && random.bool() {
            exchange.head.status = 206;
            exchange.length = 7;
        } else {
            exchange.breaks = exchange.length > 1 && one_in(random, 10);
        }
        record.exchanges.push(exchange.clone());
        exchange
    }

    /// Returns the content, with pauses.
    fn body(&self, exchange: &Exchange) -> Body {
        let mut pieces = Vec::new();
        let mut record = self.lock();
        let text = content(exchange.id, exchange.length);
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let length = if one_in(&mut record.random, 2) {
                rest.len()
            } else {
                rest.len().div_ceil(2)
            };
            let (piece, after) = rest.split_at(length);
            let pause = if one_in(&mut record.random, 3) {
                record.random.u64(..2000)
            } else {
                0
            };
            pieces.push((pause, Ok(Frame::data(Bytes::from(piece.to_owned())))));
            rest = after;
        }
        if exchange.breaks {
            pieces.pop();
            let fails: Result<_, BoxError> = Err("broken".into());
            pieces.push((0, fails));
        } else if exchange.has_trailers {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-id", exchange.id.into());
            pieces.push((0, Ok(Frame::trailers(trailers))));
        }
        drop(record);
        let (origin, id) = (self.clone(), exchange.id);
        let pieces = stream::unfold(pieces.into_iter(), move |mut pieces| {
            let origin = origin.clone();
            async move {
                let Some((pause, piece)) = pieces.next() else {
                    origin.complete(id);
                    return None;
                };
                sleep(Duration::from_millis(pause)).await;
                if pieces.len() == 0 && piece.is_ok() {
                    origin.complete(id);
                }
                Some((piece, pieces))
            }
        });
        Body::new(StreamBody::new(pieces))
    }

    fn complete(&self, id: usize) {
        let mut record = self.lock();
        let now = record.clock.now();
        record.exchanges[id].completed = Some(now);
    }
}

impl Exchange {
    /// Makes it one that is about another response: it says something new of the same content.
    fn confirm(&mut self, known: &Self, status: u16, now: u64) {
        let old = &known.head;
        self.of = known.id;
        self.length = known.length;
        self.head.status = status;
        // The fields that the other one has, and that this one does not, would stay, and are not followed here.
        self.head.targeted = self.head.targeted.take().filter(|_| old.targeted.is_some());
        if old.targeted.is_some() || old.malformed_target.is_some() {
            self.head.targeted.clone_from(&old.targeted);
            self.head.malformed_target = old.malformed_target;
        } else {
            self.head.malformed_target = None;
        }
        if self.head.control.is_none() || old.control.is_none() {
            self.head.control.clone_from(&old.control);
        }
        if old.expires.is_none() || self.head.expires.is_none() {
            self.head.expires = old.expires;
        }
        self.head.etag = old.etag;
        self.head.modified = old.modified.map(|ago| {
            let since =
                i64::try_from(now / 1000).unwrap() - i64::try_from(known.came / 1000).unwrap();
            ago + since
        });
        self.head.vary.clone_from(&old.vary);
        self.head.sets_cookie &= old.sets_cookie;
    }
}

/// Returns whether a request is conditional on a response.
fn is_confirmed(known: &Exchange, request: &HeaderMap) -> bool {
    if known.method != "GET" || known.head.status == 206 {
        return false;
    }
    if let Some(tag) = request.get(header::IF_NONE_MATCH) {
        let known = known.head.tag(known.id);
        return known.is_some_and(|known| tag == known.as_str());
    }
    let modified = known
        .head
        .modified
        .map(|ago| date(time_of_day(known.came), -ago));
    let since = request.get(header::IF_MODIFIED_SINCE);
    modified.is_some_and(|modified| since.is_some_and(|since| since == modified.as_str()))
}

impl Service<Request<Body>> for RandomOrigin {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let origin = self.clone();
        Box::pin(async move {
            let mut exchange = origin.begin(&request);
            let pause = {
                let random = &mut origin.lock().random;
                if one_in(random, 3) {
                    random.u64(..3000)
                } else {
                    0
                }
            };
            sleep(Duration::from_millis(pause)).await;
            let (now, of_day) = {
                let mut record = origin.lock();
                let now = record.clock.now();
                record.exchanges[exchange.id].came = now;
                exchange.came = now;
                (now, record.clock.of_day())
            };
            if exchange.fails {
                return Err("the origin fails".into());
            }
            let mut fields = exchange.head.write(exchange.of, of_day);
            // The date does not move while the response is under way.
            if let (true, Some(known)) = (exchange.of != exchange.id, exchange.head.modified) {
                let moved = i64::try_from(now / 1000).unwrap()
                    - i64::try_from(exchange.sent / 1000).unwrap();
                let modified = date(of_day, -known - moved).parse().unwrap();
                fields.insert(header::LAST_MODIFIED, modified);
                origin.lock().exchanges[exchange.id].head.modified = Some(known + moved);
            }
            if exchange.of == exchange.id {
                fields.insert("x-id", exchange.id.into());
            } else {
                fields.insert("x-update", exchange.id.into());
            }
            let has_content = exchange.head.status != 304 && exchange.method != "HEAD";
            if exchange.length != 7 && exchange.head.status == 200 && origin.lock().random.bool() {
                fields.insert(header::CONTENT_LENGTH, exchange.length.into());
                if exchange.has_trailers {
                    fields.insert(header::TRAILER, "x-id".parse().unwrap());
                }
            }
            let body = if has_content {
                origin.body(&exchange)
            } else {
                Body::empty()
            };
            let mut response = Response::new(body);
            *response.status_mut() = exchange.head.status.try_into().unwrap();
            *response.headers_mut() = fields;
            Ok(response)
        })
    }
}
