//! One exchange over HTTP/2.

use http::{Request, Response};
use hyper::client::conn::http2::SendRequest;

use super::{
    body::{Held, Http2Body},
    shared::Place,
};
use crate::{body::Body, upstream::error::Failure};

/// A place on a connection, for one request.
#[derive(Debug)]
pub(in crate::upstream) struct Stream {
    sender: SendRequest<Body>,
    place: Place,
}

impl Stream {
    pub(super) fn new(sender: SendRequest<Body>, place: Place) -> Self {
        Self { sender, place }
    }

    /// Sends a request in absolute form and waits for the response head; the place goes with the response.
    ///
    /// Dropping the future resets the stream.
    pub(in crate::upstream) async fn send(
        self,
        request: Request<Body>,
    ) -> Result<Response<Http2Body>, Failure> {
        let Self {
            mut sender,
            mut place,
        } = self;
        let (request, upload) = place.shared.uploads.watch(request);
        let sent = sender.try_send_request(request).await;
        place.answered();
        let response = sent?;
        let bounds = place.shared.bounds;
        // Dropped, the response resets its stream, and that alone.
        let checked = bounds.check(response.headers());
        checked.map_err(|error| Failure::Response(error.into()))?;
        let held = Held::new(sender, place, upload);
        Ok(response.map(|incoming| Http2Body::new(incoming, held, bounds)))
    }
}
