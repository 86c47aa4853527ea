//! The endpoints of all sources, and those that are fixed, as one stream.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum_upstream::{EndpointSpec, Error, discover::Change, upstream::ClientBuilder};
use futures_core::Stream;
use tokio::time::{Sleep, sleep};

use super::source::{DiscoverySource, SourceChange, SourceStream};
use crate::BoxError;

/// How long a source is left alone after an error. The pause doubles with each further one in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The endpoints of all sources, and those that are fixed, as one stream of changes.
///
/// The cluster pauses after an error, whichever source it is of. So one of several sources that fails is logged, and
/// paused here, and the others go on. The errors of a single source are those of the cluster, which shows them.
pub(crate) struct AllSources {
    /// Those that are fixed and have not been reported.
    fixed: VecDeque<EndpointSpec>,
    sources: Vec<PausableSource>,
    /// The source that is asked first.
    next: usize,
}

/// A source, and the pause that it is in.
struct PausableSource {
    name: String,
    changes: SourceStream,
    paused: Option<Pin<Box<Sleep>>>,
    /// How long the next pause will be.
    pause: Duration,
}

/// The number of a source and the name of an endpoint there: two sources may have one endpoint.
type SourceKey = (usize, Arc<str>);

impl AllSources {
    /// Returns the endpoints of these URLs and sources.
    ///
    /// # Errors
    ///
    /// Returns a config error if a URL is none.
    pub(crate) fn new(
        urls: &[String],
        sources: &[DiscoverySource],
        client: &ClientBuilder,
        name_servers: &[SocketAddr],
    ) -> Result<Self, Error> {
        let fixed = urls.iter().map(|url| EndpointSpec::url_with(client, url));
        let sources = sources.iter().map(|source| {
            Ok(PausableSource {
                name: source.to_string(),
                changes: source.stream(client, name_servers)?,
                paused: None,
                pause: FIRST_PAUSE,
            })
        });
        Ok(Self {
            fixed: fixed.collect::<Result<_, Error>>()?,
            sources: sources.collect::<Result<_, Error>>()?,
            next: 0,
        })
    }
}

impl PausableSource {
    /// Polls for the next change. If the source is not `alone`, an error is a pause.
    fn poll_change(
        &mut self,
        cx: &mut Context<'_>,
        alone: bool,
    ) -> Poll<Option<Result<SourceChange, BoxError>>> {
        loop {
            if let Some(pause) = &mut self.paused {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.paused = None;
            }
            match self.changes.as_mut().poll_next(cx) {
                Poll::Ready(Some(Err(error))) if !alone => {
                    tracing::warn!(source = self.name, error, "discovery has failed");
                    self.paused = Some(Box::pin(sleep(self.pause)));
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                }
                polled => {
                    if let Poll::Ready(Some(Ok(_))) = polled {
                        self.pause = FIRST_PAUSE;
                    }
                    return polled;
                }
            }
        }
    }
}

impl Stream for AllSources {
    type Item = Result<Change<SourceKey, EndpointSpec>, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let count = self.sources.len();
        if let Some(spec) = self.fixed.pop_front() {
            let key = (count, Arc::from(spec.name()));
            return Poll::Ready(Some(Ok(Change::Insert(key, spec))));
        }
        for _ in 0..count {
            let number = self.next;
            let polled = self.sources[number].poll_change(cx, count == 1);
            if let Poll::Ready(Some(change)) = polled {
                return Poll::Ready(Some(change.map(|change| match change {
                    Change::Insert(name, spec) => Change::Insert((number, name), spec),
                    Change::Remove(name) => Change::Remove((number, name)),
                })));
            }
            self.next = (number + 1) % count;
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    type Item = Result<SourceChange, BoxError>;

    struct Told(UnboundedReceiver<Item>);

    impl Stream for Told {
        type Item = Item;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
            self.0.poll_recv(cx)
        }
    }

    fn source() -> (UnboundedSender<Item>, PausableSource) {
        let (tell, told) = unbounded_channel();
        let source = PausableSource {
            name: "told".into(),
            changes: Box::pin(Told(told)),
            paused: None,
            pause: FIRST_PAUSE,
        };
        (tell, source)
    }

    fn insert(url: &str) -> Item {
        Ok(Change::Insert(url.into(), EndpointSpec::url(url)?))
    }

    /// What comes next: `+` or `-`, the number of the source, and the name.
    async fn next(all: &mut AllSources) -> String {
        let change = poll_fn(|cx| Pin::new(&mut *all).poll_next(cx)).await;
        match change {
            Some(Ok(Change::Insert((number, name), _))) => format!("+{number} {name}"),
            Some(Ok(Change::Remove((number, name)))) => format!("-{number} {name}"),
            Some(Err(error)) => error.to_string(),
            None => "end".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_holds_up_no_other() {
        let (one, first) = source();
        let (other, second) = source();
        let fixed = EndpointSpec::url("http://a").unwrap();
        let mut all = AllSources {
            fixed: [fixed].into(),
            sources: vec![first, second],
            next: 0,
        };
        one.send(Err("no".into())).unwrap();
        one.send(insert("http://b")).unwrap();
        other.send(insert("http://b")).unwrap();
        assert_eq!(next(&mut all).await, "+2 http://a");
        assert_eq!(next(&mut all).await, "+1 http://b");
        let start = tokio::time::Instant::now();
        assert_eq!(next(&mut all).await, "+0 http://b");
        assert!(start.elapsed() >= FIRST_PAUSE);
        // One that has ended does not end the others.
        drop(one);
        other.send(Ok(Change::Remove("http://b".into()))).unwrap();
        assert_eq!(next(&mut all).await, "-1 http://b");
    }

    #[tokio::test(start_paused = true)]
    async fn the_errors_of_one_alone_are_passed_on() {
        let (tell, told) = source();
        let mut all = AllSources {
            fixed: VecDeque::new(),
            sources: vec![told],
            next: 0,
        };
        tell.send(Err("no".into())).unwrap();
        assert_eq!(next(&mut all).await, "no");
    }
}
