//! [`HealthCheck`]: what is checked, and when.
//!
//! A setting that cannot work is refused by its own setter, so that the error is where the mistake is.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use http::{
    HeaderValue, Method, Uri, response,
    uri::{Authority, PathAndQuery},
};

use super::{
    grpc::GrpcCheck,
    http::{Expected, HttpCheck},
    message,
};
use crate::error::{BoxError, Error};

/// The active check of a cluster's endpoints.
///
/// A check is made of each endpoint, over its own connections: by HTTP, by connecting, or by the gRPC health protocol.
/// It is made every 15 s and fails after 10 s; two failures in a row shut the endpoint, one pass opens it again. These
/// are the defaults of YARP. The [module docs](crate::health) say what a failure does, and when checks are made.
///
/// ```
/// use axum_upstream::HealthCheck;
/// use std::time::Duration;
///
/// let by_status = HealthCheck::http("/healthz")?.host("internal.example.com")?.expect_status([200, 204])?;
/// let by_field = HealthCheck::http("/healthz")?.accept(|head| head.headers.contains_key("x-ready"))?;
/// let connects = HealthCheck::tcp().interval(Duration::from_secs(2))?.unhealthy_after(3)?;
/// let grpc = HealthCheck::grpc("helloworld.Greeter")?.required_before_use();
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HealthCheck {
    pub(super) kind: CheckKind,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) unhealthy_after: NonZeroU32,
    pub(super) healthy_after: NonZeroU32,
    required_before_use: bool,
}

/// What is done to check an endpoint.
#[derive(Clone, Debug)]
pub(super) enum CheckKind {
    /// A request, judged by its response.
    Http(HttpCheck),
    /// A connection is made, and closed.
    Tcp,
    /// The endpoint says whether it serves.
    Grpc(GrpcCheck),
}

/// The number of failures in a row that shut an endpoint by default.
const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

impl HealthCheck {
    /// Checks by a `GET` request for this path, and a query if there is one. A status from 200 to 299 passes.
    ///
    /// The base path of the endpoint's URL is put in front. Redirects are not followed: they are responses like others,
    /// and fail unless their status is [expected](Self::expect_status). The check passes once the body has been
    /// received, of which at most 64 KiB are read.
    ///
    /// # Errors
    ///
    /// A config error if the path does not begin with `/` or is no valid URI.
    pub fn http(path: &str) -> Result<Self, Error> {
        let refuse = |why: BoxError| Error::config("health check path", why);
        if !path.starts_with('/') || path.contains('#') {
            let why = format!("{path:?} must begin with / and have no fragment");
            return Err(refuse(why.into()));
        }
        // `Uri` itself would take what follows two slashes for an authority.
        let path: PathAndQuery = path
            .parse()
            .map_err(|error| refuse(format!("{path:?}: {error}").into()))?;
        Ok(Self::new(CheckKind::Http(HttpCheck {
            method: Method::GET,
            path: Uri::from(path),
            host: None,
            expected: Expected::Statuses((200..300).collect()),
        })))
    }

    /// Checks by connecting to the endpoint, without sending a request. The connection is closed.
    ///
    /// It is made as one for requests would be: by the same connector and within the same connect timeout. For an
    /// `https://` endpoint, the TLS handshake has to succeed, too.
    ///
    /// An endpoint that is not a [`Client`](crate::upstream::Client), such as a `Router` in this process, has nothing
    /// to connect to and passes. So does a client that was given to [`EndpointSpec::new`](crate::EndpointSpec::new)
    /// rather than converted by `EndpointSpec::from`.
    #[must_use]
    pub fn tcp() -> Self {
        Self::new(CheckKind::Tcp)
    }

    /// Checks by the gRPC health protocol, `grpc.health.v1.Health`. `SERVING` passes; every other state and status
    /// fails. The service is named with its package, as `helloworld.Greeter`; an empty name stands for the server as a
    /// whole.
    ///
    /// Where the server has `Watch`, it reports a change as soon as it happens, and that counts at once, whatever the
    /// [thresholds](Self::unhealthy_after). The `Watch` is begun anew at each check, which so finds out whether the
    /// server still answers. Where the server has none, it is asked by `Check`.
    ///
    /// gRPC needs HTTP/2: a URL has to begin with `https://` or `h2c://`.
    ///
    /// # Errors
    ///
    /// A config error if the name has more than 1024 bytes.
    pub fn grpc(service: &str) -> Result<Self, Error> {
        if service.len() > 1024 {
            let why = "the name of a service has at most 1024 bytes";
            return Err(Error::config("health check service", why));
        }
        Ok(Self::new(CheckKind::Grpc(GrpcCheck {
            message: message::request(service),
            host: None,
        })))
    }

    fn new(kind: CheckKind) -> Self {
        Self {
            kind,
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            unhealthy_after: TWO,
            healthy_after: NonZeroU32::MIN,
            required_before_use: false,
        }
    }

