//! The HTTP check: one request, judged by the head of its response.

use std::{fmt, pin::pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header, response};
use http_body_util::BodyExt;
use tower::{Service, ServiceExt};

use super::failure::CheckFailure;
use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind},
};

/// What checks call themselves, so that a server's operator can tell them from requests of clients.
pub(super) const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!(
    "axum-upstream/",
    env!("CARGO_PKG_VERSION"),
    " (health check)"
));

/// The most bytes of a response body that are read. The body says nothing: it is read so that the connection can be
/// used again, and one that is larger costs more than another connection does.
const MAX_BODY: usize = 64 << 10;

/// The request of an HTTP check, and which responses pass.
#[derive(Clone, Debug)]
pub(super) struct HttpCheck {
    pub(super) method: Method,
    /// In origin form: a path, and a query if there is one.
    pub(super) path: Uri,
    /// `None` leaves it to the endpoint's client, which sends its own authority.
    pub(super) host: Option<HeaderValue>,
    pub(super) expected: Expected,
}

/// Which responses pass.
#[derive(Clone)]
pub(super) enum Expected {
    /// Those with one of these statuses.
    Statuses(Arc<[u16]>),
    /// Those that the user's closure accepts.
    Accepted(Arc<Accept>),
}

/// A user's judgement of a response head.
pub(super) type Accept = dyn Fn(&response::Parts) -> bool + Send + Sync;

impl HttpCheck {
    /// Sends the request, judges the head of the response and discards its body.
    ///
    /// The check passes only if the body ends properly or exceeds [`MAX_BODY`]: a server that stalls in the middle of
    /// its health page is what checks are made to find.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request.
    pub(super) async fn run<S, B>(&self, service: S) -> Result<(), CheckFailure>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Error>,
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let response = service.oneshot(self.request()).await;
        let (head, body) = response.map_err(CheckFailure::Service)?.into_parts();
        self.expected.judge(&head)?;
        discard(body).await
    }

    /// Makes the request.
    fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        let fields = request.headers_mut();
        fields.insert(header::USER_AGENT, USER_AGENT);
        if let Some(host) = &self.host {
            fields.insert(header::HOST, host.clone());
        }
        request
    }
}

impl Expected {
    /// Judges the head of a response. May run code of the user.
    fn judge(&self, head: &response::Parts) -> Result<(), CheckFailure> {
        match self {
            Self::Statuses(statuses) if statuses.contains(&head.status.as_u16()) => Ok(()),
            Self::Statuses(_) => Err(CheckFailure::Status(head.status)),
            Self::Accepted(accept) if accept(head) => Ok(()),
            Self::Accepted(_) => Err(CheckFailure::NotAccepted(head.status)),
        }
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Statuses(statuses) => f.debug_tuple("Statuses").field(statuses).finish(),
            Self::Accepted(_) => f.debug_tuple("Accepted").finish_non_exhaustive(),
        }
    }
}

/// Reads a body to its end, or until it exceeds [`MAX_BODY`]; dropping it there closes its connection.
async fn discard<B>(body: B) -> Result<(), CheckFailure>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        size += frame.data_ref().map_or(0, Bytes::len);
        if size > MAX_BODY {
            break;
        }
    }
    Ok(())
}

