//! The link of a request body to its exchange.

use std::sync::Arc;

use http::Request;

use crate::record::{OnSent, Record, UploadState};

/// The link of a body to its exchange.
///
/// It is a struct of its own so that its `Drop` runs also where the body is taken apart. It moves to the outermost body
/// when one is [wrapped](Body::wrap), so that each exchange is told once.
#[derive(Default)]
pub(super) struct Link {
    /// The exchange. `None` until a proxy, a balancer or a client asks for it.
    pub(super) record: Option<Arc<Record>>,
    /// The generation of the upload that this body is, by which the record knows it. 0 for a body that is empty, which
    /// records nothing.
    pub(super) generation: u32,
    /// The number of clusters that the request has passed on its way to this endpoint: 0 outside of any.
    pub(super) depth: u8,
    /// The index of the attempt that sends the body, among those of the record. `None` outside of any cluster.
    pub(super) attempt: Option<u32>,
    /// The head of the request exactly as the endpoint's client gets it, if a balancer has kept a copy that the client
    /// may use as well.
    pub(super) head: Option<Arc<Request<()>>>,
    /// To be notified when the body has been sent or is dropped: one per cluster that the request has passed. Emptied
    /// by the notification. Boxed to keep requests small, which are moved often: only bodies that are not empty have
    /// it.
    #[expect(clippy::box_collection, reason = "a word instead of three")]
    pub(super) on_sent: Option<Box<Vec<Arc<dyn OnSent>>>>,
}

impl Link {
    /// Records that the upload has moved to `state`. `None` stands for a pending poll.
    pub(super) fn note(&mut self, state: Option<UploadState>) {
        let Some(record) = &self.record else { return };
        match state {
            Some(state) => record.touch_upload(self.generation, state),
            // The client's time runs from the moment at which more is wanted. Later polls that are pending as well must
            // not start it anew, so only the change from `Held` is recorded.
            None if record.upload().state_of(self.generation) == Some(UploadState::Held) => {
                record.touch_upload(self.generation, UploadState::Wanted);
            }
            None => {}
        }
        if state == Some(UploadState::Done) {
            self.sent();
        }
    }

    /// Counts bytes of the body that move on.
    pub(super) fn sent_data(&self, bytes: usize) {
        if let Some(record) = &self.record {
            record.sent(self.generation, bytes as u64);
        }
    }

    /// Notifies those that wait for the body to be sent. Later calls do nothing.
    fn sent(&mut self) {
        // Nothing waits for a body that was empty from the beginning, as most are.
        if let Some(on_sent) = self.on_sent.take() {
            on_sent.iter().for_each(|on_sent| on_sent.sent());
        }
    }
}

impl Drop for Link {
    /// Ends an upload that is still under way: an endpoint that drops the body early wants no more of it, and from then
    /// on only its response is awaited.
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            let state = record.upload().state_of(self.generation);
            if state.is_some_and(UploadState::is_under_way) {
                record.touch_upload(self.generation, UploadState::Done);
            }
        }
        self.sent();
    }
}
