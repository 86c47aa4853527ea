//! Certificates that change while clients are served.

use std::{sync::Arc, time::Duration};

use rustls::pki_types::CertificateDer;
use tokio::{sync::Notify, time::sleep};

use super::{
    authority::{Authority, Folder, Pair},
    support::{Conn, Gateway, OK, Origin, soon},
};

/// The certificate that a new client gets.
async fn certificate(authority: &Authority, gateway: &Gateway) -> CertificateDer<'static> {
    let stream = authority.connect(gateway.address_of(1), "a.example", &[], None);
    let stream = stream.await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain[0].clone().into_owned()
}

/// Waits until new clients get another certificate than this.
async fn renewed(authority: &Authority, gateway: &Gateway, old: &CertificateDer<'_>) {
    soon(async {
        while certificate(authority, gateway).await == *old {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

fn start(origin: &Origin, flags: &[String]) -> Gateway {
    let mut all = vec!["--tls-listen", "127.0.0.1:0"];
    all.extend(flags.iter().map(String::as_str));
    Gateway::start(origin, &all)
}

#[tokio::test]
async fn a_renewal_touches_no_connection_and_fails_no_request() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let flags = authority.server(&["a.example"]).write(&folder, "a");
    let origin = Origin::new().await.answering(OK);
    let gateway = start(&origin, &flags);
    let address = gateway.address_of(1);

    let authority = Arc::new(authority);
    let end = Arc::new(Notify::new());
    let mut old = authority.connect(address, "a.example", &[], None).await;
    let mut old = Conn::over(old.as_mut().unwrap());
    old.get().await;
    // One that goes on asking, and one that connects for each request.
    let load = [1_000_000, 1].map(|requests| {
        let (authority, end) = (Arc::clone(&authority), Arc::clone(&end));
        tokio::spawn(async move {
            let (mut count, ended) = (0, end.notified());
            let mut ended = std::pin::pin!(ended);
            ended.as_mut().enable();
            loop {
                let stream = authority.connect(address, "a.example", &[], None).await;
                let mut client = Conn::over(stream.unwrap());
                for _ in 0..requests {
                    client.get().await;
                    count += 1;
                    let done = std::future::poll_fn(|cx| {
                        std::task::Poll::Ready(ended.as_mut().poll(cx).is_ready())
                    });
                    if done.await {
                        return count;
                    }
                }
            }
        })
    });
    for _ in 0..5 {
        let before = certificate(&authority, &gateway).await;
        authority.server(&["a.example"]).write(&folder, "a");
        renewed(&authority, &gateway, &before).await;
        old.get().await;
    }
    end.notify_waiters();
    for task in load {
        assert!(soon(task).await.unwrap() > 0);
    }
}

/// What is there stays in use, and the log says so once.
#[tokio::test]
async fn a_file_that_is_wrong_changes_nothing() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let flags = authority.server(&["a.example"]).write(&folder, "a");
    let origin = Origin::new().await.answering(OK);
    let gateway = start(&origin, &flags);
    let mut log = gateway.lines();
    let before = certificate(&authority, &gateway).await;
    let wrong = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    folder.write("a.pem", wrong);
    let mut errors = Vec::new();
    while errors.is_empty() {
        let line = soon(log.recv()).await.unwrap();
        errors.extend(line.contains("stay as they are").then_some(line));
    }
    assert!(errors[0].contains("/a.pem: "), "{errors:?}");
    for _ in 0..5 {
        folder.write("a.pem", wrong);
        assert_eq!(certificate(&authority, &gateway).await, before);
    }
    let Pair { cert, key, .. } = &authority.server(&["a.example", "b.example"]);
    folder.write("a.key", key);
    folder.write("a.pem", cert);
    loop {
        let line = soon(log.recv()).await.unwrap();
        if line.contains("new certificates, for a.example, b.example") {
            break;
        }
        // The key may have been seen before the certificate was there.
        errors.extend(line.contains("stay as they are").then_some(line));
    }
    let same = errors[1..].iter().filter(|line| line.contains("/a.pem: "));
    assert_eq!(same.count(), 0, "{errors:?}");
    assert_ne!(certificate(&authority, &gateway).await, before);
}
