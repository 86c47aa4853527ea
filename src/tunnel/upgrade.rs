//! The two halves of an upgrade: what a client asks for, and what its endpoint agrees to.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use hyper::upgrade::{OnUpgrade, on};

use super::relay::Tunnel;
use crate::{
    body::Body,
    error::{Error, ErrorKind},
    record::Record,
    rewrite::{Fields, Seen, tokens},
};

/// A client's request to switch protocols, with its end of the tunnel to be.
pub(crate) struct UpgradeRequest {
    token: HeaderValue,
    downstream: OnUpgrade,
}

impl UpgradeRequest {
    /// Takes the wish to switch out of a request, if there is one that may go through.
    ///
    /// Only HTTP/1.1 has it. The request may have a body, as `docker exec` sends one. RFC 9110 7.8: what follows the
    /// 101 is the new protocol's, but the request is HTTP to its end, which its framing tells: both connections are
    /// handed to the tunnel when the body is over, not before, whenever the endpoint has agreed.
    pub(crate) fn take(
        request: &mut Request<Body>,
        seen: Seen,
        allowed: &[String],
    ) -> Option<Self> {
        if request.version() != Version::HTTP_11 || !seen.any(Fields::UPGRADE) {
            return None;
        }
        let headers = request.headers();
        let upgrade = |option: &[u8]| option.eq_ignore_ascii_case(b"upgrade");
        if !tokens(headers, &header::CONNECTION).any(upgrade) {
            return None;
        }
        let allowed = |token: &&[u8]| {
            allowed
                .iter()
                .any(|allowed| token.eq_ignore_ascii_case(allowed.as_bytes()))
        };
        let token = tokens(headers, &header::UPGRADE).find(allowed)?;
        let token = HeaderValue::from_bytes(token).ok()?;
        // A server that cannot hand its connection over, or a test that has none.
        request.extensions().get::<OnUpgrade>()?;
        Some(Self {
            token,
            downstream: on(request),
        })
    }

    /// Puts the wish on the head of a request. The connection that takes the request adds `Connection`.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(header::UPGRADE, self.token.clone());
    }

    /// Returns the token both sides agree on, and the tunnel, still holding the response's head.
    ///
    /// RFC 9110 7.8: "A server MUST NOT switch to a protocol that was not indicated by the client".
    pub(crate) fn agree<B: http_body::Body>(
        self,
        mut response: Response<B>,
        record: Arc<Record>,
        idle: Option<Duration>,
    ) -> Result<(HeaderValue, Response<Tunnel<B>>), Error> {
        let ours = |token: &[u8]| token.eq_ignore_ascii_case(self.token.as_bytes());
        let headers = response.headers();
        let agreed = headers
            .get(header::UPGRADE)
            .is_some_and(|token| ours(token.as_bytes()))
            && tokens(headers, &header::UPGRADE).count() == 1;
        if !agreed || response.extensions().get::<OnUpgrade>().is_none() {
            return Err(Error::new(ErrorKind::Upgrade));
        }
        let (downstream, upstream) = (self.downstream, on(&mut response));
        Ok((
            self.token,
            response.map(|held| Tunnel::new(downstream, upstream, record, idle, held)),
        ))
    }
}

/// Puts the fields of an upgrade on a response head that has been stripped of them.
pub(crate) fn announce(headers: &mut HeaderMap, token: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, token);
}
