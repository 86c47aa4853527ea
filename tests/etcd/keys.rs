//! What becomes of keys, and of members that are killed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
};
use axum_upstream::{LoadBalance, ReverseProxy, discover::Etcd};
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};

use super::{
    follow, prefix,
    server::EtcdCluster,
    support::{Load, Servers, becomes, endpoints, eventually, failing, fails},
};

/// Keys that are there, come, change and go.
#[tokio::test]
async fn keys_are_endpoints() {
    let Some(etcd) = EtcdCluster::start("keys", 1, &[]).await else {
        return;
    };
    etcd.put("/services/api/1", "http://a;weight=2").await;
    etcd.put("/services/apis", "http://other").await;
    let balance = follow(prefix(&etcd, 1));
    becomes(&balance, &["http://a"]).await;
    assert_eq!(endpoints(&balance), [("http://a".to_owned(), 2, 0)]);
    let json = r#"{"url": "http://b", "weight": 3, "priority": 1}"#;
    etcd.put("/services/api/2", json).await;
    becomes(&balance, &["http://a", "http://b"]).await;
    assert_eq!(endpoints(&balance)[1], ("http://b".to_owned(), 3, 1));
    // Another weight, another URL, and a value that is no endpoint.
    etcd.put("/services/api/2", r#"{"url": "http://b", "weight": 4}"#)
        .await;
    eventually(|| endpoints(&balance)[1] == ("http://b".to_owned(), 4, 0)).await;
    etcd.put("/services/api/1", "http://c").await;
    becomes(&balance, &["http://b", "http://c"]).await;
    etcd.put("/services/api/0", "nonsense").await;
    etcd.put("/services/api/3", "http://d").await;
    becomes(&balance, &["http://b", "http://c", "http://d"]).await;
    // The same endpoints under other keys, in another order.
    etcd.put("/services/api/9", "http://c").await;
    etcd.delete("/services/api/1").await;
    etcd.delete("/services/api/3").await;
    becomes(&balance, &["http://b", "http://c"]).await;
    assert_eq!(failing(&balance), None);
}

/// A server that has died is gone when its lease has expired.
#[tokio::test]
async fn a_lease_expires() {
    let Some(etcd) = EtcdCluster::start("lease", 1, &[]).await else {
        return;
    };
    etcd.put("/services/api/1", "http://a").await;
    etcd.put_for_a_while("/services/api/2", "http://b").await;
    let balance = follow(prefix(&etcd, 1));
    becomes(&balance, &["http://a", "http://b"]).await;
    becomes(&balance, &["http://a"]).await;
}

#[tokio::test]
async fn no_keys_are_no_set() {
    let Some(etcd) = EtcdCluster::start("empty", 1, &[]).await else {
        return;
    };
    let balance = follow(prefix(&etcd, 1));
    fails(&balance, "no keys that begin with /services/api/").await;
    etcd.put("/services/api/1", "http://a").await;
    becomes(&balance, &["http://a"]).await;
    let believing = follow(prefix(&etcd, 1).allow_empty());
    becomes(&believing, &["http://a"]).await;
    etcd.delete("/services/api/1").await;
    fails(&balance, "no keys").await;
    becomes(&balance, &["http://a"]).await;
    becomes::<&str>(&believing, &[]).await;
    etcd.put("/services/api/1", "http://b").await;
    becomes(&balance, &["http://b"]).await;
}

/// More keys than one page of a list has.
#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let Some(etcd) = EtcdCluster::start("pages", 1, &["--unsafe-no-fsync"]).await else {
        return;
    };
    let url = |nth: usize| format!("http://10.0.{}.{}", nth / 200, nth % 200 + 1);
    for nth in 0..2100 {
        etcd.put(&format!("/services/api/{nth}"), &url(nth)).await;
    }
    let balance = follow(prefix(&etcd, 1));
    eventually(|| endpoints(&balance).len() == 2100).await;
}

/// While there are no changes, etcd is asked whether that is so. Each answer is a success.
#[tokio::test]
async fn silence_is_asked_about() {
    let Some(etcd) = EtcdCluster::start("silence", 1, &[]).await else {
        return;
    };
    etcd.put("/services/api/1", "http://a").await;
    let balance = follow(prefix(&etcd, 1).heartbeat(Duration::from_millis(100)));
    becomes(&balance, &["http://a"]).await;
    let success = |balance: &LoadBalance| balance.status().discovery.unwrap().last_success;
    for _ in 0..3 {
        let last = success(&balance);
        eventually(|| success(&balance) > last).await;
    }
    assert_eq!(failing(&balance), None);
}

