//! The parts of [`Sticky`](super::Sticky): its cookie, and its picker.
//!
//! The cookie holds a token, which is the endpoint's name hashed under a secret key. Nothing is stored per client: a
//! picker knows the tokens of its endpoints, and a cookie whose token it does not know is as good as none. So cookies
//! outlive the process, and hold for all replicas, if the key is configured rather than drawn.
//!
//! - [`SessionCookie`] reads the token of a request and sets the cookie of a response.
//! - [`StickyPicker`] finds the endpoint of a token, and asks the picker of the policy beneath if there is none.

use std::{collections::HashMap, hash::Hasher, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::picker::{Affinity, Endpoints, PickInfo, Picked, Picker};
use crate::{
    body::Body,
    endpoint::{Endpoint, Rank},
    error::Error,
    random,
    rewrite::{cookie, members},
};

/// The `SameSite` attribute: whether a browser sends a cookie with requests that other sites cause, RFC 6265bis 5.6.7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Never sends it with them, not even when the user follows a link from another site.
    Strict,
    /// Sends it when the user follows a link or otherwise navigates by a safe method. The default.
    #[default]
    Lax,
    /// Always sends it. Browsers accept this for `Secure` cookies only, so clients that did not come by TLS get
    /// [`Lax`](Self::Lax).
    None,
}

/// The cookie of a session: its name, its secret and its attributes.
#[derive(Clone, Debug)]
pub(super) struct SessionCookie {
    /// A token in the sense of RFC 9110 5.6.2.
    name: Arc<str>,
    /// The secret that endpoint names are hashed with.
    pub(super) key: [u8; 16],
    pub(super) same_site: SameSite,
}

impl SessionCookie {
    /// Makes a cookie with a random key and `SameSite=Lax`.
    ///
    /// # Errors
    ///
    /// A config error if `name` is not a token, or if the operating system gives no random numbers.
    pub(super) fn new(name: &str) -> Result<Self, Error> {
        // RFC 6265 4.1.1: a cookie's name is a token, and so is the name of a header field (RFC 9110 5.1).
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(Error::config(
                "sticky cookie",
                format!("{name:?} is not a token"),
            ));
        }
        Ok(Self {
            name: name.into(),
            key: random::secret("sticky cookie")?,
            same_site: SameSite::Lax,
        })
    }

    /// Reads the token that a request brings. A value that is no number is as good as no cookie.
    pub(super) fn affinity(&self, request: &Request<Body>) -> Affinity {
        let value =
            cookie(request.headers(), &self.name).and_then(|value| std::str::from_utf8(value).ok());
        let key = value.and_then(|value| u128::from_str_radix(value, 16).ok());
        Affinity {
            key,
            bound: key.is_some(),
            key_beneath: None,
            secure: request.body().client().tls,
        }
    }

    /// Sets the cookie to `endpoint`, which has answered, unless the request had that cookie already.
    pub(super) fn mark<B>(
        &self,
        response: &mut Response<B>,
        affinity: Affinity,
        endpoint: &Arc<str>,
    ) {
        let token = self.token(endpoint);
        if affinity.key == Some(token) {
            return;
        }
        // A browser ignores a cookie with `SameSite=None` and without `Secure` (RFC 6265bis, "Storage Model").
        let same_site = match self.same_site {
            SameSite::Strict => "Strict",
            SameSite::None if affinity.secure => "None",
            SameSite::Lax | SameSite::None => "Lax",
        };
        let secure = if affinity.secure { "; Secure" } else { "" };
        let name = &self.name;
        let cookie = format!("{name}={token:032x}; Path=/; HttpOnly; SameSite={same_site}{secure}");
        // The name is a token, so the value is valid.
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            let headers = response.headers_mut();
            headers.append(header::SET_COOKIE, cookie);
            // RFC 9111 7.3: "The Set-Cookie response header field does not inhibit caching". A shared cache would give
            // the cookie to every client, and all would go to one endpoint; HAProxy has `nocache` against that. It does
            // not matter what else the endpoint sent: of directives that conflict, "the most restrictive directive
            // should be honored" (4.2.1).
            if !is_private(headers) {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static("private"));
            }
        }
    }

    /// Returns the token of an endpoint: SipHash-2-4 of its name with 128 bits, a keyed hash (PRF) that neither reveals
    /// the name nor can be computed without the key.
    fn token(&self, endpoint: &str) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(endpoint.as_bytes());
        hasher.finish128().as_u128()
    }
}

/// Returns whether the response forbids shared caches to store it, RFC 9111 5.2.2.5 (`no-store`) and 5.2.2.7
/// (`private`).
///
/// `private` with an argument does not count: it concerns the fields that it names, and the rest may be stored. A line
/// with a quoted argument is not looked into, since a comma in it separates nothing: a second `private` does no harm.
fn is_private(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CACHE_CONTROL).into_iter();
    let plain = lines.filter(|line| !line.as_bytes().contains(&b'"'));
    plain.flat_map(members).any(|directive| {
        directive.eq_ignore_ascii_case(b"private") || directive.eq_ignore_ascii_case(b"no-store")
    })
}

/// The picker of [`Sticky`](super::Sticky) over one set of endpoints.
pub(super) struct StickyPicker<S> {
    cookie: SessionCookie,
    /// The endpoints, by their tokens.
    by_token: HashMap<u128, Arc<Endpoint<S>>>,
    /// The picker of the policy beneath, over the same endpoints.
    over: Arc<dyn Picker<S>>,
}

impl<S> StickyPicker<S> {
    /// Makes a picker over no endpoints yet.
    pub(super) fn new(cookie: SessionCookie, over: Arc<dyn Picker<S>>) -> Self {
        Self {
            cookie,
            by_token: HashMap::new(),
            over,
        }
    }
}

