//! The cache under random requests, responses, pauses and purges, compared with a model of RFC 9111.
//!
//! An [origin](origin) answers at random and numbers its responses, in the head and in the content. For each response
//! that a client gets, the [model](rules) says whether it is either the origin's to this very request, or one that may be
//! used for it at that time; and for a response that any cache would have used, that it was. A failure names the seed:
//! `CACHE_SEED=7 cargo test --test cache --all-features model` runs that one alone.

mod ask;
mod check;
mod clock;
mod head;
mod origin;
mod record;
mod rules;

use std::{
    env,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum_upstream::cache::{Cache, CacheHandle, CacheLayer};
use http_body_util::BodyExt;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::{Layer, ServiceExt};

use self::{
    ask::{Ask, Reads},
    check::{End, Given, check},
    head::one_in,
    origin::RandomOrigin,
    record::{Invalidation, Record},
};

/// How many requests there are in one run.
const REQUESTS: usize = 250;

/// What a client found to be wrong.
type Finding = Result<(), String>;

/// A client, and what it shares with others.
#[derive(Clone)]
struct World {
    record: Arc<Mutex<Record>>,
    cache: Cache<RandomOrigin>,
    handle: CacheHandle,
}

impl World {
    fn new(seed: u64) -> Self {
        let record = Record::new(seed);
        let clock = record.clock;
        let layer = CacheLayer::in_memory(64 << 20);
        let layer = layer.wall_clock(move || clock.of_day()).build();
        let record = Arc::new(Mutex::new(record));
        Self {
            cache: layer.layer(RandomOrigin(record.clone())),
            handle: layer.handle(),
            record,
        }
    }

    fn now(&self) -> u64 {
        self.record.lock().unwrap().clock.now()
    }

    /// Returns the next request.
    fn ask(&self) -> Ask {
        let mut record = self.record.lock().unwrap();
        let record = &mut *record;
        let client = record.asks.len();
        let ask = Ask::random(&mut record.random, client, record.clock, &record.exchanges);
        record.asks.push(ask.clone());
        ask
    }

    /// Sends a request, reads the response, and checks it.
    async fn visit(self, ask: Ask) -> Finding {
        let response = self.cache.clone().oneshot(ask.request());
        let response = match ask.reads {
            Reads::Impatiently(most) => {
                match timeout(Duration::from_millis(most), response).await {
                    Ok(response) => response,
                    Err(_) => return Ok(()),
                }
            }
            _ => response.await,
        };
        let at = self.now();
        let Ok(response) = response else {
            let record = &mut *self.record.lock().unwrap();
            record.asks[ask.client].ended = Some(at);
            let failed = record
                .exchanges
                .iter()
                .any(|one| one.client == ask.client && one.fails);
            return failed
                .then_some(())
                .ok_or("failed, and the origin did not".to_owned());
        };
        if !matches!(ask.method, "GET" | "HEAD" | "OPTIONS") && response.status().as_u16() < 400 {
            let url = Some(ask.url);
            let gone = Invalidation { url, at };
            self.record.lock().unwrap().invalidations.push(gone);
        }
        let (parts, mut body) = response.into_parts();
        let mut given = Given {
            status: parts.status,
            fields: parts.headers,
            at,
            text: String::new(),
            trailers: None,
            end: End::Complete,
        };
        let mut frames = 0;
        while let Some(frame) = body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => given.text.push_str(std::str::from_utf8(&data).unwrap()),
                Ok(Err(frame)) => given.trailers = frame.into_trailers().ok(),
                Err(_) => {
                    given.end = End::Broken;
                    break;
                }
            }
            frames += 1;
            match ask.reads {
                Reads::Slowly(pause) => sleep(Duration::from_millis(pause)).await,
                Reads::Frames(most) if frames >= most => {
                    given.end = End::Left;
                    break;
                }
                _ => {}
            }
        }
        drop(body);
        let now = self.now();
        let record = &mut *self.record.lock().unwrap();
        if given.end != End::Left {
            record.asks[ask.client].ended = Some(now);
        }
        let asked = format!("{ask:?}");
        check(record, &ask, &given).map_err(|rule| {
            given.text.truncate(20);
            let number = given.fields.get("x-update").or(given.fields.get("x-id"));
            let newest = number.map(|id| &record.exchanges[id.to_str().unwrap().parse::<usize>().unwrap()]);
            let content = newest.map(|newest| &record.exchanges[newest.of]);
            format!("{rule}\nrequest: {asked}\nresponse: {given:?}\nby: {newest:?}\nupdates: {content:?}")
        })
    }

    /// Removes something.
    async fn purge(&self) {
        let url = fastrand::Rng::usize(&mut self.record.lock().unwrap().random, ..5);
        let url = (url < ask::URLS).then_some(url);
        let purged = match url {
            Some(url) => self.handle.purge_url(&format!("http://a/{url}")).await,
            None if self.now() % 2 == 0 => self.handle.clear().await,
            None => self.handle.purge_prefix("http://a/").await,
        };
        purged.unwrap();
        let at = self.now();
        self.record
            .lock()
            .unwrap()
            .invalidations
            .push(Invalidation { url, at });
    }

    /// Returns how long it takes until something else happens, in milliseconds. `None` waits for all clients.
    fn pause(&self) -> Option<u64> {
        let random = &mut self.record.lock().unwrap().random;
        match random.u8(..10) {
            0..=4 => None,
            5..=7 => Some(0),
            8 => Some(random.u64(..4000)),
            _ => Some(random.u64(..30_000)),
        }
    }
}

/// Runs one seed. Returns how many responses were used again, and how many of these any cache would have used.
async fn run(seed: u64) -> (usize, usize) {
    let world = World::new(seed);
    let mut clients = JoinSet::new();
    for _ in 0..REQUESTS {
        let purges = one_in(&mut world.record.lock().unwrap().random, 40);
        if purges {
            world.purge().await;
        }
        clients.spawn(world.clone().visit(world.ask()));
        match world.pause() {
            Some(pause) => sleep(Duration::from_millis(pause)).await,
            None => join(seed, &mut clients).await,
        }
        // So that no two things happen at the same time whose order would matter.
        sleep(Duration::from_millis(1)).await;
    }
    join(seed, &mut clients).await;
    // What goes on in the background ends.
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.handle.counts().bytes_in_flight, 0, "seed {seed}");
    let record = world.record.lock().unwrap();
    (record.reused, record.expected)
}

async fn join(seed: u64, clients: &mut JoinSet<Finding>) {
    while let Some(found) = clients.join_next().await {
        if let Err(found) = found.unwrap() {
            panic!("seed {seed}: {found}");
        }
    }
}

/// No response is given to a client that RFC 9111 does not allow it to be given, and those that it may have it gets.
#[tokio::test(start_paused = true)]
async fn every_response_is_one_that_the_model_allows() {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match number("CACHE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CACHE_RUNS").unwrap_or(24),
    };
    let runs = seeds.clone();
    let (mut reused, mut expected) = (0, 0);
    for seed in seeds {
        let (more, sure) = run(seed).await;
        reused += more;
        expected += sure;
    }
    // A cache that stores nothing passes everything above.
    let runs = runs.count();
    assert!(
        reused > runs * REQUESTS / 10 && expected > runs * REQUESTS / 50,
        "{reused} {expected}"
    );
    println!(
        "{reused} of {} were used again, {expected} of them for sure",
        runs * REQUESTS
    );
}
