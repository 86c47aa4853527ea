//! Hands a connection over to a tunnel, when its endpoint has agreed to switch protocols.

use std::future::poll_fn;

use http::Response;
use tokio::{sync::oneshot, time::sleep};

use super::{body::Http1Body, connection::Http1, upload::LINGER};
use crate::{
    body::Body,
    tunnel::{Upgraded, offer},
};

/// Returns the response that agrees to a tunnel, with the connection to it in its extensions.
///
/// The tunnel begins where the request ends: a task sends what is left of `request` first, if anything is. It ends with
/// the request, with the connection, or [`LINGER`] after the tunnel was given up.
pub(super) fn hand_over(
    response: Response<()>,
    http1: Http1,
    request: Body,
) -> Response<Http1Body> {
    let (sender, upgrade) = oneshot::channel();
    let mut response = response.map(|()| Http1Body::ended());
    offer(&mut response, upgrade);
    match http1.wire().is_still_sending() {
        true => drop(tokio::spawn(finish(http1, request, sender))),
        // Fails if the response is gone, and the connection with it.
        false => drop(sender.send(upgraded(http1))),
    }
    response
}

/// Sends the rest of a request, and hands the connection over.
async fn finish(mut http1: Http1, mut request: Body, mut sender: oneshot::Sender<Upgraded>) {
    let unwanted = async {
        sender.closed().await;
        sleep(LINGER).await;
    };
    tokio::select! {
        sent = poll_fn(|cx| http1.wire_mut().poll_upload(&mut request, cx)) => {
            if sent.is_err() {
                return;
            }
        }
        () = unwanted => return,
    }
    drop(sender.send(upgraded(http1)));
}

/// Returns the stream of a connection, which begins with what has been read ahead.
fn upgraded(http1: Http1) -> Upgraded {
    let (io, read_ahead, held) = http1.into_parts();
    Upgraded::new(io, read_ahead, held)
}