impl<S: Send + Sync + 'static> Picker<S> for StickyPicker<S> {
    fn updated(self: Arc<Self>, members: &Arc<Endpoints<S>>) -> Arc<dyn Picker<S>> {
        let token = |member: &Arc<Endpoint<S>>| (self.cookie.token(member.name()), member.clone());
        Arc::new(Self {
            cookie: self.cookie.clone(),
            by_token: members.iter().map(token).collect(),
            over: self.over.clone().updated(members),
        })
    }

    fn pick(&self, members: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let own = info
            .affinity
            .key
            .and_then(|token| self.by_token.get(&token));
        match own.filter(|own| info.untried(own) && own.rank() < Rank::Avoided) {
            Some(own) => Some(Picked::start(own)),
            None => {
                let affinity = Affinity {
                    key: info.affinity.key_beneath,
                    ..Affinity::default()
                };
                let tried = info.tried;
                self.over.pick(members, &PickInfo { tried, affinity })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{any::Sticky, consistent_hash::ConsistentHash, fixture::TestCluster},
        *,
    };
    use crate::record::{ClientFacts, Record};

    /// Makes a request of a client that came by TLS, or did not, whatever it claims in its fields.
    fn over(tls: bool) -> Request<Body> {
        let client = ClientFacts {
            tls,
            ..ClientFacts::default()
        };
        let body = Body::empty().with_record(Arc::new(Record::new(client)));
        Request::get("/")
            .header("x-forwarded-proto", "gopher")
            .body(body)
            .unwrap()
    }

    fn with_cookie(cookie: &str) -> Request<Body> {
        let mut request = over(true);
        let cookie = format!("a=b; {cookie}; c=d").parse().unwrap();
        request.headers_mut().insert("cookie", cookie);
        request
    }

    /// Returns the cookie that is set for the client of this request, if any, and the endpoint it reached.
    fn visit(cluster: &TestCluster, request: &Request<Body>) -> (Option<String>, Arc<str>) {
        let endpoint = cluster
            .pick_for(&[], request)
            .unwrap()
            .endpoint
            .name()
            .clone();
        let mut response = Response::new(());
        cluster
            .policy
            .mark(&mut response, cluster.policy.affinity(request), &endpoint);
        let set = response
            .headers()
            .get("set-cookie")
            .map(|value| value.to_str().unwrap().to_owned());
        (set, endpoint)
    }

    #[test]
    fn a_client_comes_back_to_its_endpoint() {
        let mut cluster = TestCluster::new(Sticky::cookie("backend").unwrap(), &[1; 10]);
        let (set, first) = visit(&cluster, &with_cookie("x=y"));
        let set = set.unwrap();
        let (pair, attributes) = set.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Secure");
        for _ in 0..20 {
            assert_eq!(
                visit(&cluster, &with_cookie(pair)),
                (None, first.clone()),
                "no new cookie, either"
            );
        }
        let at = cluster
            .members
            .iter()
            .position(|member| *member.name() == first)
            .unwrap();
        cluster.remove(at);
        let (set, second) = visit(&cluster, &with_cookie(pair));
        assert!(
            second != first && set.is_some(),
            "its endpoint is gone: another, and a new cookie"
        );
    }

    #[test]
    fn a_hash_beneath_places_clients_without_a_cookie() {
        let hash = ConsistentHash::header("x-user".parse().unwrap());
        let sticky = Sticky::cookie("backend").unwrap().over(hash);
        let cluster = TestCluster::new(sticky, &[1; 10]);
        let of_user = |cookie: &str| {
            let mut request = with_cookie(cookie);
            request
                .headers_mut()
                .insert("x-user", "ada".parse().unwrap());
            visit(&cluster, &request).1
        };
        let first = of_user("x=y");
        assert!(
            (0..20).all(|_| of_user("x=y") == first),
            "one user, one endpoint"
        );
        assert_eq!(
            of_user("backend=1"),
            first,
            "a cookie that is void is no key"
        );
    }

    #[test]
    fn the_cookie_reveals_nothing_and_cannot_be_made_up() {
        let cluster = TestCluster::new(Sticky::cookie("backend").unwrap(), &[1; 3]);
        for forged in [
            "backend=0",
            "backend=",
            "backend=zzz",
            "backend=00000000000000000000000000000001",
        ] {
            assert!(
                visit(&cluster, &with_cookie(forged)).0.is_some(),
                "{forged}"
            );
        }
        let other = TestCluster::new(Sticky::cookie("backend").unwrap(), &[1; 3]);
        let cookie = visit(&cluster, &with_cookie("x=y")).0.unwrap();
        let pair = cookie.split(';').next().unwrap();
        assert!(
            visit(&other, &with_cookie(pair)).0.is_some(),
            "another process has another key"
        );
    }

    #[test]
    fn attributes_follow_the_settings() {
        let attributes = |sticky: Sticky, scheme: &str| {
            let request = over(scheme == "https");
            let cookie = visit(&TestCluster::new(sticky, &[1]), &request).0.unwrap();
            cookie.split_once("; ").unwrap().1.to_owned()
        };
        let sticky = || Sticky::cookie("backend").unwrap();
        assert_eq!(
            attributes(sticky(), "http"),
            "Path=/; HttpOnly; SameSite=Lax"
        );
        let none = || sticky().same_site(SameSite::None);
        assert_eq!(
            attributes(none(), "https"),
            "Path=/; HttpOnly; SameSite=None; Secure"
        );
        assert_eq!(
            attributes(none(), "http"),
            "Path=/; HttpOnly; SameSite=Lax",
            "None without Secure is dropped"
        );
        assert!(
            Sticky::cookie("no name")
                .unwrap_err()
                .to_string()
                .contains("sticky cookie")
        );
    }
}
