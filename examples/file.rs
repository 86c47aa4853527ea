//! Follows a file: each line is the URL of an endpoint.
//!
//! Run with
//!
//! ```text
//! cargo run --example file --features file
//! curl -i http://127.0.0.1:8080/
//! ```
//!
//! It starts three backends, and prints the path of a file that names two of them. Edit it while it runs. With a path
//! it follows that file instead: `cargo run --example file --features file -- 127.0.0.1:8080 /etc/app/endpoints`.

use std::{env, net::SocketAddr, path::PathBuf, time::Duration};

use axum::Router;
use axum_upstream::{BoxError, LoadBalance, ReverseProxy, discover::WatchedFile};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut args = env::args().skip(1);
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let path = match args.next() {
        Some(path) => path.into(),
        None => demo().await?,
    };
    let backends = LoadBalance::builder().discover(WatchedFile::new(&path))?;

    let endpoints = backends.handle();
    tokio::spawn(async move {
        let mut shown = Vec::new();
        loop {
            let now = endpoints.endpoints();
            let names: Vec<_> = now.into_iter().map(|endpoint| endpoint.name).collect();
            if names != shown {
                println!("{} has {names:?}", path.display());
                shown = names;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });

    let listener = TcpListener::bind(listen).await?;
    println!("try: curl -i http://{}/", listener.local_addr()?);
    let app = Router::new().fallback_service(ReverseProxy::new(backends));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}

/// Starts three servers, and writes a file with two of them. Returns its path.
async fn demo() -> Result<PathBuf, BoxError> {
    let mut lines = Vec::new();
    for name in ["ada", "grace", "edsger"] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        lines.push(format!("http://{}", listener.local_addr()?));
        let app = Router::new().fallback(move || async move { format!("hello from {name}\n") });
        tokio::spawn(axum::serve(listener, app).into_future());
    }
    let folder = env::temp_dir().join(format!("endpoints-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("endpoints");
    let text = format!("{}\n{};weight=2\n# {}\n", lines[0], lines[1], lines[2]);
    std::fs::write(&path, text)?;
    Ok(path)
}
