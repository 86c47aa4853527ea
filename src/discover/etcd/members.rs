//! Calls to the members of a cluster of etcd: to one of them, until it fails.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Uri, header};
use tokio::{sync::mpsc, time::timeout};
use tower::ServiceExt;

use super::{messages, upload::MessageUpload};
use crate::{
    body::Body,
    discover::source_error::SourceError,
    grpc::{CallFailure, GrpcViolation, MessageStream, call_request},
    upstream::{Client, ClientBody},
};

/// The longest message that is accepted, in bytes. etcd accepts values of up to 1.5 MiB.
const LONGEST_MESSAGE: usize = 16 << 20;

/// The gRPC status of a call that cannot be made in the state of the server.
const FAILED_PRECONDITION: u32 = 9;

/// The method that a call asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum EtcdMethod {
    Authenticate,
    Range,
    Watch,
}

/// Who asks. Its password is in no log.
#[derive(Clone)]
pub(super) struct EtcdUser {
    pub(super) name: String,
    pub(super) password: String,
}

/// A connection to one of the members.
#[derive(Clone)]
pub(super) struct EtcdMember {
    client: Client,
    /// What proves who asks, once that is known.
    token: Option<HeaderValue>,
    /// How long it may take to answer.
    pub(super) timeout: Duration,
}

/// The messages of a watch, and what the server is asked by.
pub(super) struct OpenWatch {
    pub(super) messages: MessageStream<ClientBody>,
    pub(super) requests: mpsc::Sender<Bytes>,
}

impl EtcdMember {
    /// Connects to a member, as `user` if there is one. A call may take as long as `timeout`.
    ///
    /// # Errors
    ///
    /// It does not know the user.
    pub(super) async fn connect(
        client: Client,
        user: Option<&EtcdUser>,
        timeout: Duration,
    ) -> Result<Self, SourceError> {
        let mut member = Self {
            client,
            token: None,
            timeout,
        };
        if let Some(user) = user {
            member.token = member.authenticate(user).await?;
        }
        Ok(member)
    }

    /// Asks for a token. There is none where no authentication is enabled, which etcd's own clients take as it is.
    async fn authenticate(&self, user: &EtcdUser) -> Result<Option<HeaderValue>, SourceError> {
        let method = EtcdMethod::Authenticate;
        let request = messages::authenticate(&user.name, &user.password);
        let message = match self.call_once(method, request).await {
            Err(CallError::Failed(CallFailure::Grpc(FAILED_PRECONDITION, text)))
                if text.contains("authentication is not enabled") =>
            {
                return Ok(None);
            }
            answer => answer.map_err(|error| self.error(method, error))?,
        };
        let token = messages::token(&message).map_err(|error| self.violation(method, error))?;
        match HeaderValue::from_str(&token) {
            Ok(mut token) => {
                token.set_sensitive(true);
                Ok(Some(token))
            }
            Err(_) => Err(self.violation(method, GrpcViolation("a token that is no text"))),
        }
    }

