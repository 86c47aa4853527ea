//! What a client makes of what an endpoint sends.

use std::pin::pin;

use axum_upstream::BoxError;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::{body::Body, ext::ReasonPhrase};

/// What a client has made of what came, up to an end or until nothing more came.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) interim: Vec<Head>,
    pub(super) head: Option<Head>,
    pub(super) data: Vec<u8>,
    pub(super) trailers: Vec<(HeaderName, HeaderValue)>,
    pub(super) end: End,
    /// Whether another request could be sent on the connection. Only known where it stays open.
    pub(super) is_reusable: bool,
}

#[derive(Debug, PartialEq)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) reason: Option<Vec<u8>>,
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, Default, PartialEq)]
pub(super) enum End {
    /// Not decided: the client waits for more.
    #[default]
    Open,
    /// All has arrived.
    Complete,
    /// An error, with its causes.
    Failed(String),
}

impl Head {
    /// Without the reason, which hyper does not tell of interim responses.
    pub(super) fn interim(status: StatusCode, version: Version, headers: &HeaderMap) -> Self {
        Self {
            status,
            version,
            reason: None,
            fields: fields(headers),
        }
    }

    fn of<B>(response: &Response<B>) -> Self {
        let reason = response.extensions().get::<ReasonPhrase>();
        let reason = reason.map(|reason| reason.as_bytes().to_vec());
        Self {
            // hyper says so, too, where there is none.
            reason: reason.filter(|reason| !reason.is_empty()),
            ..Self::interim(response.status(), response.version(), response.headers())
        }
    }
}

impl Answer {
    /// Reads a response to its end.
    pub(super) async fn read<B>(&mut self, response: Response<B>)
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        self.head = Some(Head::of(&response));
        let mut body = pin!(response.into_body());
        while let Some(frame) = body.frame().await {
            assert!(self.trailers.is_empty(), "a frame after the trailers");
            match frame {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => self.data.extend_from_slice(&data),
                    Err(frame) => self.trailers = fields(frame.trailers_ref().unwrap()),
                },
                Err(error) => return self.failed(error),
            }
        }
        self.end = End::Complete;
    }

    pub(super) fn failed(&mut self, error: impl Into<BoxError>) {
        let error = error.into();
        let mut all = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            all = format!("{all}: {error}");
            cause = error.source();
        }
        self.end = End::Failed(all);
    }
}

fn fields(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let fields = headers.iter();
    fields
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
