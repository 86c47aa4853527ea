//! What is made of answers that have no records, and of failures.

use std::time::Duration;

use axum_upstream::{
    LoadBalance,
    discover::{Dns, DnsError, DnsErrorKind},
};
use futures_util::StreamExt;
use tokio::net::UdpSocket;

use super::{
    eventually, host, last_error, names, quick,
    server::{NameServer, Reply},
    wire::{Data, Record, Type},
    within,
};

fn api() -> Dns {
    Dns::addresses("http://api.test").unwrap()
}

/// A cluster of one endpoint.
async fn one(server: &NameServer, dns: Dns) -> LoadBalance {
    server.set_v4("api.test", 0, [host(1)]);
    let balance = LoadBalance::builder().discover(quick(dns, server)).unwrap();
    eventually(|| names(&balance) == ["http://127.0.0.1"]).await;
    balance
}

/// The error that a name server causes.
async fn error(dns: Dns) -> DnsErrorKind {
    let error = within(dns.boxed().next()).await.unwrap().unwrap_err();
    error.downcast::<DnsError>().unwrap().kind()
}

#[tokio::test]
async fn failures_are_told_apart() {
    let server = NameServer::start().await;
    for (reply, expected) in [
        (Reply::NoSuchName, DnsErrorKind::NoSuchName),
        (Reply::Records(Vec::new()), DnsErrorKind::NoRecords),
        (Reply::Fails, DnsErrorKind::ServerFailure),
        (Reply::Refuses, DnsErrorKind::ServerFailure),
    ] {
        server.set_both("api.test", &reply);
        assert_eq!(error(quick(api(), &server)).await, expected, "{reply:?}");
    }
    server.set_both("api.test", &Reply::Silent);
    let hasty = quick(api(), &server).timeout(Duration::from_millis(200));
    assert_eq!(error(hasty).await, DnsErrorKind::Timeout);

    // A socket that takes datagrams of another one only: the port is not free, and what is sent there is refused.
    let refusing = UdpSocket::bind((host(1), 0)).await.unwrap();
    refusing.connect(server.address).await.unwrap();
    let refused = api().name_server(refusing.local_addr().unwrap());
    let hasty = refused.timeout(Duration::from_millis(200));
    assert_eq!(error(hasty).await, DnsErrorKind::Timeout);
}

/// A set that has become empty at once looks like a mistake: the last one stays.
#[tokio::test]
async fn an_empty_answer_keeps_the_endpoints() {
    let server = NameServer::start().await;
    let balance = one(&server, api()).await;
    for (reply, says) in [
        (Reply::NoSuchName, "NXDOMAIN"),
        (Reply::Records(Vec::new()), "no such records"),
        (Reply::Fails, "failed"),
    ] {
        server.set_both("api.test", &reply);
        eventually(|| last_error(&balance).is_some_and(|error| error.contains(says))).await;
        assert_eq!(names(&balance), ["http://127.0.0.1"]);
    }
    // It is followed again afterwards.
    server.set_v4("api.test", 0, [host(2)]);
    eventually(|| names(&balance) == ["http://127.0.0.2"]).await;
    assert_eq!(balance.status().discovery.unwrap().failures_in_a_row, 0);
}

#[tokio::test]
async fn an_empty_answer_is_believed_where_that_is_wanted() {
    let server = NameServer::start().await;
    let balance = one(&server, api().allow_empty()).await;
    server.set_both("api.test", &Reply::NoSuchName);
    eventually(|| names(&balance).is_empty()).await;
    assert_eq!(last_error(&balance), None);
    server.set_v4("api.test", 0, [host(1)]);
    eventually(|| names(&balance) == ["http://127.0.0.1"]).await;
    // A failure is no answer.
    server.set_both("api.test", &Reply::Fails);
    eventually(|| last_error(&balance).is_some()).await;
    assert_eq!(names(&balance), ["http://127.0.0.1"]);
}

/// One family that is not answered for stays as it was, and the other one is followed.
#[tokio::test]
async fn a_family_that_fails_stays() {
    let server = NameServer::start().await;
    let v6 = Record::new(0, Data::Aaaa("::1".parse().unwrap()));
    server.set_v4("api.test", 0, [host(1)]);
    server.set("api.test", Type::Aaaa, Reply::Records(vec![v6]));
    let balance = LoadBalance::builder()
        .discover(quick(api(), &server))
        .unwrap();
    eventually(|| names(&balance) == ["http://127.0.0.1", "http://[::1]"]).await;
    server.set_v4("api.test", 0, [host(2)]);
    server.set("api.test", Type::Aaaa, Reply::Fails);
    eventually(|| names(&balance) == ["http://127.0.0.2", "http://[::1]"]).await;
    // It is gone once it is said to be.
    server.set("api.test", Type::Aaaa, Reply::Records(Vec::new()));
    eventually(|| names(&balance) == ["http://127.0.0.2"]).await;
}

#[test]
fn what_cannot_be_discovered_is_refused() {
    for url in [
        "api.test",
        "http://10.0.0.1",
        "http://[::1]:80",
        "unix:/run/app.sock",
        "http://api.test/;weight=2",
        "http://api.test/?x",
    ] {
        assert!(Dns::addresses(url).unwrap_err().is_config(), "{url}");
        assert!(Dns::srv(url).unwrap_err().is_config(), "{url}");
    }
    assert!(
        Dns::srv("http://_http._tcp.api.test:80")
            .unwrap_err()
            .is_config()
    );
}
