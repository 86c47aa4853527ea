//! A response of the API server: one JSON document, or one a line.

use std::pin::Pin;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::{error::BoxError, upstream::ClientBody};

/// The longest document that is accepted, in bytes. An object in etcd has up to 1.5 MiB, and a page of a list several.
const LONGEST: usize = 32 << 20;

/// A body of lines.
pub(super) struct JsonLines {
    body: Pin<Box<ClientBody>>,
    buffer: BytesMut,
    /// How much of the buffer has been looked through for the end of a line.
    searched: usize,
}

impl JsonLines {
    /// Reads a body.
    pub(super) fn new(body: ClientBody) -> Self {
        Self {
            body: Box::pin(body),
            buffer: BytesMut::new(),
            searched: 0,
        }
    }

    /// Waits for the next line. Returns `None` at the end of the body.
    ///
    /// # Errors
    ///
    /// The body broke off, is too long, or is no JSON.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what has arrived is kept for the next call.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, BoxError> {
        loop {
            let rest = &self.buffer[self.searched..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end);
                self.buffer.advance(1);
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            self.searched = self.buffer.len();
            if self.searched > LONGEST {
                return Err(too_long());
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None if self.buffer.trim_ascii().is_empty() => return Ok(None),
                None => return Err("a line that is cut off".into()),
            }
        }
    }
}

/// Reads a body that is one document.
///
/// # Errors
///
/// It broke off, is too long, or is no JSON.
pub(super) async fn document(body: ClientBody) -> Result<Value, BoxError> {
    let (mut body, mut read) = (Box::pin(body), BytesMut::new());
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            read.extend_from_slice(&data);
        }
        if read.len() > LONGEST {
            return Err(too_long());
        }
    }
    Ok(serde_json::from_slice(&read)?)
}

fn too_long() -> BoxError {
    format!("a document of more than {LONGEST} bytes").into()
}
