//! Endpoints by etcd.

use super::{
    super::{super::data::EtcdConfig, client::client, place::SettingPlace},
    build_over::BuildOver,
    inherited::InheritedStream,
};
use crate::{discover::Etcd, upstream::ClientBuilder};

pub(super) fn keys(
    config: &EtcdConfig,
    endpoints: &ClientBuilder,
    at: &SettingPlace<'_>,
) -> Option<BuildOver> {
    if config.prefix.is_empty() {
        at.refuse("missing field \"prefix\"");
        return None;
    }
    at.key("prefix").take(Etcd::prefix(&config.prefix));
    for (nth, url) in config.member.iter().enumerate() {
        let made = Etcd::prefix("http://localhost/a").and_then(|etcd| etcd.member(url));
        at.key("member").item(nth).take(made);
    }
    if let Some(prefix) = &config.key_prefix {
        let etcd = Etcd::prefix("http://localhost/a");
        let made = etcd.and_then(|etcd| etcd.key_prefix(prefix.as_str()));
        at.key("key_prefix").take(made)?;
    }
    let user = match &config.user {
        Some(user) => {
            let password = at.key("user").key("password").text(&user.password)?;
            Some((user.name.clone(), password))
        }
        None => None,
    };
    let members = config.member_client.as_ref();
    let members = members.and_then(|config| client(config, &at.key("member_client")));
    let (config, endpoints) = (config.clone(), endpoints.clone());
    Some(Box::new(move |builder, inherited| {
        let mut etcd = Etcd::prefix(&config.prefix)?.client(endpoints.clone());
        for url in &config.member {
            etcd = etcd.member(url)?;
        }
        if let Some(prefix) = &config.key_prefix {
            etcd = etcd.key_prefix(prefix.as_str())?;
        }
        if let Some((name, password)) = &user {
            etcd = etcd.user(name.as_str(), password.as_str());
        }
        if let Some(settings) = &members {
            etcd = etcd.member_client(settings.clone());
        }
        if let Some(timeout) = config.timeout {
            etcd = etcd.timeout(timeout.0);
        }
        if let Some(interval) = config.heartbeat {
            etcd = etcd.heartbeat(interval.0);
        }
        if config.allow_empty {
            etcd = etcd.allow_empty();
        }
        builder.discover(InheritedStream::new(inherited, etcd))
    }))
}
