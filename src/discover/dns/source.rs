//! A name in DNS as a source of endpoints: when it is looked up, and what its records become.

use std::{collections::HashMap, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    addresses::{HostAddresses, ask_addresses},
    error::DnsError,
    resolver::{NameServers, Questioner},
    service::{ServiceServer, ask_hosts, ask_service},
};
use crate::{
    clock::after,
    discover::{
        families::Families,
        place::EndpointPlace,
        set_reader::{FoundSet, SetSource, SkippedEntry},
        source_stream::SourceSettings,
    },
    error::BoxError,
    upstream::ClientBuilder,
};

/// The longest time for which it is believed that there is nothing. Whoever adds the first records would wait for that.
const LONGEST_NOTHING: Duration = Duration::from_secs(30);

/// What is looked up, and how.
#[derive(Clone, Debug)]
pub(super) struct DnsSettings {
    pub(super) place: EndpointPlace,
    pub(super) records: Records,
    pub(super) families: Families,
    pub(super) servers: NameServers,
    pub(super) client: ClientBuilder,
    /// The shortest and the longest time from one lookup to the next.
    pub(super) min_ttl: Duration,
    pub(super) max_ttl: Duration,
}

/// Which records have the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Records {
    /// A and AAAA.
    Addresses,
    /// SRV.
    Services,
}

/// A name in DNS as a source.
pub(super) struct DnsSource {
    settings: DnsSettings,
    /// When the last answer expires. `None` before the first one, and after a failure.
    due: Option<Instant>,
    /// The last addresses of each host.
    known: HashMap<String, HostAddresses>,
}

impl SourceSettings for DnsSettings {
    type Source = DnsSource;

    fn source(&self) -> DnsSource {
        DnsSource {
            settings: self.clone(),
            due: None,
            known: HashMap::new(),
        }
    }
}

impl SetSource for DnsSource {
    async fn next_set(&mut self) -> Result<Option<FoundSet>, BoxError> {
        if let Some(due) = self.due.take() {
            sleep_until(due).await;
        }
        let (set, ttl) = match self.look_up().await {
            Ok(found) => found,
            Err(error) if error.is_answer() => {
                // The name may be in a hosts file or below a domain that is new.
                self.settings.servers.read_again();
                let ttl = error.ttl().unwrap_or_default().min(LONGEST_NOTHING);
                (FoundSet::nothing(error), ttl)
            }
            Err(error) => {
                self.settings.servers.read_again();
                return Err(error.into());
            }
        };
        self.due = Some(after(Instant::now(), self.refresh_after(ttl)));
        Ok(Some(set))
    }
}

impl DnsSource {
    /// Looks the name up, and returns for how long the answer is valid.
    async fn look_up(&mut self) -> Result<(FoundSet, Duration), DnsError> {
        let questioner = self.settings.servers.questioner().await?;
        match self.settings.records {
            Records::Addresses => self.addresses(&questioner).await,
            Records::Services => self.services(&questioner).await,
        }
    }

    /// Makes an endpoint of each address of the name.
    async fn addresses(
        &mut self,
        questioner: &Questioner,
    ) -> Result<(FoundSet, Duration), DnsError> {
        let DnsSettings {
            place,
            client,
            families,
            ..
        } = &self.settings;
        let before = self.known.get(&place.name);
        let found = ask_addresses(questioner, &place.name, *families, before).await?;
        let mut set = FoundSet::nothing(DnsError::no_records(&place.name));
        for ip in found.all() {
            set.add(ip.to_string(), place.at(client, ip));
        }
        let ttl = found.ttl;
        self.known = HashMap::from([(place.name.clone(), found)]);
        Ok((set, ttl))
    }

    /// Makes an endpoint of each server of the service.
    async fn services(
        &mut self,
        questioner: &Questioner,
    ) -> Result<(FoundSet, Duration), DnsError> {
        let DnsSettings {
            place,
            client,
            families,
            ..
        } = &self.settings;
        let records = ask_service(questioner, &place.name).await?;
        let mut hosts: Vec<_> = records
            .servers
            .iter()
            .map(|server| server.host.clone())
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        let found = ask_hosts(questioner, hosts, *families, &self.known).await;
        let mut ttl = records.ttl;
        let mut set = FoundSet::nothing(DnsError::no_records(&place.name));
        if records.servers.is_empty() {
            set.doubt = None;
        }
        let mut known = HashMap::new();
        for server in records.servers {
            let ServiceServer { host, port, .. } = &server;
            let entry = format!("{host}:{port}");
            // A host of which nothing is heard now is where it was. One that has no addresses is gone.
            let before = |error: &DnsError| match error.is_answer() {
                true => None,
                false => self.known.get(host),
            };
            let addresses = match found.get(host) {
                Some(Ok(addresses)) => addresses.clone(),
                Some(Err(error)) => match before(error) {
                    Some(addresses) => addresses.clone(),
                    None => {
                        let cause = error.to_string().into();
                        set.skipped.push(SkippedEntry { entry, cause });
                        continue;
                    }
                },
                None => continue,
            };
            ttl = ttl.min(addresses.ttl);
            let located = place.of_host(client, host, *port, addresses.all());
            let located = located.and_then(|mut located| {
                located.spec = located.spec.weight(server.weight)?.priority(server.tier);
                Ok(located)
            });
            set.add(entry, located);
            known.insert(server.host, addresses);
        }
        self.known = known;
        Ok((set, ttl))
    }

    /// Returns after what time the name is looked up again, of which the answer is valid for `ttl`.
    fn refresh_after(&self, ttl: Duration) -> Duration {
        let DnsSettings {
            min_ttl, max_ttl, ..
        } = &self.settings;
        spread(ttl.min(*max_ttl).max(*min_ttl), fastrand::f64())
    }
}

/// Returns a time up to a tenth longer than `ttl`. `random` is from 0 to 1.
///
/// Processes that asked at the same time do not do so for ever, and a name server in between, whose own copy expires at
/// the same moment, has a new one.
fn spread(ttl: Duration, random: f64) -> Duration {
    ttl.saturating_add((ttl / 10).mul_f64(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_when_its_records_have_expired() {
        let settings = |min_ttl, max_ttl| DnsSettings {
            place: EndpointPlace::new("http://a").unwrap(),
            records: Records::Addresses,
            families: Families::Both,
            servers: NameServers::new(Duration::MAX),
            client: ClientBuilder::default(),
            min_ttl: Duration::from_secs(min_ttl),
            max_ttl: Duration::from_secs(max_ttl),
        };
        for (ttl, min, max, expected) in [
            (30, 1, 300, 30),
            (0, 1, 300, 1),
            (86_400, 1, 300, 300),
            // The floor counts, if both cannot hold.
            (30, 10, 5, 10),
        ] {
            let source = settings(min, max).source();
            let after = source.refresh_after(Duration::from_secs(ttl)).as_secs_f64();
            let expected = f64::from(expected);
            assert!(
                (expected..=expected * 1.1).contains(&after),
                "{ttl}: {after}"
            );
        }
        assert_eq!(spread(Duration::MAX, 1.0), Duration::MAX);
    }
}
