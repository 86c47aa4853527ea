//! What an HTTP/2 error says of its request.

/// The server says that it has not touched the request. RFC 9113 8.7: REFUSED_STREAM tells "that the stream is being
/// closed prior to any processing having occurred. Any request that was sent on the reset stream can be safely
/// retried."
pub(in crate::upstream) fn is_refused(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// The server is going away, and may or may not have seen the request.
pub(in crate::upstream) fn is_go_away(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.is_go_away() && h2.is_remote())
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error)?.downcast_ref()
}
