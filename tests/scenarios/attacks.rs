//! Attacks: what one client does that has few requests and no good intentions.

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
    load::{Attacker, Log, Pace, Setup},
    server::{Reply, Server, Treatment},
};

/// Servers with a core each. An answer takes them 10 ms on average.
pub const SERVERS: usize = 5;
const TAKES: f64 = 0.01;

/// As many good requests a second as keep the servers busy for 72 % of the time.
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
    /// Requests that are answered half a second later than others.
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
    (Attack::Status(404), Pace::PerSecond(4.0)),
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

/// What the other clients have of it, with `rate` requests a second in all.
pub fn under_attack(
    picks: Picks,
    seed: u64,
    rate: f64,
    lasts: f64,
    attack: Option<(Attack, Pace)>,
) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| {
            Server::new(nth, clock, 1, seed, |_, rng| {
                Reply::after(-TAKES * (1.0 - rng.f64()).ln())
            })
        };
        (0..SERVERS).map(server).collect()
    };
    Setup {
        warm_up: 10.0,
        attacker: attack.map(|(attack, pace)| Rc::new(attack.attacker(pace))),
        ..Setup::new(picks, seed, rate, 10.0 + lasts, &servers)
    }
    .run()
}

/// The requests that each server gets, as a ratio to its share.
pub fn shares(log: &Log) -> Vec<f64> {
    let share = |nth| log.share(|_| true, |sample| sample.server == nth) * SERVERS as f64;
    (0..SERVERS).map(share).collect()
}