    /// Sets the method of an HTTP check. Default: `GET`.
    ///
    /// # Errors
    ///
    /// A config error for `CONNECT`, which opens a tunnel, and for a check that is not by HTTP.
    pub fn method(mut self, method: Method) -> Result<Self, Error> {
        let setting = "health check method";
        if method == Method::CONNECT {
            return Err(Error::config(setting, "CONNECT opens a tunnel"));
        }
        self.by_http(setting)?.method = method;
        Ok(self)
    }

    /// Sets the `Host` of an HTTP check, over HTTP/2 and for gRPC the `:authority`. Default: the authority of the
    /// endpoint's URL.
    ///
    /// # Errors
    ///
    /// A config error if it is not a host with or without a port, and for a check by TCP.
    pub fn host(mut self, host: &str) -> Result<Self, Error> {
        let refuse = |why: BoxError| Error::config("health check host", why);
        let authority: Authority = host
            .parse()
            .map_err(|error| refuse(format!("{host:?}: {error}").into()))?;
        if authority.host().is_empty() || host.contains('@') {
            return Err(refuse(
                format!("{host:?} is not a host with or without a port").into(),
            ));
        }
        let value = HeaderValue::from_str(host).map_err(|error| refuse(error.into()))?;
        match &mut self.kind {
            CheckKind::Http(http) => http.host = Some(value),
            CheckKind::Grpc(grpc) => grpc.host = Some(value),
            CheckKind::Tcp => return Err(refuse("a TCP check sends none".into())),
        }
        Ok(self)
    }

    /// Sets the statuses that pass an HTTP check: a range, as `200..=399`, or a list, as `[200, 401]`. Default: 200 to
    /// 299. Replaces what was set here or by [`accept`](Self::accept) before.
    ///
    /// # Errors
    ///
    /// A config error if there is none, if one is not from 200 to 599, and for a check that is not by HTTP.
    pub fn expect_status(mut self, statuses: impl IntoIterator<Item = u16>) -> Result<Self, Error> {
        let setting = "health check statuses";
        let check = |status: u16| match (200..600).contains(&status) {
            true => Ok(status),
            false => Err(Error::config(
                setting,
                format!("{status} is not from 200 to 599"),
            )),
        };
        let statuses: Arc<[u16]> = statuses.into_iter().map(check).collect::<Result<_, _>>()?;
        if statuses.is_empty() {
            return Err(Error::config(setting, "no status would pass"));
        }
        self.by_http(setting)?.expected = Expected::Statuses(statuses);
        Ok(self)
    }

    /// Passes an HTTP check if `accept` returns true for the head of the response, whatever its status. Replaces what
    /// was set here or by [`expect_status`](Self::expect_status) before.
    ///
    /// It is called in the task that makes the checks, so it must not block. If it panics, the check fails.
    ///
    /// # Errors
    ///
    /// A config error for a check that is not by HTTP.
    pub fn accept(
        mut self,
        accept: impl Fn(&response::Parts) -> bool + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        self.by_http("health check accept")?.expected = Expected::Accepted(Arc::new(accept));
        Ok(self)
    }

    /// Sets the time from the beginning of one check of an endpoint to the next. Default: 15 s. Each time, it is up to
    /// 10 % shorter or longer at random. A check that takes longer is followed by the next one at once.
    ///
    /// `Duration::MAX` checks each endpoint once, and over gRPC watches it from then on.
    ///
    /// # Errors
    ///
    /// A config error for zero.
    pub fn interval(mut self, interval: Duration) -> Result<Self, Error> {
        self.interval = positive("health check interval", interval)?;
        Ok(self)
    }

    /// Sets the longest time that a check may take, from the connecting to the last byte. Default: 10 s.
    /// `Duration::MAX` sets no limit, so that an endpoint which does not answer neither passes nor fails.
    ///
    /// # Errors
    ///
    /// A config error for zero.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self, Error> {
        self.timeout = positive("health check timeout", timeout)?;
        Ok(self)
    }

    /// Sets how many checks in a row have to fail before the endpoint gets no requests. Default: 2.
    ///
    /// # Errors
    ///
    /// A config error for 0.
    pub fn unhealthy_after(mut self, failures: u32) -> Result<Self, Error> {
        self.unhealthy_after = at_least_one("health check unhealthy_after", failures)?;
        Ok(self)
    }

    /// Sets how many checks in a row have to pass before an endpoint that was shut gets requests again. Default: 1.
    ///
    /// For an endpoint that has never passed, one is enough.
    ///
    /// # Errors
    ///
    /// A config error for 0.
    pub fn healthy_after(mut self, passes: u32) -> Result<Self, Error> {
        self.healthy_after = at_least_one("health check healthy_after", passes)?;
        Ok(self)
    }

    /// Requires that an endpoint passes a check before it gets its first request. By default, a new endpoint gets
    /// requests until its checks have failed.
    ///
    /// Until then nothing is sent to it, even if the cluster has no other endpoint: requests fail with 503 then. That
    /// includes the first moments of the cluster itself. Once it has passed, a failure is one like any other.
    #[must_use]
    pub fn required_before_use(mut self) -> Self {
        self.required_before_use = true;
        self
    }

    /// Returns whether an endpoint has to pass before its first request.
    pub(crate) fn is_required_before_use(&self) -> bool {
        self.required_before_use
    }

    /// Returns the time until the next check: the interval, with `random` from 0 to 1 as its deviation of up to 10 %
    /// either way.
    pub(crate) fn next_after(&self, random: f64) -> Duration {
        scaled(self.interval, 0.9 + 0.2 * random)
    }

    /// Returns the time until the second check: a part of the interval, `random` from 0 to 1.
    pub(crate) fn second_after(&self, random: f64) -> Duration {
        scaled(self.interval, random)
    }

    /// Returns the settings of an HTTP check.
    ///
    /// # Errors
    ///
    /// A config error that names the setting if the check is of another kind.
    fn by_http(&mut self, setting: &'static str) -> Result<&mut HttpCheck, Error> {
        match &mut self.kind {
            CheckKind::Http(http) => Ok(http),
            CheckKind::Tcp | CheckKind::Grpc(_) => {
                Err(Error::config(setting, "it belongs to a check by HTTP"))
            }
        }
    }
}

