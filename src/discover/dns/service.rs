//! The servers of a service, by SRV records (RFC 2782).

use std::{collections::HashMap, time::Duration};

use hickory_resolver::proto::rr::{RData, RecordType, rdata::SRV};
use tokio::task::JoinSet;

use super::{
    addresses::{HostAddresses, ask_addresses},
    error::DnsError,
    resolver::Questioner,
};
use crate::discover::families::Families;

/// How many hosts are asked for at once. Twice as many questions are below the 32 that hickory has on one connection.
const AT_ONCE: usize = 8;

/// A server of a service, and where it is.
pub(super) struct ServiceServer {
    /// Its host name, without a dot at the end.
    pub(super) host: String,
    pub(super) port: u16,
    /// The rank of its priority among those of all records: 0 for those that are to be used first.
    pub(super) tier: u8,
    /// At least 1.
    pub(super) weight: u32,
}

/// The records of a service.
pub(super) struct ServiceRecords {
    pub(super) servers: Vec<ServiceServer>,
    pub(super) ttl: Duration,
}

/// Asks for the servers of the service `name`. None are a statement that the service is not to be had.
///
/// # Errors
///
/// There are no records, or there was no answer.
pub(super) async fn ask_service(
    questioner: &Questioner,
    name: &str,
) -> Result<ServiceRecords, DnsError> {
    let answer = questioner.ask(name, RecordType::SRV).await?;
    let mut records: Vec<_> = answer.records.iter().filter_map(as_srv).collect();
    // RFC 2782: "A Target of "." means that the service is decidedly not available at this domain."
    records.retain(|record| !record.target.is_root());
    let mut priorities: Vec<_> = records.iter().map(|record| record.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let tier = |priority| {
        let rank = priorities.iter().position(|other| *other == priority);
        rank.and_then(|rank| rank.try_into().ok())
            .unwrap_or(u8::MAX)
    };
    let server = |record: &SRV| {
        let host = record.target.to_utf8();
        ServiceServer {
            host: host.trim_end_matches('.').to_owned(),
            port: record.port,
            tier: tier(record.priority),
            // "Weights of 0 should have a very small chance of being selected."
            weight: u32::from(record.weight).max(1),
        }
    };
    let mut servers: Vec<_> = records.into_iter().map(server).collect();
    // Name servers rotate their records.
    servers.sort_by(|a, b| (a.tier, &a.host, a.port).cmp(&(b.tier, &b.host, b.port)));
    Ok(ServiceRecords {
        servers,
        ttl: answer.ttl,
    })
}

/// Returns the SRV record, if it is one.
fn as_srv(record: &RData) -> Option<&SRV> {
    match record {
        RData::SRV(record) => Some(record),
        _ => None,
    }
}

/// Asks for the addresses of several hosts. `before` has the last answer of each.
///
/// # Cancel safety
///
/// Dropping the future gives all questions up.
pub(super) async fn ask_hosts(
    questioner: &Questioner,
    hosts: Vec<String>,
    families: Families,
    before: &HashMap<String, HostAddresses>,
) -> HashMap<String, Result<HostAddresses, DnsError>> {
    let mut found = HashMap::new();
    let mut hosts = hosts.into_iter();
    // Dropped with the future, it ends its tasks.
    let mut asking = JoinSet::new();
    loop {
        while asking.len() < AT_ONCE {
            let Some(host) = hosts.next() else { break };
            let (questioner, before) = (questioner.clone(), before.get(&host).cloned());
            asking.spawn(async move {
                let addresses = ask_addresses(&questioner, &host, families, before.as_ref()).await;
                (host, addresses)
            });
        }
        match asking.join_next().await {
            Some(Ok((host, addresses))) => drop(found.insert(host, addresses)),
            // A panic of the library: the host has no answer.
            Some(Err(_)) => {}
            None => return found,
        }
    }
}
