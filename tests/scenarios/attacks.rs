//! Attacks: one client tries to steer the requests of all others with a few requests of its own.
//!
//! The servers are equal, so each one should get its share of the other clients' requests, whatever the attacker does.

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

/// The number of servers. Each one has one core.
pub const SERVERS: usize = 5;
/// The mean time that a core needs for a request, in seconds.
const TAKES: f64 = 0.01;

/// The rate of good requests, per second, that keeps the servers busy for 4 % of the time.
pub const LOW: f64 = 0.04 * SERVERS as f64 / TAKES;
/// The rate of good requests, per second, that keeps the servers busy for 72 % of the time.
pub const BUSY: f64 = 0.72 * SERVERS as f64 / TAKES;

/// How long a long poll, a slow upload or a slow download of the attacker takes, in seconds.
const LASTING: f64 = 30.0;

/// What the attacker's requests are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// They are answered after half a minute, without the use of a core.
    LongPolls,
    /// Their bodies arrive at a byte per second.
    SlowUploads,
    /// Their response bodies are read slowly.
    SlowDownloads,
    /// Their bodies break off.
    BrokenUploads,
    /// They are answered after half a second, without the use of a core.
    SlowAnswers,
    /// They are answered at once with this status.
    Status(u16),
    /// They are answered at once by a 429 with a `Retry-After` of a minute.
    TooMany,
    /// They are answered at once by a 503 with a `Retry-After` of a minute.
    LeaveAlone,
    /// They are long polls that the client gives up after this many milliseconds.
    GivenUp(u32),
}

/// All attacks, at about four requests per second, or four at a time.
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
    /// Returns the client that attacks at this pace.
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

    /// Returns one request of the attack.
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
            Self::TooMany | Self::LeaveAlone => {
                let status = if self == Self::TooMany { 429 } else { 503 };
                let retry_after = Some(60);
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

/// Returns a body of one byte per second, for [`LASTING`].
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

/// Returns a body that yields a byte, and then an error.
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

/// Runs an attack among `rate` good requests per second for `lasts` seconds.
///
/// Returns by how much a server's share of the good requests differs from its fair share, as a ratio to that, for the
/// server where it differs most.
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
