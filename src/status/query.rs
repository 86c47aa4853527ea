//! The query of a dry run.

use http::{HeaderName, HeaderValue, Method, Request};

use crate::body::Body;

/// The longest query that is looked at, in bytes.
const LONGEST: usize = 8 * 1024;

/// What a dry run is asked for.
#[derive(Debug)]
pub(super) struct DryRun {
    pub(super) cluster: Option<String>,
    pub(super) request: Request<Body>,
}

impl DryRun {
    /// Reads a query: `cluster`, `method`, `path`, and any number of `header`, each `Name:value`.
    ///
    /// # Errors
    ///
    /// Says which part of the query is not valid.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        if query.len() > LONGEST {
            return Err(format!("the query is longer than {LONGEST} bytes"));
        }
        let mut cluster = None;
        let mut request = Request::new(Body::empty());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let invalid = || format!("{name}: {value:?} is not valid");
            match &*name {
                "cluster" => cluster = Some(value.into_owned()),
                "method" => {
                    *request.method_mut() = value.parse::<Method>().map_err(|_| invalid())?;
                }
                "path" => *request.uri_mut() = value.parse().map_err(|_| invalid())?,
                "header" => {
                    let (field, content) = value.split_once(':').ok_or_else(invalid)?;
                    let field: HeaderName = field.trim().parse().map_err(|_| invalid())?;
                    let content = HeaderValue::from_str(content.trim()).map_err(|_| invalid())?;
                    request.headers_mut().append(field, content);
                }
                _ => return Err(format!("{name:?} is not known")),
            }
        }
        Ok(Self { cluster, request })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_becomes_a_request() {
        let query =
            "cluster=api&method=POST&path=/a%20b?x=1%26y&header=X-Tenant:+blue&header=x-tenant:red";
        let query = query.replace("%20", "%2520");
        let DryRun { cluster, request } = DryRun::parse(&query).unwrap();
        assert_eq!(cluster.as_deref(), Some("api"));
        assert_eq!(
            (request.method(), request.uri().path()),
            (&Method::POST, "/a%20b")
        );
        assert_eq!(request.uri().query(), Some("x=1&y"));
        let tenants: Vec<_> = request.headers().get_all("x-tenant").iter().collect();
        assert_eq!(tenants, ["blue", "red"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for query in [
            "method=G%20T",
            "path=a%20b",
            "header=novalue",
            "header=a%20b:c",
            "other=1",
        ] {
            let wrong = DryRun::parse(query).unwrap_err();
            let name = query.split('=').next().unwrap();
            assert!(wrong.contains(name), "{wrong}");
        }
        assert!(DryRun::parse(&"a".repeat(LONGEST + 1)).is_err());
    }
}
