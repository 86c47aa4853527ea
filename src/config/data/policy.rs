//! [`PolicyConfig`]: how an endpoint is picked.

use schemars::{JsonSchema, Schema};
use serde::Deserialize;

use super::text_source::TextSource;

/// How an endpoint is picked for a request: one of the [policies](crate::policy), by its name, or by its name with
/// settings.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = sticky_alone)]
#[non_exhaustive]
pub enum PolicyConfig {
    /// The better of two drawn at random, by requests in flight and latency. The default.
    P2c,
    /// The better of two drawn at random, by requests in flight alone.
    P2cInFlight,
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests in flight.
    LeastRequest,
    /// Any.
    Random,
    /// The same one for the same address of the client.
    HashIp,
    /// The same one for the same key.
    ConsistentHash(ConsistentHashConfig),
    /// The one that answered the client before, by a cookie.
    Sticky(StickyConfig),
}

/// Adds that `sticky` may stand alone: it has a default for each of its settings.
fn sticky_alone(schema: &mut Schema) {
    if let Some(serde_json::Value::Array(all)) = schema.get_mut("oneOf") {
        all.push(serde_json::json!({
            "type": "string",
            "const": "sticky",
            "description": "The one that answered the client before, by a cookie named backend.",
        }));
    }
}

/// By which key the endpoint is picked: exactly one of header, cookie, client_addr and path.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConsistentHashConfig {
    /// The value of this header field.
    pub header: Option<String>,
    /// The value of this cookie.
    pub cookie: Option<String>,
    /// The address of the client.
    pub client_addr: bool,
    /// The path.
    pub path: bool,
    /// Gives no endpoint more than this times its share of all requests in flight: 1.25 is a good value. Default: no
    /// bound.
    pub bounded_load: Option<f64>,
}

/// The cookie by which a client stays at its endpoint.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StickyConfig {
    /// The name of the cookie. Default: backend.
    pub cookie: Option<String>,
    /// The secret key, 32 hexadecimal digits, which proxies in front of the same endpoints share. Default: random, so
    /// that cookies are void once the process has ended or the cluster was built anew.
    pub key: Option<TextSource>,
    /// Whether browsers send the cookie with requests that other sites cause. Default: lax.
    pub same_site: Option<SameSiteConfig>,
    /// The policy that picks for clients without a cookie. Default: p2c.
    pub over: Option<Box<PolicyConfig>>,
}

/// The attribute SameSite of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SameSiteConfig {
    /// Never.
    Strict,
    /// With links and other navigation by a safe method.
    Lax,
    /// Always, to clients that came by TLS.
    None,
}
