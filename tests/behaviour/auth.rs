//! Authentication that holds for a connection (NTLM, Negotiate): nobody is answered as somebody else, and a client that
//! takes several exchanges to say who it is has them on one connection.

use std::{net::SocketAddr, time::Duration};

use axum_upstream::{ReverseProxy, upstream::Client};
use http::{Request, StatusCode};
use tower::ServiceExt;

use crate::support::{
    Conn,
    counted::Count,
    direct::{get, send},
    proxy, server,
    server::Server,
    within,
};

/// A server that knows its connections by the last user who said who he was on them, and answers with that name. It
/// wants two `Authorization` fields for it: a greeting, which it answers by a challenge, and the answer to that.
async fn ntlm(scheme: &'static str) -> (Server, Count) {
    let count = Count::default();
    let entered = count.clone();
    let server = server::raw(move |mut conn| {
        let counted = entered.enter();
        async move {
            let _counted = counted;
            let (mut greeted, mut user) = (false, None);
            while let Some(request) = conn.request().await {
                let said = request.field("authorization").unwrap_or_default();
                let said = said.strip_prefix(scheme).unwrap_or_default().trim();
                match (said, greeted) {
                    ("", _) => {}
                    ("hello", _) => greeted = true,
                    (name, true) => user = Some(name.to_owned()),
                    (_, false) => {}
                }
                let answer = match &user {
                    Some(user) => format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{user}",
                        user.len()
                    ),
                    None if said == "hello" => format!(
                        "HTTP/1.1 401 No\r\nWWW-Authenticate: {scheme} challenge\r\n\
                         Content-Length: 0\r\n\r\n"
                    ),
                    None => format!(
                        "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"a\", {scheme}\r\n\
                         Content-Length: 0\r\n\r\n"
                    ),
                };
                conn.send(answer).await;
            }
        }
    });
    (server.await, count)
}

async fn ask(client: &mut Conn, fields: &str) -> (u16, String) {
    client.send(proxy::get(fields)).await;
    let response = client.response().await.unwrap();
    (response.status(), response.text())
}

/// Says who it is, in three exchanges.
async fn log_in(client: &mut Conn, scheme: &str, user: &str) {
    assert_eq!(ask(client, "").await.0, 401);
    let hello = format!("Authorization: {scheme} hello\r\n");
    assert_eq!(ask(client, &hello).await.0, 401);
    let answer = format!("Authorization: {scheme} {user}\r\n");
    assert_eq!(ask(client, &answer).await, (200, user.to_owned()));
}

#[tokio::test]
async fn a_client_is_itself_and_no_other_is() {
    for scheme in ["NTLM", "Negotiate"] {
        within(async {
            let (server, _) = ntlm(scheme).await;
            let proxy = proxy::to(&server.url()).await;
            let mut alice = Conn::connect(proxy.address).await;
            log_in(&mut alice, scheme, "alice").await;
            // The connection is the user's from here on.
            assert_eq!(ask(&mut alice, "").await, (200, "alice".into()));

            let mut mallory = Conn::connect(proxy.address).await;
            assert_eq!(ask(&mut mallory, "").await.0, 401);
            let mut bob = Conn::connect(proxy.address).await;
            log_in(&mut bob, scheme, "bob").await;
            for _ in 0..3 {
                assert_eq!(ask(&mut alice, "").await, (200, "alice".into()));
                assert_eq!(ask(&mut bob, "").await, (200, "bob".into()));
                assert_eq!(ask(&mut mallory, "").await.0, 401);
            }
        })
        .await;
    }
}

/// Credentials that come unasked, and are accepted with a 200, say as much.
#[tokio::test]
async fn credentials_unasked_make_a_connection_ones_own() {
    within(async {
        let server = server::raw(|mut conn| async move {
            let mut user = String::from("nobody");
            while let Some(request) = conn.request().await {
                if let Some(said) = request.field("authorization") {
                    user = said.replace("negotiate ", "");
                }
                let length = user.len();
                conn.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{user}"
                ))
                .await;
            }
        })
        .await;
        let proxy = proxy::to(&server.url()).await;
        let mut alice = Conn::connect(proxy.address).await;
        let said = ask(&mut alice, "Authorization: negotiate alice\r\n").await;
        assert_eq!(said, (200, "alice".into()));
        let mut mallory = Conn::connect(proxy.address).await;
        assert_eq!(ask(&mut mallory, "").await, (200, "nobody".into()));
        assert_eq!(ask(&mut alice, "").await, (200, "alice".into()));
    })
    .await;
}

/// Clients that share the connection of a trusted proxy in front are still different ones.
#[tokio::test]
async fn clients_behind_one_proxy_are_told_apart() {
    within(async {
        let (server, _) = ntlm("NTLM").await;
        let proxy = ReverseProxy::to(&server.url()).unwrap();
        let proxy = proxy::serve(proxy.trusted_peers(["127.0.0.1/32"]).unwrap()).await;
        let mut front = Conn::connect(proxy.address).await;
        let alice = "X-Forwarded-For: 192.0.2.1\r\n";
        for said in [
            "",
            "Authorization: NTLM hello\r\n",
            "Authorization: NTLM alice\r\n",
        ] {
            ask(&mut front, &format!("{alice}{said}")).await;
        }
        assert_eq!(ask(&mut front, alice).await, (200, "alice".into()));
        assert_eq!(
            ask(&mut front, "X-Forwarded-For: 192.0.2.2\r\n").await.0,
            401
        );
    })
    .await;
}

/// Where it is not known whose a connection is, it takes one exchange.
#[tokio::test]
async fn a_connection_of_an_unknown_client_closes() {
    within(async {
        let (server, count) = ntlm("NTLM").await;
        let client = Client::new(&server.url()).unwrap();
        for made in 1..=3 {
            assert_eq!(send(&client, get()).await, StatusCode::UNAUTHORIZED);
            assert_eq!(count.made(), made);
        }
        crate::support::eventually(|| count.open() == 0).await;
    })
    .await;
}

/// Credentials for a request are no reason to keep a connection from others.
#[tokio::test]
async fn other_schemes_share_connections() {
    within(async {
        let (server, count) = ntlm("Bearer").await;
        let proxy = proxy::to(&server.url()).await;
        for _ in 0..3 {
            let mut client = Conn::connect(proxy.address).await;
            assert_eq!(
                ask(&mut client, "Authorization: Bearer hello\r\n").await.0,
                401
            );
        }
        assert_eq!(count.made(), 1);
    })
    .await;
}

/// A connection of a client's own does not wait for it for ever: by then, its addresses may be another's.
#[tokio::test]
async fn a_connection_of_ones_own_closes_when_it_idles() {
    let (server, count) = ntlm("NTLM").await;
    let address: SocketAddr = "192.0.2.1:4711".parse().unwrap();
    let proxy = ReverseProxy::to(&server.url())
        .unwrap()
        .client_addr(address);
    let ask = || {
        let request = Request::get("/").header("host", "a");
        proxy
            .clone()
            .oneshot(request.body(axum::body::Body::empty()).unwrap())
    };
    ask().await.unwrap();
    ask().await.unwrap();
    assert_eq!((count.made(), count.open()), (1, 1));
    // From here on the clock moves by hand, or to the next timer when nothing else can happen.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(16)).await;
    crate::support::eventually(|| count.open() == 0).await;
}
