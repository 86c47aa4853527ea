//! TCP, to whichever of a name's addresses answers first.

use std::{future::Future, io, net::SocketAddr, pin::pin, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    time::{sleep, timeout},
};

/// How long the preferred address family is tried alone. RFC 8305 8 has 250 ms as "Connection Attempt Delay"; hyper and
/// Go take 300 ms.
const FALLBACK_DELAY: Duration = Duration::from_millis(300);

/// How long an address is waited for while there is another of its family: one that swallows everything must not use up
/// the time of all. Go gives each address at least as much.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connects, with `TCP_NODELAY`: a proxy writes whole messages, and must not wait for more to send with them.
pub(super) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    let stream = race(addresses, TcpStream::connect).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Tries the addresses of the first one's family, and after a delay, or when they have failed, those of the other
/// beside them ("happy eyeballs", RFC 8305, as far as both families are known at once).
///
/// Dropping the future closes all attempts.
async fn race<T, F, Fut>(addresses: Vec<SocketAddr>, connect: F) -> io::Result<T>
where
    F: Fn(SocketAddr) -> Fut,
    Fut: Future<Output = io::Result<T>>,
{
    let v4_first = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (preferred, others): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == v4_first);
    let mut preferred = pin!(one_by_one(preferred, &connect));
    if others.is_empty() {
        return preferred.await;
    }
    let failed = tokio::select! {
        done = &mut preferred => match done {
            Ok(stream) => return Ok(stream),
            Err(error) => Some(error),
        },
        () = sleep(FALLBACK_DELAY) => None,
    };
    let mut others = pin!(one_by_one(others, &connect));
    if let Some(error) = failed {
        // The preferred family's error tells more: it is the one that was expected to work.
        return others.await.map_err(|_| error);
    }
    tokio::select! {
        done = &mut preferred => match done {
            Ok(stream) => Ok(stream),
            Err(error) => others.await.map_err(|_| error),
        },
        done = &mut others => match done {
            Ok(stream) => Ok(stream),
            Err(_) => preferred.await,
        },
    }
}

async fn one_by_one<T, F, Fut>(addresses: Vec<SocketAddr>, connect: &F) -> io::Result<T>
where
    F: Fn(SocketAddr) -> Fut,
    Fut: Future<Output = io::Result<T>>,
{
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut left = addresses.len();
    for address in addresses {
        left -= 1;
        let limit = if left == 0 { Duration::MAX } else { PATIENCE };
        match timeout(limit, connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    const V6: &str = "[::1]:1";
    const V4: &str = "127.0.0.1:1";

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_family_is_overtaken() {
        let start = Instant::now();
        let won = race(addresses(&[V6, V4]), |address| async move {
            if address.is_ipv6() {
                pending::<()>().await;
            }
            Ok(address)
        });
        assert_eq!(won.await.unwrap().to_string(), V4);
        assert_eq!(start.elapsed(), FALLBACK_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_that_fails_is_not_waited_for() {
        let start = Instant::now();
        let won = race(addresses(&[V6, "[::2]:1", V4]), |address| async move {
            if address.is_ipv6() {
                Err(io::ErrorKind::ConnectionRefused.into())
            } else {
                Ok(address)
            }
        });
        assert_eq!(won.await.unwrap().to_string(), V4);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_does_not_use_up_the_time() {
        let start = Instant::now();
        let won = race(addresses(&[V4, "127.0.0.2:1"]), |address| async move {
            if address.to_string() == V4 {
                pending::<()>().await;
            }
            Ok(address)
        });
        assert_eq!(won.await.unwrap().to_string(), "127.0.0.2:1");
        assert_eq!(start.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_preferred_familys_error_is_told() {
        let failed = race(addresses(&[V6, V4]), |address| async move {
            let kind = if address.is_ipv6() {
                io::ErrorKind::ConnectionRefused
            } else {
                io::ErrorKind::HostUnreachable
            };
            Err::<(), _>(kind.into())
        });
        assert_eq!(
            failed.await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        assert_eq!(
            race(vec![], |_| pending::<io::Result<()>>())
                .await
                .unwrap_err()
                .kind(),
            io::ErrorKind::NotFound
        );
    }
}
