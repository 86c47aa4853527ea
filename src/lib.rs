//! stub
pub mod body;
mod error;
pub mod rewrite;
pub mod upstream;
pub use body::Body;
pub use error::{BoxError, Error, Side};
