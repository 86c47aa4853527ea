//! A prefix of etcd as a source: it is listed, and watched from the revision of the list on.
//!
//! A watch that ends is followed by another list, from the same member or the next one, and not by a watch from the
//! last revision: a cluster that was restored from a backup has gone back in its revisions, and would answer a watch
//! from a later one by silence. A prefix of endpoints is short.

use std::{mem, time::Duration};

use super::{
    keys::PrefixKeys,
    members::{EtcdMember, EtcdMethod, EtcdUser},
    messages::{self, range_end},
    place,
    watch::{PrefixWatch, WatchEnd},
};
use crate::{
    discover::{
        set_reader::{FoundSet, SetSource},
        source_stream::SourceSettings,
    },
    error::BoxError,
    grpc::GrpcViolation,
    upstream::{Client, ClientBuilder},
};

/// A watch that has lasted for less than this is a failure when it ends, and not followed by another one at once.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

/// Which keys are watched, and how.
#[derive(Clone, Debug)]
pub(super) struct EtcdSettings {
    /// The URLs of the members, of which there is at least one.
    pub(super) members: Vec<String>,
    pub(super) prefix: Vec<u8>,
    pub(super) user: Option<EtcdUser>,
    /// How members are connected to.
    pub(super) member_client: ClientBuilder,
    /// How endpoints are.
    pub(super) client: ClientBuilder,
    /// How long a member may take to answer.
    pub(super) timeout: Duration,
    /// After what time without a message a watch is asked for one.
    pub(super) heartbeat: Duration,
}

/// A prefix as a source.
pub(super) struct EtcdSource {
    settings: EtcdSettings,
    /// Which member is asked first.
    member: usize,
    /// Clients of the members, once they were needed.
    clients: Vec<Client>,
    keys: PrefixKeys,
    watch: Option<PrefixWatch>,
    /// Whether the last watch was compacted as soon as it had begun.
    was_compacted: bool,
}

impl SourceSettings for EtcdSettings {
    type Source = EtcdSource;

    fn source(&self) -> EtcdSource {
        EtcdSource {
            settings: self.clone(),
            member: 0,
            clients: Vec::new(),
            keys: PrefixKeys::default(),
            watch: None,
            was_compacted: false,
        }
    }
}

impl SetSource for EtcdSource {
    async fn next_set(&mut self) -> Result<Option<FoundSet>, BoxError> {
        if let Some(mut watch) = self.watch.take() {
            let change = watch.change(&mut self.keys).await;
            let is_short = watch.begun.elapsed() < SHORTEST_WATCH;
            match change {
                Ok(is_other) => {
                    self.watch = Some(watch);
                    return Ok(is_other.then(|| self.found()));
                }
                Err(WatchEnd::Compacted) => {
                    // A list may take longer than revisions are kept. If it always does, a pause is due.
                    if mem::replace(&mut self.was_compacted, is_short) && is_short {
                        self.member += 1;
                        return Err(watch.error("Watch was compacted as soon as it had begun"));
                    }
                    tracing::debug!("the watch of etcd was compacted; the keys are listed again");
                }
                Err(WatchEnd::Failed(error)) => {
                    self.was_compacted = false;
                    // Another member may be better.
                    self.member += 1;
                    if is_short {
                        return Err(error);
                    }
                    tracing::debug!(
                        error,
                        "the watch of etcd has ended; the keys are listed again"
                    );
                }
            }
        }
        self.list().await?;
        Ok(Some(self.found()))
    }
}

impl EtcdSource {
    /// Lists the keys and begins to watch them, at the first member that lets both be done.
    ///
    /// # Errors
    ///
    /// That of the last member, if there is none.
    async fn list(&mut self) -> Result<(), BoxError> {
        if self.clients.is_empty() {
            let EtcdSettings {
                members,
                member_client,
                ..
            } = &self.settings;
            let built: Result<_, _> = members
                .iter()
                .map(|url| place::member_client(member_client, url))
                .collect();
            self.clients = built?;
        }
        let mut tried = 0;
        loop {
            let client = self.clients[self.member % self.clients.len()].clone();
            match list_at(&self.settings, client).await {
                Ok((keys, watch)) => {
                    (self.keys, self.watch) = (keys, Some(watch));
                    return Ok(());
                }
                Err(error) => {
                    self.member += 1;
                    tried += 1;
                    if tried == self.clients.len() {
                        return Err(error);
                    }
                    tracing::debug!(error, "a member of etcd has failed; the next one is asked");
                }
            }
        }
    }

    /// Returns the endpoints of the keys as they are.
    fn found(&self) -> FoundSet {
        let prefix = String::from_utf8_lossy(&self.settings.prefix);
        let nothing = format!("etcd has no keys that begin with {prefix}");
        self.keys.endpoints(&self.settings.client, nothing)
    }
}

/// Lists the keys at one member, all of one revision, and begins to watch what comes after that.
async fn list_at(
    settings: &EtcdSettings,
    client: Client,
) -> Result<(PrefixKeys, PrefixWatch), BoxError> {
    let EtcdSettings {
        prefix,
        user,
        timeout,
        heartbeat,
        ..
    } = settings;
    let member = EtcdMember::connect(client, user.as_ref(), *timeout).await?;
    let end = range_end(prefix);
    let (mut from, mut revision) = (prefix.clone(), 0);
    let mut keys = PrefixKeys::default();
    loop {
        let request = messages::range(&from, &end, revision);
        let answer = member.call(EtcdMethod::Range, request).await?;
        let page = messages::KeyPage::of(&answer)
            .map_err(|error| member.violation(EtcdMethod::Range, error))?;
        if revision == 0 {
            revision = page.revision;
        }
        if page.has_more && page.keys.is_empty() {
            let empty = GrpcViolation("an empty page that is not the last one");
            return Err(member.violation(EtcdMethod::Range, empty).into());
        }
        for change in page.keys {
            // So that each page goes on, and the list has an end.
            if change.key < from {
                let again = GrpcViolation("keys that were not asked for");
                return Err(member.violation(EtcdMethod::Range, again).into());
            }
            // The first key behind this one.
            from.clone_from(&change.key);
            from.push(0);
            keys.apply(change)?;
        }
        if !page.has_more {
            break;
        }
    }
    let request = messages::watch(prefix, &end, revision + 1);
    let watch = PrefixWatch::begin(member, request, *heartbeat).await?;
    Ok((keys, watch))
}
