//! Connects over TCP, to the address of a name that answers first.
//!
//! The addresses are tried as RFC 8305 ("Happy Eyeballs") has it: IPv6 and IPv4 in turn, each attempt beside those
//! before it if they have not answered within 250 ms. The first connection that is established wins. It differs in two
//! points:
//!
//! - The lookup returns both families at once, so there is no delay for resolution (RFC 8305 3).
//! - Addresses that have failed lately go last (`history.rs`), and those that worked are not preferred.
//!
//! There is no deadline here: the connect timeout drops the future from outside.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::{net::TcpStream, time::sleep};

use super::{
    history::AddressHistory,
    resolver::Resolver,
    shortage::{has_no_source_address, is_local_shortage},
};
use crate::error::BoxError;

/// How long an attempt runs alone before the next address is tried beside it. RFC 8305 5: "One recommended value for a
/// default delay is 250 milliseconds."
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Looks names up, and connects to their addresses.
pub(super) struct TcpConnector {
    /// Knows the addresses.
    resolver: Resolver,
    /// Knows which of them have failed lately.
    history: AddressHistory,
}

impl TcpConnector {
    /// Returns a connector without a history.
    pub(super) fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            history: AddressHistory::default(),
        }
    }

    /// Connects, and sets `TCP_NODELAY`: a proxy writes whole messages, and must not wait for more to send with them.
    ///
    /// # Errors
    ///
    /// The resolver's; or that of the attempt whose error says most about the endpoint; `NotFound` if the name has no
    /// address.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes all attempts. What they have taught of the addresses is kept.
    pub(super) async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, BoxError> {
        let addresses = self.resolver.resolve(host, port).await?;
        let stream = race(addresses, &self.history, dial).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Connects to one address. A host without an address of the family is reported as `NetworkUnreachable` instead of the
/// shortage that its error looks like.
async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let dialled = TcpStream::connect(address).await;
    dialled.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrNotAvailable && has_no_source_address(address) {
            let why = "this host has no address of the family to connect from";
            return io::Error::new(io::ErrorKind::NetworkUnreachable, why);
        }
        error
    })
}

/// Tries the addresses one after the other, each as soon as the one before it has failed or has been tried for
/// [`ATTEMPT_DELAY`], and returns the first connection. Generic over `connect`, so that tests need no network.
///
/// Dropping the future, or a first answer, closes all other attempts. A single address is tried without a history,
/// since there is nothing to prefer to it.
///
/// # Errors
///
/// The first attempt's error, as the first address was expected to work; but an error of the endpoint takes precedence
/// over a shortage of this process, which may be short of something for one family only.
async fn race<T, F, Fut>(
    addresses: Vec<SocketAddr>,
    history: &AddressHistory,
    connect: F,
) -> io::Result<T>
where
    F: Fn(SocketAddr) -> Fut,
    Fut: Future<Output = io::Result<T>>,
{
    if let [only] = addresses[..] {
        return connect(only).await;
    }
    let mut addresses = interleaved(addresses);
    history.sort(&mut addresses);
    let mut waiting = addresses.into_iter();
    let mut attempts = Attempts(Vec::new());
    let mut failed = None;
    loop {
        if let Some(address) = waiting.next() {
            history.begins(address);
            attempts.0.push((address, Box::pin(connect(address))));
        } else if attempts.0.is_empty() {
            let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            return Err(failed.unwrap_or_else(none));
        }
        let (address, ended) = tokio::select! {
            biased;
            ended = attempts.first() => ended,
            // Each attempt in progress has been silent for the delay, so the next connection tries its address last.
            () = sleep(ATTEMPT_DELAY), if waiting.len() > 0 => {
                attempts.0.iter().for_each(|(address, _)| history.avoid(*address));
                continue;
            }
        };
        match ended {
            Ok(stream) => {
                history.works(address);
                return Ok(stream);
            }
            Err(error) => {
                tracing::debug!(%address, %error, "could not connect");
                let local = is_local_shortage(&error);
                if !local {
                    history.avoid(address);
                }
                // The first address was expected to work, so its error says most; unless it is about this process,
                // which can be short of something for one family only.
                match &failed {
                    Some(first) if local || !is_local_shortage(first) => {}
                    _ => failed = Some(error),
                }
            }
        }
    }
}

