//! [`MessageUpload`]: a request body that goes on while its call does.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;

/// The messages of a channel. The body ends when all senders are dropped.
pub(super) struct MessageUpload(pub(super) mpsc::Receiver<Bytes>);

impl http_body::Body for MessageUpload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let message = self.get_mut().0.poll_recv(cx);
        message.map(|message| message.map(|message| Ok(Frame::data(message))))
    }
}
