//! stub
pub mod balance;
pub mod body;
pub mod endpoint;
mod error;
mod forward;
mod info;
pub mod proxy;
pub mod rewrite;
pub mod upstream;
pub use balance::LoadBalance;
pub use body::Body;
pub use endpoint::EndpointSpec;
pub use error::{BoxError, Error, Side};
pub use info::Info;
pub use proxy::{ProxyLayer, ReverseProxy};
