//! What is kept of an answer to compare it with another one.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, response::Parts};
use http_body::Frame;

use crate::hash::StreamHash;

/// The answers of both services to one request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Comparison {
    /// The method of the request.
    pub method: Method,
    /// The target of the request, as the first service got it.
    pub uri: Uri,
    /// The answer of the first service, which the client was sent.
    pub first: MirrorAnswer,
    /// The answer of the second service. `None` if it has failed, or has not answered in time.
    pub second: Option<MirrorAnswer>,
}

impl Comparison {
    /// Returns whether both answers are the same in all that is compared: status, chosen fields, and the whole body.
    ///
    /// Answers whose body is longer than the limit are not known to be the same, so this is `false` for them.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.first.digest.is_some() && self.second.as_ref() == Some(&self.first)
    }
}

/// What is compared of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MirrorAnswer {
    /// The status.
    pub status: StatusCode,
    /// The fields that were chosen, with all their lines, those of trailers after those of the head.
    pub fields: HeaderMap,
    /// The length of the body in bytes, as far as it was read.
    pub bytes: u64,
    /// A hash of the whole body. `None` if it is longer than the limit.
    ///
    /// It is SipHash-1-3 with the key 0, which tells different bodies apart unless one was made to deceive it.
    pub digest: Option<u128>,
}

/// Makes a [`MirrorAnswer`] of a response while its body passes.
#[derive(Debug)]
pub(super) struct AnswerReader {
    answer: MirrorAnswer,
    chosen: Arc<[HeaderName]>,
    /// The number of bytes that the body may have.
    limit: u64,
    hash: StreamHash,
}

impl AnswerReader {
    /// Begins with the head.
    pub(super) fn new(head: &Parts, chosen: Arc<[HeaderName]>, limit: u64) -> Self {
        let mut reader = Self {
            answer: MirrorAnswer {
                status: head.status,
                fields: HeaderMap::new(),
                bytes: 0,
                digest: None,
            },
            chosen,
            limit,
            hash: StreamHash::default(),
        };
        reader.fields(&head.headers);
        reader
    }

    /// Reads a frame of the body. Returns whether the body is still within the limit.
    pub(super) fn frame(&mut self, frame: &Frame<Bytes>) -> bool {
        if let Some(trailers) = frame.trailers_ref() {
            self.fields(trailers);
        }
        if let Some(data) = frame.data_ref() {
            self.answer.bytes = self.answer.bytes.saturating_add(data.len() as u64);
            if self.is_within() {
                self.hash.write(data);
            }
        }
        self.is_within()
    }

    /// Returns the answer, at the end of the body or beyond the limit.
    pub(super) fn finish(mut self) -> MirrorAnswer {
        self.answer.digest = self.is_within().then(|| self.hash.finish());
        self.answer
    }

    fn is_within(&self) -> bool {
        self.answer.bytes <= self.limit
    }

    /// Keeps those fields that were chosen.
    fn fields(&mut self, from: &HeaderMap) {
        for name in &*self.chosen {
            for value in from.get_all(name) {
                self.answer.fields.append(name, value.clone());
            }
        }
    }
}
