//! The endpoint a client had before.

use std::{collections::HashMap, hash::Hasher, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::{Affinity, Ask, Means, Members, Picked, Picker, Policy};
use crate::{
    body::Body,
    endpoint::{Class, Endpoint},
    error::Error,
};

/// The endpoint a client had before, by a cookie that this proxy sets.
///
/// The cookie holds a hash of the endpoint's name under a secret key: it gives no address away, and cannot be made up.
/// A client without one, or whose endpoint is gone or was tried already, goes where the policy [beneath](Self::over)
/// says, and gets a new cookie. The cookie is `HttpOnly`, for `Path=/`, and `Secure` when the client came by TLS; it
/// ends with the browser's session.
#[derive(Clone, Debug)]
pub struct Sticky {
    name: Arc<str>,
    key: [u8; 16],
    same_site: SameSite,
    over: Box<Policy>,
}

/// Whether a browser sends a cookie with requests that other sites cause, RFC 6265bis 5.6.7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When the user follows a link.
    #[default]
    Lax,
    /// Always. Browsers take it from `Secure` cookies only, so it is sent to clients that came by TLS.
    None,
}

impl Sticky {
    /// By a cookie of this name.
    ///
    /// # Errors
    ///
    /// A config error if it is not a token, RFC 9110 5.6.2.
    pub fn cookie(name: &str) -> Result<Self, Error> {
        // Field names are the same tokens.
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(Error::config("sticky cookie", format!("{name:?} is not a token")));
        }
        let key = fastrand::u128(..).to_le_bytes();
        Ok(Self { name: name.into(), key, same_site: SameSite::Lax, over: Box::default() })
    }

    /// The secret that names are hashed with. Default: drawn at random, so that cookies end with the process. Give all
    /// proxies before the same endpoints the same one.
    #[must_use]
    pub fn key(mut self, key: [u8; 16]) -> Self {
        self.key = key;
        self
    }

    /// Default [`SameSite::Lax`].
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// How clients without a cookie are balanced. Default [`P2c`](super::P2c).
    #[must_use]
    pub fn over(mut self, policy: impl Into<Policy>) -> Self {
        *self.over = policy.into();
        self
    }

    pub(super) fn affinity(&self, request: &Request<Body>) -> Affinity {
        let value = cookie(request.headers(), &self.name).and_then(|value| std::str::from_utf8(value).ok());
        // Set by the proxy in front of the balancer, whatever the client sent.
        let proto = request.headers().get("x-forwarded-proto").map(HeaderValue::as_bytes);
        Affinity {
            key: value.and_then(|value| u128::from_str_radix(value, 16).ok()),
            secure: proto == Some(b"https"),
        }
    }

    pub(super) fn mark<B>(&self, response: &mut Response<B>, affinity: Affinity, endpoint: &Arc<str>) {
        let token = self.token(endpoint);
        if affinity.key == Some(token) {
            return;
        }
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
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }

    pub(super) fn picker<S: Send + Sync + 'static>(&self, means: Means) -> Sessions<S> {
        Sessions { sticky: self.clone(), by_token: HashMap::new(), over: self.over.picker(means) }
    }

    fn token(&self, endpoint: &str) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(endpoint.as_bytes());
        hasher.finish128().as_u128()
    }
}

pub(super) struct Sessions<S> {
    sticky: Sticky,
    by_token: HashMap<u128, Arc<Endpoint<S>>>,
    over: Box<dyn Picker<S>>,
}

impl<S: Send + Sync> Picker<S> for Sessions<S> {
    fn update(&mut self, members: &Members<S>) {
        let token = |member: &Arc<Endpoint<S>>| (self.sticky.token(member.name()), member.clone());
        self.by_token = members.iter().map(token).collect();
        self.over.update(members);
    }

    fn pick(&self, members: &Members<S>, ask: &Ask<'_, S>) -> Option<Picked<S>> {
        let own = ask.affinity.key.and_then(|token| self.by_token.get(&token));
        match own.filter(|own| ask.untried(own) && own.class() != Class::Away) {
            Some(own) => Some(Picked::start(own)),
            None => self.over.pick(members, ask),
        }
    }
}

/// The value of a cookie, RFC 6265 4.2.1; of several, the first.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let values = pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    values.into_iter().next()
}
