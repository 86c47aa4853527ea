//! Questions to name servers, by hickory-resolver.
//!
//! hickory repeats a question that is not answered, follows chains of CNAMEs, asks over TCP where an answer over UDP
//! was truncated, and reads the settings of the system. Its cache is not used: a question is asked when the answer
//! before has expired.

use std::{net::SocketAddr, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{DnsError as Semantic, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{RData, RecordType},
    },
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::error::{DnsError, DnsErrorKind};
use crate::error::BoxError;

/// For how long the settings of the system are used before they are read again.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// Which name servers are asked.
#[derive(Clone, Debug)]
pub(super) struct NameServers {
    /// If there are none, those of the system.
    own: Vec<SocketAddr>,
    /// How long a question may take, all repetitions included.
    pub(super) timeout: Duration,
    /// What asks them, and when it was made.
    current: Option<(Instant, TokioResolver)>,
}

/// Asks one set of name servers. Clones share their connections.
#[derive(Clone)]
pub(super) struct Questioner {
    resolver: TokioResolver,
    timeout: Duration,
}

/// Records, and for how long they are valid: the least of their times to live, those of CNAMEs included.
pub(super) struct DnsAnswer {
    pub(super) records: Vec<RData>,
    pub(super) ttl: Duration,
}

impl NameServers {
    /// Creates those of the system.
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            own: Vec::new(),
            timeout,
            current: None,
        }
    }

    /// Adds one of the user's, in place of those of the system.
    pub(super) fn add(&mut self, server: SocketAddr) {
        self.own.push(server);
    }

    /// Makes the next question go by settings that are read anew, since the last one has failed.
    pub(super) fn read_again(&mut self) {
        self.current = None;
    }

    /// Returns what asks the name servers.
    ///
    /// # Errors
    ///
    /// The settings of the system cannot be read.
    pub(super) async fn questioner(&mut self) -> Result<Questioner, DnsError> {
        let is_old = |made: &Instant| self.own.is_empty() && made.elapsed() > READ_AGAIN;
        let resolver = match &self.current {
            Some((made, resolver)) if !is_old(made) => resolver.clone(),
            _ => {
                let resolver = resolver(self.own.clone()).await?;
                self.current = Some((Instant::now(), resolver.clone()));
                resolver
            }
        };
        Ok(Questioner {
            resolver,
            timeout: self.timeout,
        })
    }
}

/// Makes what asks these name servers, or those of the system if there are none.
async fn resolver(own: Vec<SocketAddr>) -> Result<TokioResolver, DnsError> {
    let fail = |cause: BoxError| {
        let question = "/etc/resolv.conf".to_owned();
        DnsError::new(question, DnsErrorKind::Other).with(cause)
    };
    let make = move || -> Result<TokioResolver, NetError> {
        let mut builder = if own.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let provider = TokioRuntimeProvider::default();
            let mut builder = TokioResolver::builder_with_config(config(&own), provider);
            builder.options_mut().use_hosts_file = ResolveHosts::Never;
            builder
        };
        builder.options_mut().cache_size = 0;
        builder.build()
    };
    // It reads files.
    let made = spawn_blocking(make).await;
    made.map_err(|error| fail(error.into()))?
        .map_err(|error| fail(error.into()))
}

/// Returns the configuration of name servers at these addresses, over UDP and TCP.
fn config(own: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        let connections = connections.map(|mut connection| {
            connection.port = address.port();
            connection
        });
        NameServerConfig::new(address.ip(), true, connections.into())
    };
    ResolverConfig::from_name_servers(own.iter().map(server).collect())
}

impl Questioner {
    /// Asks for the records of a type that a name has.
    ///
    /// # Errors
    ///
    /// There are none, or there was no answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the question up.
    pub(super) async fn ask(&self, name: &str, of: RecordType) -> Result<DnsAnswer, DnsError> {
        let question = || format!("{of} {name}");
        let lookup = match timeout(self.timeout, self.resolver.lookup(name, of)).await {
            Ok(Ok(lookup)) => lookup,
            Ok(Err(error)) => return Err(failure(question(), error)),
            Err(_) => return Err(DnsError::new(question(), DnsErrorKind::Timeout)),
        };
        let answers = lookup.answers();
        let ttl = answers.iter().map(|record| record.ttl).min().unwrap_or(0);
        let records = answers.iter().map(|record| &record.data);
        Ok(DnsAnswer {
            records: records
                .filter(|data| data.record_type() == of)
                .cloned()
                .collect(),
            ttl: Duration::from_secs(ttl.into()),
        })
    }
}

/// Tells the errors of hickory apart.
fn failure(question: String, error: NetError) -> DnsError {
    let error = match error {
        NetError::Dns(Semantic::NoRecordsFound(none)) => {
            let kind = match none.response_code {
                ResponseCode::NXDomain => DnsErrorKind::NoSuchName,
                ResponseCode::NoError => DnsErrorKind::NoRecords,
                _ => DnsErrorKind::ServerFailure,
            };
            let ttl = none.negative_ttl.map(|ttl| Duration::from_secs(ttl.into()));
            return DnsError::new(question, kind).valid_for(ttl);
        }
        error => error,
    };
    let kind = match &error {
        NetError::Dns(_) => DnsErrorKind::ServerFailure,
        NetError::Timeout => DnsErrorKind::Timeout,
        _ => DnsErrorKind::Other,
    };
    DnsError::new(question, kind).with(error)
}
