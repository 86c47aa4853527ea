//! A watch of a prefix: the changes of its keys, and whether it is alive.

use std::{future::ready, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    keys::PrefixKeys,
    members::{EtcdMember, EtcdMethod, OpenWatch},
    messages::{self, WatchMessage},
};
use crate::{clock::after, discover::source_error::SourceError, error::BoxError};

/// A watch that the server has begun. It ends when it is dropped.
pub(super) struct PrefixWatch {
    member: EtcdMember,
    open: OpenWatch,
    pub(super) begun: Instant,
    /// After what time without a message the server is asked for one.
    heartbeat: Duration,
    /// When the last message came.
    heard: Instant,
    /// Whether the server was asked for a message since then.
    is_asked: bool,
    /// How it has ended, if the changes before that have not been reported yet.
    end: Option<WatchEnd>,
}

/// Why a watch has ended.
pub(super) enum WatchEnd {
    /// The changes that come next are not there any more.
    Compacted,
    Failed(BoxError),
}

impl PrefixWatch {
    /// Begins a watch with this request, and waits until the server has begun it.
    ///
    /// # Errors
    ///
    /// It refuses, or does not answer in time.
    pub(super) async fn begin(
        member: EtcdMember,
        request: Bytes,
        heartbeat: Duration,
    ) -> Result<Self, SourceError> {
        let mut open = member.watch(request).await?;
        let begun = Instant::now();
        let limit = after(begun, member.timeout);
        let answer = timeout_at(limit, open.messages.next()).await;
        let Ok(answer) = answer else {
            let what = format!("Watch got no answer within {:?}", member.timeout);
            return Err(member.error_of(what));
        };
        let method = EtcdMethod::Watch;
        let answer = answer.map_err(|failure| member.failure(method, failure))?;
        let answer = answer.map(|message| WatchMessage::of(&message)).transpose();
        let answer = answer.map_err(|error| member.violation(method, error))?;
        match answer {
            Some(message) if message.canceled.is_none() && message.is_created => Ok(Self {
                member,
                open,
                begun,
                heartbeat,
                heard: begun,
                is_asked: false,
                end: None,
            }),
            Some(WatchMessage {
                canceled: Some(why),
                ..
            }) => Err(member.error_of(format!("Watch was refused: {why}"))),
            _ => Err(member.error_of("Watch was not begun".to_owned())),
        }
    }

    /// Describes an error of the member.
    pub(super) fn error(&self, what: &str) -> BoxError {
        self.member.error_of(what.to_owned()).into()
    }

    /// Waits for a message and applies its changes, with those of all others that have arrived. Returns whether
    /// anything has changed: a message may say that nothing has.
    ///
    /// # Errors
    ///
    /// How the watch has ended, once all changes before that were reported.
    pub(super) async fn change(&mut self, keys: &mut PrefixKeys) -> Result<bool, WatchEnd> {
        if let Some(end) = self.end.take() {
            return Err(end);
        }
        let message = self.message().await?;
        let mut is_other = take(message, keys)?;
        loop {
            let next = tokio::select! {
                biased;
                next = self.open.messages.next() => next,
                // Nothing more has arrived.
                () = ready(()) => return Ok(is_other),
            };
            match self.read(next).and_then(|message| take(message, keys)) {
                Ok(others) => is_other |= others,
                Err(end) => {
                    self.end = Some(end);
                    return Ok(is_other);
                }
            }
        }
    }

    /// Waits for the next message, and asks for one if none comes.
    async fn message(&mut self) -> Result<WatchMessage, WatchEnd> {
        loop {
            let silent = match self.is_asked {
                true => self.heartbeat.saturating_mul(2),
                false => self.heartbeat,
            };
            let limit = after(self.heard, silent);
            let message = tokio::select! {
                biased;
                message = self.open.messages.next() => message,
                () = sleep_until(limit) => {
                    if self.is_asked {
                        let what = format!("Watch was silent for {silent:?}");
                        return Err(WatchEnd::Failed(self.member.error_of(what).into()));
                    }
                    self.is_asked = true;
                    // If there is no room, the last question has not been read yet, which the silence will tell.
                    let _ = self.open.requests.try_send(messages::progress());
                    continue;
                }
            };
            return self.read(message);
        }
    }

    /// Reads what came for a message.
    fn read(
        &mut self,
        message: Result<Option<Bytes>, crate::grpc::CallFailure>,
    ) -> Result<WatchMessage, WatchEnd> {
        (self.heard, self.is_asked) = (Instant::now(), false);
        let failed = |error: SourceError| WatchEnd::Failed(error.into());
        let method = EtcdMethod::Watch;
        let message = message.map_err(|failure| failed(self.member.failure(method, failure)))?;
        let Some(message) = message else {
            let ended = self.member.error_of("Watch has ended".to_owned());
            return Err(failed(ended));
        };
        let message = WatchMessage::of(&message)
            .map_err(|violation| failed(self.member.violation(method, violation)))?;
        match &message.canceled {
            Some(_) if message.compact_revision > 0 => Err(WatchEnd::Compacted),
            Some(why) => Err(failed(
                self.member.error_of(format!("Watch was ended: {why}")),
            )),
            None => Ok(message),
        }
    }
}

/// Applies the changes of a message. Returns whether anything has changed.
fn take(message: WatchMessage, keys: &mut PrefixKeys) -> Result<bool, WatchEnd> {
    let mut is_other = false;
    for change in message.changes {
        is_other |= keys.apply(change).map_err(WatchEnd::Failed)?;
    }
    Ok(is_other)
}
