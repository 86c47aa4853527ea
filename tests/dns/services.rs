//! Endpoints by the SRV records of a service.

use std::net::IpAddr;

use axum_upstream::{LoadBalance, discover::Dns};

use super::{
    Servers, endpoints, eventually, host, impatient, last_error, names, quick, send,
    server::{NameServer, Reply},
    wire::{Data, Record, Type},
    within,
};

const SERVICE: &str = "_http._tcp.api.test";

fn srv(priority: u16, weight: u16, target: &'static str, port: u16) -> Record {
    let data = Data::Srv {
        priority,
        weight,
        port,
        target,
    };
    Record::new(0, data)
}

fn cluster(server: &NameServer) -> LoadBalance {
    let dns = Dns::srv("http://_http._tcp.api.test/base").unwrap();
    let dns = quick(dns, server).client(impatient());
    LoadBalance::builder().seed(1).discover(dns).unwrap()
}

fn set(server: &NameServer, records: &[Record]) {
    server.set(SERVICE, Type::Srv, Reply::Records(records.to_vec()));
}

/// Priorities become tiers by their rank, weights stay, and 0 is 1.
#[tokio::test]
async fn records_become_endpoints() {
    let server = NameServer::start().await;
    set(
        &server,
        &[
            srv(20, 5, "b.test", 81),
            srv(10, 3, "a.test", 80),
            srv(10, 0, "a.test", 90),
        ],
    );
    server.set_v4("a.test", 0, [host(1)]);
    server.set_v4("b.test", 0, [host(2), host(3)]);
    let balance = cluster(&server);
    let expected = |tier| {
        [
            ("http://a.test:80/base".to_owned(), 3, 0),
            ("http://a.test:90/base".to_owned(), 1, 0),
            ("http://b.test:81/base".to_owned(), 5, tier),
        ]
    };
    eventually(|| endpoints(&balance) == expected(1)).await;

    let records = [
        srv(7, 5, "b.test", 81),
        srv(7, 3, "a.test", 80),
        srv(7, 0, "a.test", 90),
    ];
    set(&server, &records);
    eventually(|| endpoints(&balance) == expected(0)).await;
    set(&server, &records[..1]);
    eventually(|| names(&balance) == ["http://b.test:81/base"]).await;
}

/// A server that moves to another address is followed, and is sent its own name.
#[tokio::test]
async fn a_host_that_moves_is_followed() {
    within(async {
        let (server, servers) = (NameServer::start().await, Servers::start(2).await);
        set(&server, &[srv(0, 0, "a.test", servers.port)]);
        server.set_v4("a.test", 0, [host(1)]);
        let balance = cluster(&server);
        let expected = |nth| (IpAddr::V4(host(nth)), format!("a.test:{}", servers.port));
        assert_eq!(send(&balance).await, expected(1));
        server.set_v4("a.test", 0, [host(2)]);
        while send(&balance).await != expected(2) {}
        // A failure to find out where it is leaves it there.
        server.set_both("a.test", &Reply::Fails);
        let asked = server.asked().len();
        eventually(|| server.asked().len() > asked + 10).await;
        assert_eq!(send(&balance).await, expected(2));
    })
    .await;
}

/// A target that has no address does not take the others along.
#[tokio::test]
async fn a_bad_entry_is_skipped() {
    let server = NameServer::start().await;
    set(
        &server,
        &[
            srv(0, 0, "gone.test", 80),
            srv(0, 0, "a.test", 80),
            // A port that no URL can have.
            srv(0, 0, "a.test", 0),
        ],
    );
    server.set_v4("a.test", 0, [host(1)]);
    let balance = cluster(&server);
    eventually(|| names(&balance) == ["http://a.test:80/base"]).await;
    // When all are bad, that is as good as none.
    server.set_both("a.test", &Reply::NoSuchName);
    eventually(|| last_error(&balance).is_some()).await;
    assert_eq!(names(&balance), ["http://a.test:80/base"]);
}

/// RFC 2782: the target `.` says that there is no such service.
#[tokio::test]
async fn a_service_may_be_said_not_to_exist() {
    let server = NameServer::start().await;
    set(&server, &[srv(0, 0, "a.test", 80)]);
    server.set_v4("a.test", 0, [host(1)]);
    let balance = cluster(&server);
    eventually(|| names(&balance).len() == 1).await;
    set(&server, &[srv(0, 0, ".", 0)]);
    eventually(|| names(&balance).is_empty()).await;
    assert_eq!(last_error(&balance), None);
}

#[tokio::test]
async fn three_hundred_servers() {
    let server = NameServer::start().await;
    let records: Vec<_> = (0..300_u16)
        .map(|nth| srv(0, 1, "a.test", 1000 + nth))
        .collect();
    set(&server, &records);
    server.set_v4("a.test", 0, [host(1)]);
    let balance = cluster(&server);
    eventually(|| names(&balance).len() == 300).await;
}
