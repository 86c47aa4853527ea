//! Copies bytes between each client and the next endpoint. It reads no HTTP: about the least that tokio can do.

use peer_common::{Arguments, block_on};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

fn main() {
    let Arguments { listen, workers, upstreams, .. } = Arguments::parse();
    block_on(workers, async move {
        let listener = TcpListener::bind(listen).await.expect("the address is free");
        for upstream in upstreams.into_iter().cycle() {
            let Ok((mut client, _)) = listener.accept().await else { continue };
            tokio::spawn(async move {
                let mut server = TcpStream::connect(upstream).await?;
                client.set_nodelay(true)?;
                server.set_nodelay(true)?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
}