/// Returns the failure of a response body that broke off.
pub(super) fn broken(error: impl Into<BoxError>) -> CheckFailure {
    CheckFailure::Service(Error::own_or(ErrorKind::ResponseBody, error.into()))
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::Mutex,
        task::{Context, Poll},
    };

    use http_body::Frame;
    use tower::service_fn;

    use super::*;

    fn check() -> HttpCheck {
        HttpCheck {
            method: Method::GET,
            path: Uri::from_static("/healthz?deep"),
            host: None,
            expected: Expected::Statuses((200..300).collect()),
        }
    }

    async fn answered(check: &HttpCheck, response: Response<Body>) -> Result<(), String> {
        let response = Mutex::new(Some(response));
        let service = service_fn(|_: Request<Body>| {
            let response = response.lock().unwrap().take().unwrap();
            async { Ok::<_, Error>(response) }
        });
        let result = check.run(service).await;
        result.map_err(|failure| failure.to_string())
    }

    fn status(status: u16) -> Response<Body> {
        let response = Response::builder().status(status);
        response.body(Body::from("text")).unwrap()
    }

    #[tokio::test]
    async fn the_status_decides() {
        let mut check = check();
        assert_eq!(answered(&check, status(204)).await, Ok(()));
        for other in [302, 404, 503] {
            let failure = Err(format!("status {other}"));
            assert_eq!(answered(&check, status(other)).await, failure);
        }
        check.expected = Expected::Statuses([404].into());
        assert_eq!(answered(&check, status(404)).await, Ok(()));
        assert!(answered(&check, status(200)).await.is_err());
    }

    #[tokio::test]
    async fn a_closure_decides() {
        let check = HttpCheck {
            expected: Expected::Accepted(Arc::new(|head| head.headers.contains_key("x-ready"))),
            ..check()
        };
        let mut ready = status(503);
        ready
            .headers_mut()
            .insert("x-ready", HeaderValue::from_static("1"));
        assert_eq!(answered(&check, ready).await, Ok(()));
        let failure = answered(&check, status(200)).await.unwrap_err();
        assert_eq!(failure, "response not accepted (status 200)");
    }

    #[tokio::test]
    async fn the_request_says_what_it_is() {
        let check = HttpCheck {
            method: Method::HEAD,
            host: Some(HeaderValue::from_static("example.com")),
            ..check()
        };
        let service = service_fn(|request: Request<Body>| async move {
            assert_eq!(request.method(), Method::HEAD);
            assert_eq!(request.uri(), "/healthz?deep");
            assert_eq!(request.headers()["host"], "example.com");
            let agent = request.headers()["user-agent"].to_str().unwrap();
            assert!(agent.starts_with("axum-upstream/") && agent.ends_with(" (health check)"));
            Ok::<_, Error>(Response::new(Body::empty()))
        });
        check.run(service).await.unwrap();
    }

    /// A body of frames of 1 KiB, of which the last is an error or never comes.
    struct Frames {
        left: usize,
        breaks: bool,
        read: Arc<Mutex<usize>>,
    }

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            let Some(left) = self.left.checked_sub(1) else {
                return match self.breaks {
                    true => Poll::Ready(Some(Err("reset".into()))),
                    false => Poll::Pending,
                };
            };
            self.left = left;
            *self.read.lock().unwrap() += 1024;
            let data = Bytes::from_static(&[b'x'; 1024]);
            Poll::Ready(Some(Ok(Frame::data(data))))
        }
    }

    #[tokio::test]
    async fn a_body_is_read_in_part_only() {
        let read = Arc::new(Mutex::new(0));
        let body = Frames {
            left: usize::MAX,
            breaks: false,
            read: read.clone(),
        };
        assert_eq!(
            answered(&check(), Response::new(Body::new(body))).await,
            Ok(())
        );
        assert_eq!(*read.lock().unwrap(), MAX_BODY + 1024);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_a_failure() {
        let body = Frames {
            left: 2,
            breaks: true,
            read: Arc::default(),
        };
        let failure = answered(&check(), Response::new(Body::new(body))).await;
        assert_eq!(failure, Err("response body broken off: reset".to_owned()));
    }

    #[tokio::test]
    async fn an_error_of_the_service_is_the_failure() {
        let service = service_fn(|_: Request<Body>| async {
            Err::<Response<Body>, _>(Error::new(ErrorKind::ConnectTimeout))
        });
        let failure = check().run(service).await.unwrap_err();
        assert_eq!(failure.to_string(), "connect timeout");
    }
}
