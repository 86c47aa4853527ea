//! What an HTTP/2 error says of its request.

/// The server says that it has not touched the request. RFC 9113 8.7: REFUSED_STREAM tells "that the stream is being
/// closed prior to any processing having occurred. Any request that was sent on the reset stream can be safely
/// retried."
pub(in crate::upstream) fn is_refused(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// The server is going away, and the request came too late. RFC 9113 8.7: "Requests on streams with higher numbers"
/// than the last that a GOAWAY names "are therefore guaranteed to be safe to retry"; h2 tells this of no other stream.
pub(in crate::upstream) fn is_go_away(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.is_go_away() && h2.is_remote())
}

/// The server wants this request over HTTP/1.1, RFC 9113 7, and has done nothing with it.
pub(in crate::upstream) fn needs_http1(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.reason() == Some(h2::Reason::HTTP_1_1_REQUIRED))
}

/// The stream was reset from here.
pub(super) fn is_reset_here(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.is_reset() && !h2.is_remote())
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error)?.downcast_ref()
}
