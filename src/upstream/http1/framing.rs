//! The fields of a request head that belong to one HTTP/1 connection.

use http::{HeaderValue, Request, header};
use http_body::Body as _;

use crate::{
    body::Body,
    rewrite::{Fields, Seen},
};

/// Puts on a head what belongs to its connection: its framing, and the options of `Connection`.
pub(super) fn frame(request: &mut Request<Body>, seen: Seen) {
    let body = request.body();
    // hyper drops a GET, HEAD or CONNECT body of unknown length unless the head says that it is chunked.
    let unknown = !body.is_end_stream() && body.size_hint().exact().is_none();
    let headers = request.headers_mut();
    if unknown {
        headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    }
    // RFC 9110 7.8 and 10.1.4: a sender of Upgrade or TE has to name it in Connection.
    let options = match (seen.any(Fields::UPGRADE), seen.any(Fields::TE)) {
        (false, false) => return,
        (true, false) => "upgrade",
        (false, true) => "te",
        (true, true) => "upgrade, te",
    };
    headers.insert(header::CONNECTION, HeaderValue::from_static(options));
}