/// No request is lost while keys change, and while etcd is killed and started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_on_whatever_becomes_of_etcd() {
    let Some(mut etcd) = EtcdCluster::start("load", 1, &[]).await else {
        return;
    };
    let servers = Servers::start(3).await;
    let urls = &servers.urls;
    etcd.put("/services/api/0", &urls[0]).await;
    let balance = follow(prefix(&etcd, 1));
    becomes(&balance, &urls[..1]).await;
    let load = Load::start(&balance);
    for _ in 0..3 {
        etcd.put("/services/api/1", &urls[1]).await;
        etcd.delete("/services/api/0").await;
        becomes(&balance, &urls[1..2]).await;
        etcd.put("/services/api/2", &urls[2]).await;
        becomes(&balance, &urls[1..]).await;
        load.go_on(50).await;
        etcd.kill(0);
        fails(&balance, "connect failed").await;
        load.go_on(50).await;
        etcd.start_again(0).await;
        // Whatever has changed before it was listed again.
        etcd.put("/services/api/0", &urls[0]).await;
        etcd.delete("/services/api/1").await;
        etcd.delete("/services/api/2").await;
        becomes(&balance, &urls[..1]).await;
        eventually(|| failing(&balance).is_none()).await;
    }
    load.stop().await;
}

/// What is compacted between the list and the watch is listed again.
#[tokio::test]
async fn revisions_are_compacted() {
    let Some(etcd) = EtcdCluster::start("compacted", 1, &[]).await else {
        return;
    };
    etcd.put("/services/api/1", "http://a").await;
    // What is in between holds the first watch back.
    let (asked, held) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
    let (watches, hold) = (asked.clone(), held.clone());
    let member = ReverseProxy::to(&etcd.url(0).replace("http:", "h2c:")).unwrap();
    let between = Router::new()
        .fallback_service(member)
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let (watches, hold) = (watches.clone(), hold.clone());
            async move {
                let is_watch = request.uri().path() == "/etcdserverpb.Watch/Watch";
                if is_watch && watches.fetch_add(1, Relaxed) == 0 {
                    hold.notified().await;
                }
                next.run(request).await
            }
        }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, between).await });
    let balance = follow(Etcd::prefix(&format!("{url}/services/api/")).unwrap());
    eventually(|| asked.load(Relaxed) == 1).await;
    etcd.put("/services/api/1", "http://b").await;
    let revision = etcd.put("/services/api/1", "http://c").await;
    etcd.compact(revision).await;
    held.notify_one();
    becomes(&balance, &["http://c"]).await;
    assert_eq!((asked.load(Relaxed), failing(&balance)), (2, None));
    etcd.put("/services/api/1", "http://d").await;
    becomes(&balance, &["http://d"]).await;
}

/// A cluster that begins anew has lower revisions than those that were watched.
#[tokio::test]
async fn etcd_may_lose_its_data() {
    let Some(mut etcd) = EtcdCluster::start("wiped", 1, &[]).await else {
        return;
    };
    for _ in 0..20 {
        etcd.put("/services/api/1", "http://a").await;
    }
    let balance = follow(prefix(&etcd, 1));
    becomes(&balance, &["http://a"]).await;
    etcd.kill(0);
    etcd.wipe(0);
    etcd.start_again(0).await;
    fails(&balance, "no keys").await;
    becomes(&balance, &["http://a"]).await;
    etcd.put("/services/api/1", "http://b").await;
    becomes(&balance, &["http://b"]).await;
}

/// Another member takes over, until too few of them are left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_member_is_asked() {
    let Some(mut etcd) = EtcdCluster::start("members", 3, &[]).await else {
        return;
    };
    let servers = Servers::start(2).await;
    let urls = &servers.urls;
    etcd.put("/services/api/1", &urls[0]).await;
    let balance = follow(prefix(&etcd, 3).timeout(Duration::from_secs(2)));
    becomes(&balance, &urls[..1]).await;
    let load = Load::start(&balance);
    // The one that is watched.
    etcd.kill(0);
    load.go_on(50).await;
    within_an_election(&etcd, "/services/api/2", &urls[1]).await;
    becomes(&balance, &urls[..2]).await;
    // The one that is left has no leader, and says so. Its answers would be those of yesterday.
    etcd.kill(1);
    eventually(|| failing(&balance).is_some()).await;
    load.go_on(50).await;
    becomes(&balance, &urls[..2]).await;
    etcd.start_again(0).await;
    within_an_election(&etcd, "/services/api/1", "http://c").await;
    etcd.delete("/services/api/1").await;
    becomes(&balance, &urls[1..2]).await;
    load.stop().await;
}

/// Puts a key as soon as the cluster takes writes.
async fn within_an_election(etcd: &EtcdCluster, key: &str, value: &str) {
    use super::messages::{Empty, Put};

    super::support::within(async {
        loop {
            let put = Put {
                key: key.into(),
                value: value.into(),
                lease: 0,
            };
            let put = etcd.call::<_, Empty>("/etcdserverpb.KV/Put", put).await;
            if put.is_ok() {
                return;
            }
        }
    })
    .await;
}