/// Returns a part or multiple of a time. Does not overflow: `Duration::MAX` is "never".
fn scaled(time: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

/// Refuses zero.
fn positive(setting: &'static str, time: Duration) -> Result<Duration, Error> {
    match time.is_zero() {
        true => Err(Error::config(setting, "it must be more than 0 s")),
        false => Ok(time),
    }
}

/// Refuses 0.
fn at_least_one(setting: &'static str, count: u32) -> Result<NonZeroU32, Error> {
    NonZeroU32::new(count).ok_or_else(|| Error::config(setting, "it must be 1 or more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http() -> HealthCheck {
        HealthCheck::http("/").unwrap()
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let zero = Duration::ZERO;
        for (result, names) in [
            (HealthCheck::http(""), "path"),
            (HealthCheck::http("healthz"), "path"),
            (HealthCheck::http("http://a/healthz"), "path"),
            (HealthCheck::http("/a b"), "path"),
            (HealthCheck::http("/a#b"), "path"),
            (HealthCheck::grpc(&"x".repeat(1025)), "service"),
            (http().method(Method::CONNECT), "method"),
            (HealthCheck::tcp().method(Method::HEAD), "method"),
            (http().host(""), "host"),
            (http().host("a b"), "host"),
            (http().host("u@a"), "host"),
            (http().host(":80"), "host"),
            (HealthCheck::tcp().host("a"), "host"),
            (http().expect_status([]), "statuses"),
            (http().expect_status([200, 199]), "statuses"),
            (http().expect_status(500..=600), "statuses"),
            (HealthCheck::tcp().expect_status([200]), "statuses"),
            (HealthCheck::tcp().accept(|_| true), "accept"),
            (http().interval(zero), "interval"),
            (http().timeout(zero), "timeout"),
            (http().unhealthy_after(0), "unhealthy_after"),
            (http().healthy_after(0), "healthy_after"),
        ] {
            let error = result.unwrap_err();
            assert!(error.is_config(), "{names}");
            let says = format!("health check {names}");
            assert!(error.to_string().contains(&says), "{error}");
        }
    }

    #[test]
    fn paths_and_hosts_of_all_kinds_are_taken() {
        for path in ["/", "/healthz", "/a/b?c=d&e", "//a", "/%20"] {
            let CheckKind::Http(check) = HealthCheck::http(path).unwrap().kind else {
                panic!("not by HTTP");
            };
            assert_eq!(check.path.to_string(), path);
            assert!(check.path.authority().is_none());
        }
        for host in ["a", "a:80", "[::1]:80", "10.0.0.1"] {
            assert!(http().host(host).is_ok(), "{host}");
        }
        assert!(HealthCheck::grpc("").unwrap().host("a").is_ok());
    }

    #[test]
    fn intervals_vary_and_do_not_overflow() {
        let check = http().interval(Duration::from_secs(10)).unwrap();
        assert_eq!(check.next_after(0.0), Duration::from_secs(9));
        assert_eq!(check.next_after(1.0), Duration::from_secs(11));
        assert_eq!(check.second_after(0.5), Duration::from_secs(5));
        let never = http().interval(Duration::MAX).unwrap();
        assert_eq!(never.next_after(1.0), Duration::MAX);
    }

    #[test]
    fn the_defaults_are_those_of_yarp() {
        let check = http();
        assert_eq!(check.interval, Duration::from_secs(15));
        assert_eq!(check.timeout, Duration::from_secs(10));
        assert_eq!(check.unhealthy_after.get(), 2);
        assert_eq!(check.healthy_after.get(), 1);
        assert!(!check.is_required_before_use());
        assert!(check.required_before_use().is_required_before_use());
        let CheckKind::Http(check) = http().kind else {
            panic!("not by HTTP");
        };
        let Expected::Statuses(statuses) = check.expected else {
            panic!("no statuses");
        };
        let statuses = |range: std::ops::Range<u16>| range.filter(|s| statuses.contains(s)).count();
        assert_eq!((statuses(0..1000), statuses(200..300)), (100, 100));
    }
}
