//! The addresses of a host.

use std::{net::IpAddr, time::Duration};

use hickory_resolver::proto::rr::{RData, RecordType};

use super::{
    error::DnsError,
    resolver::{DnsAnswer, Questioner},
};
use crate::discover::families::Families;

/// The addresses of a host, by family. A family whose question has failed keeps those of the answer before.
#[derive(Clone, Debug, Default)]
pub(super) struct HostAddresses {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    /// For how long they are valid: less for a family that exists, or else as long as it is said to have none.
    pub(super) ttl: Duration,
}

impl HostAddresses {
    /// Returns all addresses, sorted, each once.
    pub(super) fn all(&self) -> Vec<IpAddr> {
        let mut all: Vec<_> = self.v4.iter().chain(&self.v6).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Asks for the addresses of `host`, of which `before` was the last answer.
///
/// # Errors
///
/// A failure if there is no address and a question has failed. Otherwise that the name does not exist, or that it has
/// no addresses.
pub(super) async fn ask_addresses(
    questioner: &Questioner,
    host: &str,
    families: Families,
    before: Option<&HostAddresses>,
) -> Result<HostAddresses, DnsError> {
    let ask = |of, is_asked| async move {
        match is_asked {
            true => Some(questioner.ask(host, of).await),
            false => None,
        }
    };
    let (v4, v6) = tokio::join!(
        ask(RecordType::A, families.have_v4()),
        ask(RecordType::AAAA, families.have_v6())
    );
    combine(v4, v6, before)
}

/// What was answered to one question, if it was asked.
type Answered = Option<Result<DnsAnswer, DnsError>>;

/// Combines the answers for both families.
fn combine(
    v4: Answered,
    v6: Answered,
    before: Option<&HostAddresses>,
) -> Result<HostAddresses, DnsError> {
    let mut found = HostAddresses::default();
    let (mut ttl, mut failure, mut nothing) = (None::<Duration>, None, None);
    let before = before.map_or((&[][..], &[][..]), |before| {
        (&before.v4[..], &before.v6[..])
    });
    let families = [(v4, &mut found.v4, before.0), (v6, &mut found.v6, before.1)];
    for (answered, addresses, before) in families {
        match answered {
            Some(Ok(answer)) => {
                addresses.extend(answer.records.iter().filter_map(RData::ip_addr));
                ttl = Some(ttl.map_or(answer.ttl, |ttl| ttl.min(answer.ttl)));
            }
            Some(Err(error)) if error.is_answer() => nothing = nothing.or(Some(error)),
            Some(Err(error)) => {
                // The other family goes on, and this one is as it was: an answer that did not come says nothing.
                addresses.extend_from_slice(before);
                failure = failure.or(Some(error));
            }
            None => {}
        }
    }
    match (ttl, failure, nothing) {
        (Some(ttl), failure, _) => {
            if let Some(error) = failure {
                tracing::debug!(%error, "one family of addresses is as it was");
            }
            found.ttl = ttl;
            Ok(found)
        }
        (None, Some(error), _) | (None, None, Some(error)) => Err(error),
        // Nothing was asked for, which no `Families` says.
        (None, None, None) => Ok(found),
    }
}