/// Attempts in progress, the earliest first.
struct Attempts<Fut>(Vec<(SocketAddr, Pin<Box<Fut>>)>);

impl<T, Fut: Future<Output = io::Result<T>>> Attempts<Fut> {
    /// Waits for the first attempt to end, and removes it. Pending forever if there is none.
    async fn first(&mut self) -> (SocketAddr, io::Result<T>) {
        poll_fn(|cx| {
            for n in 0..self.0.len() {
                let (address, attempt) = &mut self.0[n];
                if let Poll::Ready(ended) = attempt.as_mut().poll(cx) {
                    let address = *address;
                    drop(self.0.remove(n));
                    return Poll::Ready((address, ended));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Orders addresses so that the families take turns, beginning with that of the first address. Within a family the
/// order is kept.
///
/// RFC 8305 4: "the client SHOULD modify the ordered list to interleave address families".
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let v4_first = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let mut ordered = Vec::with_capacity(addresses.len());
    let (preferred, others): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == v4_first);
    let mut others = others.into_iter();
    for address in preferred {
        ordered.push(address);
        ordered.extend(others.next());
    }
    ordered.extend(others);
    ordered
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::pending};

    use tokio::time::{Instant, advance};

    use super::{super::history::AVOIDED_FOR, *};

    /// A network on which some addresses swallow everything, some refuse, and all others answer at once.
    #[derive(Default)]
    struct Network {
        silent: RefCell<Vec<&'static str>>,
        failing: RefCell<Vec<(&'static str, io::ErrorKind)>>,
        history: AddressHistory,
        tried: RefCell<Vec<String>>,
    }

    impl Network {
        fn new(silent: &[&'static str], failing: &[(&'static str, io::ErrorKind)]) -> Self {
            Self {
                silent: RefCell::new(silent.to_vec()),
                failing: RefCell::new(failing.to_vec()),
                ..Self::default()
            }
        }

        /// The address that a race was won by, or why none was.
        async fn race(&self, addresses: &[&str]) -> Result<String, io::ErrorKind> {
            let addresses = addresses.iter().map(|address| address.parse().unwrap());
            let won = race(addresses.collect(), &self.history, |address| async move {
                let address = address.to_string();
                self.tried.borrow_mut().push(address.clone());
                if self.silent.borrow().contains(&address.as_str()) {
                    return pending().await;
                }
                let failing = self.failing.borrow();
                match failing.iter().find(|(failing, _)| **failing == *address) {
                    Some((_, kind)) => Err((*kind).into()),
                    None => Ok(address),
                }
            });
            won.await.map_err(|error| error.kind())
        }

        /// What was tried since the last call.
        fn tried(&self) -> Vec<String> {
            self.tried.take()
        }
    }

    const A: &str = "127.0.0.1:1";
    const B: &str = "127.0.0.2:1";
    const C: &str = "127.0.0.3:1";
    const V6: &str = "[::1]:1";
    const V6_TOO: &str = "[::2]:1";

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_is_overtaken_after_a_delay() {
        let start = Instant::now();
        let network = Network::new(&[A, B], &[]);
        assert_eq!(network.race(&[A, B, C]).await.unwrap(), C);
        assert_eq!(start.elapsed(), 2 * ATTEMPT_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_fails_is_not_waited_for() {
        let start = Instant::now();
        let refused = io::ErrorKind::ConnectionRefused;
        let network = Network::new(&[], &[(A, refused), (B, refused)]);
        assert_eq!(network.race(&[A, B, C]).await.unwrap(), C);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn families_take_turns() {
        let network = Network::new(&[V6, V6_TOO, A], &[]);
        let won = network.race(&[V6, V6_TOO, "[::3]:1", A, B]).await;
        assert_eq!(won.unwrap(), B);
        assert_eq!(network.tried(), [V6, A, V6_TOO, B]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_still_wins() {
        let history = AddressHistory::default();
        let addresses = [A, B].map(|address| address.parse().unwrap());
        let won = race(addresses.to_vec(), &history, |address| async move {
            match address == addresses[0] {
                true => sleep(2 * ATTEMPT_DELAY).await,
                false => pending().await,
            }
            Ok(address)
        });
        assert_eq!(won.await.unwrap(), addresses[0]);
        let mut sorted = addresses;
        history.sort(&mut sorted);
        assert_eq!(sorted, addresses, "it works, so it is not avoided");
    }

    /// What a broken address costs, it costs one connection, and not every new one.
    #[tokio::test(start_paused = true)]
    async fn a_silent_address_delays_one_connection() {
        let network = Network::new(&[A], &[]);
        assert_eq!(network.race(&[A, B]).await.unwrap(), B);
        assert_eq!(network.tried(), [A, B]);
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(network.race(&[A, B]).await.unwrap(), B);
            assert_eq!(network.tried(), [B]);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);

        // A while later one connection finds out whether it works again, and it does not.
        advance(AVOIDED_FOR).await;
        let start = Instant::now();
        let (first, second) = tokio::join!(network.race(&[A, B]), network.race(&[A, B]));
        assert_eq!((first.unwrap().as_str(), second.unwrap().as_str()), (B, B));
        assert_eq!(network.tried(), [A, B, B]);
        assert_eq!(start.elapsed(), ATTEMPT_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_works_again_is_used_again() {
        let network = Network::new(&[], &[(A, io::ErrorKind::ConnectionRefused)]);
        assert_eq!(network.race(&[A, B]).await.unwrap(), B);
        network.failing.borrow_mut().clear();
        assert_eq!(network.race(&[A, B]).await.unwrap(), B);
        advance(AVOIDED_FOR).await;
        assert_eq!(network.race(&[A, B]).await.unwrap(), A);
        assert_eq!(network.race(&[A, B]).await.unwrap(), A);
    }

    /// Addresses that a DNS server rotates share the connections.
    #[tokio::test(start_paused = true)]
    async fn good_addresses_keep_the_order_of_the_lookup() {
        let network = Network::default();
        for order in [[A, B, C], [B, C, A], [C, A, B]] {
            assert_eq!(network.race(&order).await.unwrap(), order[0]);
        }
    }

    /// Where the connect timeout ends before all addresses have been tried, the next connection goes on with the rest.
    #[tokio::test(start_paused = true)]
    async fn a_race_that_was_given_up_has_taught_something() {
        let network = Network::new(&[A, B], &[]);
        let limit = 2 * ATTEMPT_DELAY - Duration::from_millis(1);
        let given_up = tokio::time::timeout(limit, network.race(&[A, B, C])).await;
        assert!(given_up.is_err());
        assert_eq!(network.tried(), [A, B]);
        let won = tokio::time::timeout(limit, network.race(&[A, B, C])).await;
        assert_eq!(won.unwrap().unwrap(), C);
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_that_tells_most_is_told() {
        use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NotFound};
        for (failing, told) in [
            (
                &[(V6, ConnectionRefused), (A, HostUnreachable)][..],
                ConnectionRefused,
            ),
            // No port left for one family, and the endpoint refuses the other: it is down.
            (
                &[(V6, AddrNotAvailable), (A, ConnectionRefused)],
                ConnectionRefused,
            ),
            (
                &[(V6, ConnectionRefused), (A, AddrNotAvailable)],
                ConnectionRefused,
            ),
            (
                &[(V6, AddrNotAvailable), (A, AddrNotAvailable)],
                AddrNotAvailable,
            ),
        ] {
            let network = Network::new(&[], failing);
            assert_eq!(network.race(&[V6, A]).await, Err(told));
        }
        assert_eq!(Network::default().race(&[]).await, Err(NotFound));
    }
}
