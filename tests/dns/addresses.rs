//! Endpoints by the A and AAAA records of a name.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum_upstream::{LoadBalance, discover::Dns};
use tokio::task::JoinSet;

use super::{
    Servers, endpoints, eventually, host, names, quick, send,
    server::{NameServer, Reply},
    wire::{Data, Record, Type},
    within,
};

/// A cluster at `api.test` and a port.
fn cluster(server: &NameServer, port: u16) -> LoadBalance {
    let dns = Dns::addresses(&format!("http://api.test:{port}")).unwrap();
    LoadBalance::builder()
        .seed(1)
        .discover(quick(dns, server))
        .unwrap()
}

/// Each address is an endpoint, and `Host` stays the name.
#[tokio::test]
async fn each_address_is_an_endpoint() {
    within(async {
        let (server, servers) = (NameServer::start().await, Servers::start(3).await);
        server.set_v4("api.test", 60, [host(1), host(2), host(3)]);
        let balance = cluster(&server, servers.port);
        // The first answer is waited for.
        let mut answered = BTreeSet::new();
        for _ in 0..60 {
            let (ip, sent) = send(&balance).await;
            assert_eq!(sent, format!("api.test:{}", servers.port));
            answered.insert(ip);
        }
        assert_eq!(answered, [1, 2, 3].map(host).map(IpAddr::V4).into());
        let expected = [1, 2, 3].map(|nth| (servers.name(nth), 1, 0));
        assert_eq!(endpoints(&balance), expected);
        // A and AAAA, once each: a minute has not passed.
        assert_eq!(server.asked().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn both_families_and_a_base_path() {
    let server = NameServer::start().await;
    server.set_v4("api.test", 60, [Ipv4Addr::new(10, 0, 0, 1)]);
    let v6 = Data::Aaaa(Ipv6Addr::LOCALHOST);
    server.set(
        "api.test",
        Type::Aaaa,
        Reply::Records(vec![Record::new(60, v6)]),
    );
    let found = async |dns: Dns| {
        let balance = LoadBalance::builder()
            .discover(quick(dns, &server))
            .unwrap();
        eventually(|| !names(&balance).is_empty()).await;
        names(&balance)
    };
    let dns = || Dns::addresses("http://api.test/base").unwrap();
    let (v4, v6) = ("http://10.0.0.1/base", "http://[::1]/base");
    assert_eq!(found(dns()).await, [v4, v6]);
    assert_eq!(found(dns().ipv4_only()).await, [v4]);
    assert_eq!(found(dns().ipv6_only()).await, [v6]);
}

/// What leaves drains, what stays keeps its connections, and no request is lost while the records change all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_records_change() {
    within(async {
        let (server, servers) = (NameServer::start().await, Servers::start(4).await);
        server.set_v4("api.test", 0, [host(1), host(2)]);
        let balance = cluster(&server, servers.port);
        send(&balance).await;
        let (done, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (balance, done, sent) = (balance.clone(), done.clone(), sent.clone());
            clients.spawn(async move {
                while !done.load(Relaxed) {
                    // Fails the test if it is not answered.
                    send(&balance).await;
                    sent.fetch_add(1, Relaxed);
                }
            });
        }
        let sets: [&[u8]; 5] = [&[2, 1], &[1, 2, 3], &[3], &[4, 3, 1], &[2]];
        for set in sets.iter().cycle().take(30) {
            server.set_v4("api.test", 0, set.iter().copied().map(host));
            let mut expected: Vec<_> = set.iter().map(|nth| servers.name(*nth)).collect();
            expected.sort();
            eventually(|| names(&balance) == expected).await;
        }
        done.store(true, Relaxed);
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        assert!(sent.load(Relaxed) > 30);
    })
    .await;
}

/// An answer that does not fit into a datagram is asked for over TCP.
#[tokio::test]
async fn three_hundred_addresses() {
    let server = NameServer::start().await;
    let hosts = (0..300_u32).map(|nth| Ipv4Addr::from_bits(0x0a00_0001 + nth));
    server.set_v4("api.test", 60, hosts);
    let balance = cluster(&server, 80);
    eventually(|| names(&balance).len() == 300).await;
    let over_tcp =
        |of| move |asked: &super::server::Asked| asked.over_tcp && asked.question.of == of;
    assert!(server.asked().iter().any(over_tcp(Type::A)));
    assert!(
        !server.asked().iter().any(over_tcp(Type::Aaaa)),
        "that one is short"
    );
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_over_tcp() {
    let server = NameServer::start().await;
    server.truncate();
    server.set_v4("api.test", 60, [host(1)]);
    let balance = cluster(&server, 80);
    eventually(|| names(&balance) == ["http://127.0.0.1:80"]).await;
}

#[tokio::test]
async fn a_chain_of_other_names_is_followed() {
    let server = NameServer::start().await;
    for (name, target) in [("api.test", "b.test"), ("b.test", "c.test")] {
        let cname = Record::new(60, Data::Cname(target));
        server.set_both(name, &Reply::Records(vec![cname]));
    }
    server.set_v4("c.test", 60, [host(1)]);
    let balance = cluster(&server, 80);
    eventually(|| names(&balance) == ["http://127.0.0.1:80"]).await;
}

/// A record is asked for again when its time to live is over, and no sooner.
#[tokio::test]
async fn a_record_lives_as_long_as_it_says() {
    let server = NameServer::start().await;
    server.set_v4("api.test", 1, [host(1)]);
    let dns = Dns::addresses("http://api.test").unwrap().ipv4_only();
    let balance = LoadBalance::builder()
        .discover(quick(dns, &server))
        .unwrap();
    eventually(|| server.asked().len() == 2).await;
    let asked = server.asked();
    let lived = asked[1].at - asked[0].at;
    assert!(lived >= Duration::from_millis(1000), "{lived:?}");
    assert_eq!(names(&balance), ["http://127.0.0.1"]);
}