    /// Makes a call with one request and one answer.
    ///
    /// # Errors
    ///
    /// It failed or took too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    pub(super) async fn call(
        &self,
        method: EtcdMethod,
        request: Bytes,
    ) -> Result<Bytes, SourceError> {
        let answer = self.call_once(method, request).await;
        answer.map_err(|error| self.error(method, error))
    }

    /// Begins to watch, with this request.
    ///
    /// # Errors
    ///
    /// The head of the response has a failure, or took too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or what it returns, cancels the watch.
    pub(super) async fn watch(&self, request: Bytes) -> Result<OpenWatch, SourceError> {
        // One that the server has not read is enough.
        let (requests, upload) = mpsc::channel(1);
        let sent = requests.try_send(request);
        debug_assert!(sent.is_ok(), "the channel is new");
        let answer = timeout(
            self.timeout,
            self.begin(EtcdMethod::Watch, Body::new(MessageUpload(upload))),
        );
        match answer.await.unwrap_or(Err(CallError::Timeout)) {
            Ok(messages) => Ok(OpenWatch { messages, requests }),
            Err(error) => Err(self.error(EtcdMethod::Watch, error)),
        }
    }

    /// Makes a call with one answer, which must come in time.
    async fn call_once(&self, method: EtcdMethod, request: Bytes) -> Result<Bytes, CallError> {
        let answer = async {
            let mut messages = self.begin(method, Body::from(request)).await?;
            let answer = messages.next().await.map_err(CallError::Failed)?;
            let answer = answer.ok_or(GrpcViolation("no message"));
            let answer = answer.map_err(|error| CallError::Failed(error.into()))?;
            // A failure that came up after the message is in the trailers.
            let end = messages.next().await.map_err(CallError::Failed)?;
            match end {
                None => Ok(answer),
                Some(_) => Err(CallError::Failed(GrpcViolation("two messages").into())),
            }
        };
        let answer = timeout(self.timeout, answer).await;
        answer.unwrap_or(Err(CallError::Timeout))
    }

    /// Sends the request of a call, and returns what answers it.
    async fn begin(
        &self,
        method: EtcdMethod,
        body: Body,
    ) -> Result<MessageStream<ClientBody>, CallError> {
        let mut request = call_request(method.path(), body);
        let fields = request.headers_mut();
        let agent = concat!("axum-upstream/", env!("CARGO_PKG_VERSION"), " (discovery)");
        fields.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        // A member that has lost the others must not answer by what it knew before, nor stay silent.
        fields.insert("hasleader", HeaderValue::from_static("true"));
        if let Some(token) = &self.token {
            fields.insert("token", token.clone());
        }
        let response = self.client.clone().oneshot(request).await;
        let response =
            response.map_err(|error| CallError::Failed(CallFailure::Broken(error.into())))?;
        MessageStream::new(response, LONGEST_MESSAGE).map_err(CallError::Failed)
    }

    /// Describes why a call has failed.
    fn error(&self, method: EtcdMethod, error: CallError) -> SourceError {
        match error {
            CallError::Failed(failure) => self.failure(method, failure),
            CallError::Timeout => self.error_of(format!(
                "{method:?} got no answer within {:?}",
                self.timeout
            )),
        }
    }

    /// Describes how a call has failed.
    pub(super) fn failure(&self, method: EtcdMethod, failure: CallFailure) -> SourceError {
        let error = |what| self.error_of(what);
        match failure {
            CallFailure::Http(status) => error(format!("{method:?} was answered by {status}")),
            CallFailure::Grpc(status, text) => {
                error(format!("{method:?} failed with status {status}: {text}"))
            }
            CallFailure::Violation(violation) => self.violation(method, violation),
            CallFailure::Broken(cause) => error(format!("{method:?} failed")).with(cause),
        }
    }

    /// Describes an answer that is not gRPC.
    pub(super) fn violation(
        &self,
        method: EtcdMethod,
        GrpcViolation(why): GrpcViolation,
    ) -> SourceError {
        self.error_of(format!(
            "{method:?} was answered by {why}, which is not etcd"
        ))
    }

    /// Describes an error of this member.
    pub(super) fn error_of(&self, what: String) -> SourceError {
        SourceError::new(&**self.client.name(), what)
    }
}

/// Why a call has no answer.
enum CallError {
    Failed(CallFailure),
    Timeout,
}

impl From<CallFailure> for CallError {
    fn from(failure: CallFailure) -> Self {
        Self::Failed(failure)
    }
}

impl EtcdMethod {
    fn path(self) -> Uri {
        Uri::from_static(match self {
            Self::Authenticate => "/etcdserverpb.Auth/Authenticate",
            Self::Range => "/etcdserverpb.KV/Range",
            Self::Watch => "/etcdserverpb.Watch/Watch",
        })
    }
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdUser")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
