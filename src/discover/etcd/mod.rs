//! [`Etcd`]: endpoints that are the values of the keys of a prefix.

mod keys;
mod members;
mod messages;
mod place;
mod source;
mod upload;
mod watch;

use std::time::Duration;

use self::{
    members::EtcdUser,
    place::{member_url, prefix_of},
    source::EtcdSettings,
};
use super::source_stream::{SHORTEST_TIME, SourceStream, discovers};
use crate::{error::Error, upstream::ClientBuilder};

/// Discovers endpoints in etcd: each key that begins with a prefix has one as its value.
///
/// It is a [`Discover`](super::Discover), to be given to
/// [`LoadBalanceBuilder::discover`](crate::balance::LoadBalanceBuilder::discover):
///
/// ```no_run
/// use axum_upstream::{LoadBalance, discover::Etcd};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), axum_upstream::Error> {
/// let api = Etcd::prefix("http://10.0.0.1:2379/services/api/")?.member("http://10.0.0.2:2379")?;
/// let backends = LoadBalance::builder().discover(api)?;
/// # Ok(())
/// # }
/// ```
///
/// A value is a URL with the options of [`EndpointSpec::url`](crate::EndpointSpec::url), or a table in JSON of which
/// only the URL is required. `weight` is 1 by default, and `priority`, the [tier](crate::EndpointSpec::priority), 0:
///
/// ```text
/// etcdctl put /services/api/1 'http://10.0.1.1:8080'
/// etcdctl put /services/api/2 'http://10.0.1.2:8080;weight=2'
/// etcdctl put /services/api/3 '{"url": "http://10.0.1.3:8080", "weight": 2, "priority": 1}'
/// ```
///
/// A server that puts its own key should do so with a lease that it keeps alive: then the key goes when it does. The
/// name of a key does not matter. Two keys with the same URL are one endpoint.
///
/// # What becomes of a change, and of a fault
///
/// | what happens | what becomes of it |
/// |---|---|
/// | a key is put, deleted, or its lease expires | it is told at once. An endpoint whose key has gone drains |
/// | a value is no endpoint | it is skipped, with a warning that names the key |
/// | there are no keys | an error, unless [`allow_empty`](Self::allow_empty) has it believed. The last set stays |
/// | the watch ends, or is compacted | the keys are listed again at once, from this member or the next one |
/// | the same as soon as the watch has begun | an error; of a compaction, the second one in a row |
/// | a member cannot be reached, answers too late, has lost the others, or is no etcd | the next one is asked |
/// | none of them answers | an error. The last set stays |
/// | a watch is silent | the member is asked whether it goes on, and left if it does not answer: see [`heartbeat`] |
/// | the user is not known, or may not read the keys | an error, with the text of etcd |
/// | etcd was restored, or begins anew | what it has then is the set |
///
/// Errors are in the log, the metrics and the status of the cluster. When all members have failed, they are asked again
/// after a pause that grows from 1 s to 30 s.
///
/// # Which versions
///
/// etcd 3.4 and later, over its gRPC interface. The keys are read as of one revision, and watched from there on.
///
/// [`heartbeat`]: Self::heartbeat
#[derive(Debug)]
pub struct Etcd(SourceStream<EtcdSettings>);

discovers!(Etcd);

impl Etcd {
    /// Discovers the endpoints of a prefix: the path of the URL, with the slash that it begins with. The rest of the
    /// URL is that of a member.
    ///
    /// `%` and two digits stand for one byte.
    ///
    /// # Errors
    ///
    /// A config error if it is no `http` or `https` URL with a path, or if it needs a feature that is off.
    pub fn prefix(url: &str) -> Result<Self, Error> {
        let prefix = prefix_of(url)?;
        Ok(Self(SourceStream::new(EtcdSettings {
            members: vec![member_url(url)?],
            prefix,
            user: None,
            member_client: ClientBuilder::default(),
            client: ClientBuilder::default(),
            timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(30),
        })))
    }

    /// Adds another member of the cluster, which is asked when one before it fails. A path of the URL is ignored.
    ///
    /// # Errors
    ///
    /// A config error as for [`prefix`](Self::prefix).
    pub fn member(mut self, url: &str) -> Result<Self, Error> {
        self.0.settings.members.push(member_url(url)?);
        Ok(self)
    }

    /// Sets the prefix, where keys do not begin with a slash. Default: the path of the URL.
    ///
    /// # Errors
    ///
    /// A config error if it is empty: all keys of etcd are not meant.
    pub fn key_prefix(mut self, prefix: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let prefix = prefix.into();
        if prefix.is_empty() {
            return Err(Error::config("prefix of etcd", "it must not be empty"));
        }
        self.0.settings.prefix = prefix;
        Ok(self)
    }

    /// Sets the user to authenticate as. Ignored if etcd has no authentication enabled. Default: none.
    ///
    /// The user needs the permission to read the prefix. The password is in no log, and goes over the connection as it
    /// is: use `https`.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.0.settings.user = Some(EtcdUser {
            name: name.into(),
            password: password.into(),
        });
        self
    }

    /// Sets how members are connected to: with [TLS settings](ClientBuilder::tls) that have other trust roots or a
    /// client's certificate, for example. Default: a [`ClientBuilder`] as it is.
    #[must_use]
    pub fn member_client(mut self, settings: ClientBuilder) -> Self {
        self.0.settings.member_client = settings;
        self
    }

    /// Sets how the endpoints are connected to. Default: a [`ClientBuilder`] as it is.
    #[must_use]
    pub fn client(mut self, settings: ClientBuilder) -> Self {
        self.0.settings.client = settings;
        self
    }

    /// Sets how long a member may take to answer before the next one is asked. Default: 5 s. Less than 100 ms
    /// counts as 100 ms.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.settings.timeout = timeout.max(SHORTEST_TIME);
        self
    }

    /// Sets after what time without a change the member is asked whether the watch goes on. Default: 30 s.
    ///
    /// Each answer is a success that the status shows. Without one for as long again, another member is asked. Less
    /// than 100 ms counts as 100 ms.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.0.settings.heartbeat = interval.max(SHORTEST_TIME);
        self
    }

    /// Believes a prefix without keys. Default: it is an error, and the last endpoints stay.
    ///
    /// The keys of servers that lost etcd for a while all expire at once, and the servers usually go on.
    #[must_use]
    pub fn allow_empty(mut self) -> Self {
        self.0.allows_empty = true;
        self
    }
}
