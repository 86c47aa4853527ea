//! Attacks: one client that sends few requests tries to steer the requests of all others.
//!
//! The servers are equal, so each should get its share of what the others send, whatever the one does.

use std::rc::Rc;

use axum_upstream::Body;
use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;

use crate::sim::{
    client::Picks,
    clock::Clock,
    load::{Attacker, Pace, Setup},
    server::{Reply, Server, Treatment},
};

/// Servers with a core each. An answer takes them 10 ms on average.
pub const SERVERS: usize = 5;
const TAKES: f64 = 0.01;

/// Good requests a second that keep the servers busy for 4 % and for 72 % of the time.
pub const LOW: f64 = 0.04 * SERVERS as f64 / TAKES;
pub const BUSY: f64 = 0.72 * SERVERS as f64 / TAKES;

/// How long what the attacker does lasts, where it wants it to last.
const LASTING: f64 = 30.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Requests that are answered late, and that no core works at.
    LongPolls,
    /// Requests whose body comes by a byte a second.
    SlowUploads,
    /// Responses that are read slowly.
    SlowDownloads,
    /// Requests whose body breaks off.
    BrokenUploads,
    /// Requests that are answered after half a second, and that no core works at.
    SlowAnswers,
    /// Requests that are answered at once with such a status.
    Status(u16),
    /// Requests that are answered at once by 429 and a `Retry-After` of a minute.
    TooMany,
    /// Long polls that are given up after so many milliseconds.
    GivenUp(u32),
}

pub const ALL: [(Attack, Pace); 15] = [
    (Attack::LongPolls, Pace::AtOnce(4)),
    (Attack::LongPolls, Pace::PerSecond(4.0)),
    (Attack::SlowUploads, Pace::AtOnce(4)),
    (Attack::SlowUploads, Pace::PerSecond(4.0)),
    (Attack::SlowDownloads, Pace::AtOnce(4)),
    (Attack::SlowDownloads, Pace::PerSecond(4.0)),
    (Attack::BrokenUploads, Pace::PerSecond(4.0)),
    (Attack::SlowAnswers, Pace::PerSecond(4.0)),
    (Attack::Status(501), Pace::PerSecond(4.0)),
    (Attack::Status(505), Pace::PerSecond(4.0)),
    (Attack::TooMany, Pace::PerSecond(4.0)),
    (Attack::GivenUp(1), Pace::PerSecond(4.0)),
    (Attack::GivenUp(30), Pace::PerSecond(4.0)),
    (Attack::GivenUp(300), Pace::PerSecond(4.0)),
    (Attack::GivenUp(3_000), Pace::PerSecond(4.0)),
];

impl Attack {
    fn attacker(self, pace: Pace) -> Attacker {
        let patience = match self {
            Self::GivenUp(millis) => f64::from(millis) / 1e3,
            _ => f64::INFINITY,
        };
        Attacker {
            request: Box::new(move |clock| self.request(clock)),
            patience,
            pace,
        }
    }

    fn request(self, clock: &Clock) -> Request<Body> {
        let at_once = Reply::after(0.0);
        let (reply, body) = match self {
            Self::LongPolls | Self::GivenUp(_) => {
                let reply = Reply {
                    head: LASTING,
                    ..at_once
                };
                (reply, Body::empty())
            }
            Self::SlowAnswers => (
                Reply {
                    head: 0.5,
                    ..at_once
                },
                Body::empty(),
            ),
            Self::SlowDownloads => {
                let reply = Reply {
                    body: LASTING,
                    ..at_once
                };
                (reply, Body::empty())
            }
            Self::SlowUploads => (at_once, slow_body(clock)),
            Self::BrokenUploads => (at_once, broken_body(clock)),
            Self::Status(status) => (Reply { status, ..at_once }, Body::empty()),
            Self::TooMany => {
                let (status, retry_after) = (429, Some(60));
                (
                    Reply {
                        status,
                        retry_after,
                        ..at_once
                    },
                    Body::empty(),
                )
            }
        };
        let mut request = Request::new(body);
        request.extensions_mut().insert(Treatment(reply));
        request
    }
}

/// A byte a second.
fn slow_body(clock: &Clock) -> Body {
    let clock = clock.clone();
    Body::new(StreamBody::new(stream::unfold(0.0, move |sent| {
        let second = clock.after(1.0);
        async move {
            second.await;
            let byte = Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b".")));
            (sent < LASTING).then_some((byte, sent + 1.0))
        }
    })))
}

/// A byte, and then an error.
fn broken_body(clock: &Clock) -> Body {
    let clock = clock.clone();
    Body::new(StreamBody::new(stream::unfold(0, move |sent| {
        let soon = clock.after(0.005);
        async move {
            soon.await;
            match sent {
                0 => Some((Ok(Frame::data(Bytes::from_static(b"."))), 1)),
                1 => Some((Err("broken off"), 2)),
                _ => None,
            }
        }
    })))
}

/// By how much the share of any server in the good requests differs from its fair one, as a ratio to that, with `rate`
/// good requests a second for `lasts` seconds.
pub fn steered(picks: Picks, seed: u64, rate: f64, lasts: f64, attack: (Attack, Pace)) -> f64 {
    const WARM_UP: f64 = 10.0;
    let servers = |clock: &Clock| {
        let server = |nth| {
            Server::new(nth, clock, 1, seed, |_, rng| {
                Reply::after(-TAKES * (1.0 - rng.f64()).ln())
            })
        };
        (0..SERVERS).map(server).collect()
    };
    let (attack, pace) = attack;
    let log = Setup {
        warm_up: WARM_UP,
        attacker: Some(Rc::new(attack.attacker(pace))),
        ..Setup::new(picks, seed, rate, WARM_UP + lasts, &servers)
    }
    .run();
    (0..SERVERS)
        .map(|nth| log.share(|_| true, |sample| sample.server == nth))
        .map(|share| (share * SERVERS as f64 - 1.0).abs())
        .fold(0.0, f64::max)
}
