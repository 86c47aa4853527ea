//! Which requests are copied.

use std::sync::Arc;

use http::{Method, Request, header, request::Parts};
use http_body::Body as _;
use tokio::sync::oneshot;

use super::{
    answer::MirrorAnswer,
    copy::{MirrorTask, RequestMirror},
    settings::MirrorSettings,
    state::MirrorState,
    stats::MirrorPermit,
};
use crate::body::Body;

/// The second service, and what all services of a layer share.
#[derive(Clone, Debug)]
pub(super) struct Copier<M> {
    pub(super) service: M,
    pub(super) settings: Arc<MirrorSettings>,
    pub(super) state: Arc<MirrorState>,
}

/// What tells the task of a copy the answer of the first service.
pub(super) type FirstAnswer = Option<oneshot::Sender<MirrorAnswer>>;

impl<M: Clone> Copier<M> {
    /// Returns the copy of a request, without its body, if it is to have one. Runs code of the user.
    pub(super) fn copy(
        &self,
        head: &Parts,
        body: &Body,
    ) -> Option<(RequestMirror<M>, FirstAnswer)> {
        let (settings, counts) = (&self.settings, &self.state.counts);
        if !self.state.is_drawn(settings.ratio) {
            return None;
        }
        if settings
            .matching
            .as_ref()
            .is_some_and(|matches| !matches(head))
        {
            return None;
        }
        if head.method == Method::CONNECT || head.headers.contains_key(header::UPGRADE) {
            counts.upgrade.add();
            return None;
        }
        if body.size_hint().lower() > settings.body_limit as u64 {
            counts.too_large.add();
            return None;
        }
        let Some(permit) = MirrorPermit::take(counts, settings.max_in_flight) else {
            counts.busy.add();
            return None;
        };
        let (tell, first) = settings.compare.is_some().then(oneshot::channel).unzip();
        let task = MirrorTask {
            service: self.service.clone(),
            head: copied_head(head),
            settings: settings.clone(),
            permit,
            first,
        };
        let state = self.state.clone();
        Some((RequestMirror { task, state }, tell))
    }
}

/// Returns a copy of a head without its extensions: hooks on interim responses, deadlines and the like are for the
/// first service.
fn copied_head(head: &Parts) -> Parts {
    let mut copy = Request::new(()).into_parts().0;
    copy.method = head.method.clone();
    copy.uri = head.uri.clone();
    copy.version = head.version;
    copy.headers = head.headers.clone();
    copy
}
