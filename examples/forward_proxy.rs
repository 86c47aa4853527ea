//! A forward proxy with a block list, users and a log.
//!
//! Run with
//!
//! ```text
//! cargo run --example forward_proxy
//! curl -x http://127.0.0.1:3128 https://example.com/
//! curl -x http://127.0.0.1:3128 http://blocked.example.com/
//! curl --proxytunnel -x http://127.0.0.1:3128 http://example.com/
//! ```
//!
//! The second request is denied by the list of hosts, the third by its port. Everything else in the public internet can
//! be reached, and no private network. Arguments and environment:
//!
//! - an argument that is an address: where to listen;
//! - `--allow 10.0.0.0/8`: opens a private network;
//! - `--port 8443`: opens tunnels to another port than 443;
//! - `PROXY_USERS=alan:enigma,grace:cobol`: users with their passwords, which are asked for by Basic authentication
//!   (`curl -U alan:enigma`). Without it, every client that can connect to the proxy may use it.
//!
//! The access log is on standard output. On standard error, there is a line for each tunnel that has ended and for each
//! request that was refused.

use std::{collections::HashMap, env, net::SocketAddr, sync::Arc};

use axum::{
    Router, ServiceExt,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use axum_upstream::{
    BoxError, ForwardProxy,
    access_log::{AccessLogFormat, AccessLogLayer},
    proxy::{ProxyUser, TargetPolicy},
};
use tokio::net::TcpListener;
use tower::ServiceBuilder;

/// The users, by their Basic credentials.
type Users = Arc<HashMap<String, ProxyUser>>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let mut listen = "127.0.0.1:3128".to_owned();
    let (mut networks, mut ports) = (Vec::new(), vec![443..=443]);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--allow" => networks.extend(arguments.next()),
            "--port" => {
                let port = arguments.next().unwrap_or_default().parse()?;
                ports.push(port..=port);
            }
            _ => listen = argument,
        }
    }

    let policy = TargetPolicy::new()
        .deny_hosts(["blocked.example.com", "*.ads.example"])?
        .allow_networks(&networks)?
        .connect_ports(ports)
        .check(|facts| match (facts.user(), facts.target().is_tunnel()) {
            (Some("guest"), true) => Err("guests open no tunnels"),
            _ => Ok(()),
        });
    let proxy = ForwardProxy::new(policy)
        .max_tunnels_per_client(64)
        .origin_form(Router::new().route("/healthz", get(|| async { "ok\n" })));

    let proxy = ServiceBuilder::new()
        .map_response(IntoResponse::into_response)
        .layer(AccessLogLayer::new(AccessLogFormat::Json)?)
        .layer(middleware::from_fn_with_state(users()?, authenticate))
        .service(proxy);
    let listener = TcpListener::bind(listen).await?;
    println!(
        "try: curl -x http://{} https://example.com/",
        listener.local_addr()?
    );
    // Small messages in a tunnel must not be held back (`TCP_NODELAY`).
    let listener = listener.tap_io(|io| drop(io.set_nodelay(true)));
    // HTTP/1, and HTTP/2 by prior knowledge. The proxy needs the client's address.
    let proxy = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(proxy);
    axum::serve(listener, proxy).await?;
    Ok(())
}

/// Lets a request pass as that of its user, and answers one without valid credentials with a 407.
async fn authenticate(State(users): State<Users>, mut request: Request, next: Next) -> Response {
    let credentials = request.headers_mut().remove(header::PROXY_AUTHORIZATION);
    // The map compares hashes with a random key first, so the time does not tell how much of a password is right.
    let user = credentials.and_then(|credentials| users.get(basic(&credentials)?));
    match user {
        Some(user) => request.extensions_mut().insert(user.clone()),
        None if users.is_empty() => None,
        None => {
            let ask = [(
                header::PROXY_AUTHENTICATE,
                "Basic realm=\"proxy\", charset=\"UTF-8\"",
            )];
            return (
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                ask,
                "credentials are required\n",
            )
                .into_response();
        }
    };
    next.run(request).await
}

/// Returns the user and password of Basic credentials, in Base64.
fn basic(credentials: &HeaderValue) -> Option<&str> {
    let (scheme, credentials) = credentials.to_str().ok()?.split_once(' ')?;
    // RFC 9110 11.1: the scheme is case-insensitive.
    let is_basic = scheme.eq_ignore_ascii_case("basic");
    is_basic.then(|| credentials.trim_start())
}

/// Reads the users from the environment.
fn users() -> Result<Users, BoxError> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let all = env::var("PROXY_USERS").unwrap_or_default();
    let users = all.split(',').filter(|user| !user.is_empty());
    let parsed = users.map(|user| {
        let (name, _) = user
            .split_once(':')
            .ok_or("PROXY_USERS: a user is name:password")?;
        // RFC 7617 2: the user-id and the password, with a colon in between, in Base64.
        Ok((BASE64_STANDARD.encode(user), ProxyUser::new(name)))
    });
    Ok(Arc::new(parsed.collect::<Result<_, BoxError>>()?))
}
