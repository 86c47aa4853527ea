//! The content of a response on its way into the store.

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::{
    background::HeldFlight,
    budget::Reserved,
    fetch::{Fetch, Fetched},
    flight::FlightHead,
    recordable::Recordable,
    recording::{Recording, RecordingWriter},
    rules::is_not_modified,
    store::Store,
    stored::{StoredBody, StoredResponse},
};

impl<St: Store> Fetch<St> {
    /// Shares a response while it arrives, and stores it at its end.
    pub(super) async fn record<RB: Body<Data = Bytes>, E>(
        &self,
        recordable: Recordable,
        response: Response<RB>,
        first: oneshot::Sender<Fetched<RB, E>>,
        held: Option<HeldFlight>,
    ) {
        let (times, since, length) = (recordable.times, recordable.since, recordable.length);
        let (parts, body) = response.into_parts();
        // HTTP/2 has fields behind a content whose length was announced.
        let has_trailers = parts.headers.contains_key(header::TRAILER);
        // Its body is dropped at once.
        let is_304 = self.client.as_ref().is_some_and(|client| {
            is_not_modified(client, parts.status, &parts.headers, times.response)
        });
        let reserved = Reserved::none(self.state.budget.clone());
        let (recording, writer) = Recording::new(recordable, reserved);
        // A response that is fetched to its end in any case is held from here on, any other from its last chunk.
        let mut held = held;
        if (self.state.settings.fetches_abandoned || is_304) && held.is_none() {
            held = self.hold();
        }
        // At its beginning while nothing else can be ahead of it.
        if let Some(cursor) = recording.read() {
            let _ = first.send(Fetched::Live(parts, cursor, length));
        }
        self.share(FlightHead::Live(recording.clone()));
        let trailers = self
            .receive(body, length, has_trailers, &writer, &mut held)
            .await;
        let (Some(trailers), Some(chunks)) = (trailers, writer.content()) else {
            return;
        };
        let body = Arc::new(StoredBody::new(chunks, trailers));
        let (headers, selecting) = (recording.headers.clone(), recording.selecting.clone());
        let response = StoredResponse::new(recording.status, headers, body, selecting, times);
        self.state
            .put(&self.lookup.key, Arc::new(response), since)
            .await;
        // Held until it is stored.
        drop(held);
    }

    /// Reads the content to its end, and completes the recording. Returns the trailers. `None` if it broke.
    ///
    /// `has_trailers`: the head has announced them.
    async fn receive<RB: Body<Data = Bytes>>(
        &self,
        body: RB,
        length: Option<u64>,
        has_trailers: bool,
        writer: &RecordingWriter,
        held: &mut Option<HeldFlight>,
    ) -> Option<Option<HeaderMap>> {
        let mut body = pin!(body);
        let (mut received, mut keeps) = (0_u64, true);
        loop {
            let frame = match body.is_end_stream() {
                true => None,
                false => body.frame().await,
            };
            let data = match frame.transpose().ok()?.map(Frame::into_data) {
                Some(Ok(data)) => data,
                end => {
                    // RFC 9112 8: a message that is shorter than it said is incomplete.
                    if length.is_some_and(|length| length != received) {
                        return None;
                    }
                    let trailers = end.and_then(Result::err);
                    let trailers = trailers.and_then(|frame| frame.into_trailers().ok());
                    self.hold_last(held);
                    writer.complete(trailers.clone());
                    return Some(trailers);
                }
            };
            received += data.len() as u64;
            if length.is_some_and(|length| received > length) {
                return None;
            }
            // A server that has sent the length that was announced asks for no more, so its last chunk has to be known
            // as such: the client may be gone before the end is read.
            let is_all = length == Some(received);
            let is_last = body.is_end_stream() || (is_all && !has_trailers);
            if keeps && received > self.state.settings.max_response {
                keeps = false;
            }
            if keeps && is_last {
                self.hold_last(held);
                if writer.keep_last(&data) {
                    return Some(None);
                }
                keeps = false;
            } else if keeps {
                if is_all {
                    self.hold_last(held);
                }
                keeps = writer.keep(&data);
            }
            if !keeps {
                self.stop_keeping(writer);
                // What is dropped now has been read by one reader at least.
                writer.wanted().await;
                writer.pass(data);
                if is_last {
                    writer.complete(None);
                    return None;
                }
            }
        }
    }

    /// Has later requests ask for themselves, because the response is too large.
    fn stop_keeping(&self, writer: &RecordingWriter) {
        if writer.pass_through() && self.plain {
            self.state.flights.close(&self.lookup.key);
            self.state.not_storable.add(&self.lookup.key);
        }
    }

    /// Has the flight go on until the response is stored, although all who read it have what they need.
    fn hold_last(&self, held: &mut Option<HeldFlight>) {
        if held.is_none() {
            *held = self.hold();
        }
    }

    fn hold(&self) -> Option<HeldFlight> {
        self.background.upgrade()?.hold(self.flight.upgrade()?)
    }
}
