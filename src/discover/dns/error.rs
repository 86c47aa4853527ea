//! What can go wrong with a question to a name server.

use std::{error::Error as StdError, fmt, time::Duration};

use crate::error::BoxError;

/// Why a question to the name servers has no records for an answer.
///
/// It is what a [`Dns`](super::Dns) yields, and the last error in the status of its cluster.
#[derive(Debug)]
pub struct DnsError {
    /// The type of the records and the name, as `A api.internal`.
    question: String,
    kind: DnsErrorKind,
    /// For how long the name servers say that there is nothing.
    ttl: Option<Duration>,
    source: Option<BoxError>,
}

/// The kinds of [`DnsError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DnsErrorKind {
    /// The name does not exist: NXDOMAIN.
    NoSuchName,
    /// The name exists, and has no records of this type: an answer that is empty.
    NoRecords,
    /// The name server has failed or refuses to answer: SERVFAIL, REFUSED and the like.
    ServerFailure,
    /// No name server has answered in time, which is also how one shows that cannot be reached over UDP.
    Timeout,
    /// Anything else: an answer that cannot be read, no connection for an answer that was truncated, settings of the
    /// system that cannot be read.
    Other,
}

impl DnsError {
    /// Creates the error of a question.
    pub(super) fn new(question: String, kind: DnsErrorKind) -> Self {
        Self {
            question,
            kind,
            ttl: None,
            source: None,
        }
    }

    /// Creates the error of a name whose records are all of no use.
    pub(super) fn no_records(name: &str) -> Self {
        Self::new(name.to_owned(), DnsErrorKind::NoRecords)
    }

    /// Sets the cause.
    pub(super) fn with(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sets for how long the answer is valid.
    pub(super) fn valid_for(mut self, ttl: Option<Duration>) -> Self {
        self.ttl = ttl;
        self
    }

    /// Returns for how long the name servers say that there is nothing.
    pub(super) fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// Returns what kind of error it is.
    #[must_use]
    pub fn kind(&self) -> DnsErrorKind {
        self.kind
    }

    /// Returns whether it is an answer, which says that there are no records, and no failure.
    pub(super) fn is_answer(&self) -> bool {
        matches!(
            self.kind,
            DnsErrorKind::NoSuchName | DnsErrorKind::NoRecords
        )
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DnsErrorKind::NoSuchName => "the name does not exist (NXDOMAIN)",
            DnsErrorKind::NoRecords => "the name has no such records",
            DnsErrorKind::ServerFailure => "the name server failed",
            DnsErrorKind::Timeout => "no name server answered in time",
            DnsErrorKind::Other => "the lookup failed",
        };
        write!(f, "{}: {what}", self.question)
    }
}

impl StdError for DnsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
