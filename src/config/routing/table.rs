//! [`RouteTable`]: all routes, by host.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use http::request::Parts;

use super::{
    conditions::Conditions,
    host::{HostPattern, RequestHost},
    host_routes::{HostRoutes, RouteAlternative, RouteSearch, RouteTie},
    path::PathPattern,
};

/// What a route is for.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct RouteKey {
    /// Empty for all.
    pub(in crate::config) hosts: Vec<HostPattern>,
    /// Empty for all.
    pub(in crate::config) paths: Vec<PathPattern>,
    pub(in crate::config) conditions: Conditions,
}

/// All routes. A route is known by its number.
#[derive(Default)]
pub(in crate::config) struct RouteTable {
    exact: HashMap<String, HostRoutes>,
    /// From the longest to the shortest.
    below: Vec<(String, HostRoutes)>,
    any: HostRoutes,
}

/// Two routes of which some requests are for either, and neither goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) struct Conflict {
    pub(in crate::config) first: usize,
    pub(in crate::config) second: usize,
}

/// Why no route takes a request.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) enum NotTaken {
    /// There is none.
    NotFound,
    /// There is one for other methods, which are these.
    Method(BTreeSet<String>),
}

impl RouteTable {
    /// Makes the table of routes, of which each has the number of its position.
    ///
    /// # Errors
    ///
    /// The pairs that cannot be told apart.
    pub(in crate::config) fn new(keys: &[RouteKey]) -> Result<Self, BTreeSet<Conflict>> {
        let mut hosts: BTreeMap<HostPattern, Vec<RouteAlternative>> = BTreeMap::new();
        for (route, key) in keys.iter().enumerate() {
            let own: BTreeSet<_> = key.hosts.iter().cloned().collect();
            let any = own.is_empty().then_some(HostPattern::Any);
            for host in own.into_iter().chain(any) {
                hosts
                    .entry(host)
                    .or_default()
                    .extend(alternatives(route, key));
            }
        }
        let mut table = Self::default();
        let mut conflicts = BTreeSet::new();
        for (host, alternatives) in hosts {
            match (HostRoutes::new(alternatives), host) {
                (Ok(routes), HostPattern::Exact(host)) => {
                    table.exact.insert(host, routes);
                }
                (Ok(routes), HostPattern::Below(host)) => table.below.push((host, routes)),
                (Ok(routes), HostPattern::Any) => table.any = routes,
                (Err(equals), _) => conflicts.extend(equals.into_iter().map(Conflict::from)),
            }
        }
        table
            .below
            .sort_by_key(|(host, _)| std::cmp::Reverse(host.len()));
        match conflicts.is_empty() {
            true => Ok(table),
            false => Err(conflicts),
        }
    }

    /// Finds the route that takes a request.
    ///
    /// # Errors
    ///
    /// Why none does.
    pub(in crate::config) fn find(&self, parts: &Parts) -> Result<usize, NotTaken> {
        let host = match self.exact.is_empty() && self.below.is_empty() {
            true => None,
            false => RequestHost::of(parts),
        };
        let host = host.as_ref();
        let with_port = host.and_then(|host| self.exact.get(host.with_port()));
        let without = host
            .filter(|host| host.name() != host.with_port())
            .and_then(|host| self.exact.get(host.name()));
        let below = self.below.iter().filter(|(suffix, _)| {
            host.is_some_and(|host| {
                let name = host.name();
                name.len() > suffix.len() && name.ends_with(suffix)
            })
        });
        let groups = with_port.into_iter().chain(without);
        let groups = groups.chain(below.map(|(_, routes)| routes));
        let mut allowed = BTreeSet::new();
        for routes in groups.chain([&self.any]) {
            match routes.search(parts) {
                RouteSearch::Route(route) => return Ok(route),
                RouteSearch::Methods(methods) => allowed.extend(methods),
            }
        }
        Err(match allowed.is_empty() {
            true => NotTaken::NotFound,
            false => NotTaken::Method(allowed),
        })
    }
}

/// Returns a route for each of its paths.
fn alternatives(route: usize, key: &RouteKey) -> Vec<RouteAlternative> {
    let one = |path: Option<&PathPattern>| RouteAlternative {
        route,
        path: path.cloned(),
        conditions: key.conditions.clone(),
    };
    match key.paths.is_empty() {
        true => vec![one(None)],
        false => key.paths.iter().map(|path| one(Some(path))).collect(),
    }
}

impl From<RouteTie> for Conflict {
    fn from(RouteTie(one, other): RouteTie) -> Self {
        Self {
            first: one.min(other),
            second: one.max(other),
        }
    }
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteTable").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Method, Request};

    use super::{super::conditions::FieldCondition, *};

    /// A route for `METHOD host/path`, each of which may be `-`. A path that ends with `..` is a prefix.
    fn key(route: &str) -> RouteKey {
        let mut words = route.split(' ');
        let mut key = RouteKey::default();
        match words.next() {
            Some("-") | None => {}
            Some(method) => key.conditions.method(&method.parse::<Method>().unwrap()),
        }
        match words.next() {
            Some("-") | None => {}
            Some(host) => key.hosts.push(HostPattern::parse(host).unwrap()),
        }
        match words.next() {
            Some("-") | None => {}
            Some(path) => match path.strip_suffix("..") {
                Some(prefix) => key.paths.extend(PathPattern::prefix(prefix).unwrap()),
                None => key.paths.push(PathPattern::path(path).unwrap()),
            },
        }
        for field in words {
            let condition = match field.split_once('=') {
                Some((_, value)) => FieldCondition::Equals(HeaderValue::from_str(value).unwrap()),
                None if field.starts_with('!') => FieldCondition::Absent,
                None => FieldCondition::Present,
            };
            let name = field.trim_start_matches('!').split('=').next().unwrap();
            let name: HeaderName = name.parse().unwrap();
            let fields = &mut key.conditions.fields;
            fields.insert(name.to_string(), (name, condition));
        }
        key
    }

    fn table(routes: &[&str]) -> Result<RouteTable, BTreeSet<Conflict>> {
        let keys: Vec<_> = routes.iter().map(|route| key(route)).collect();
        RouteTable::new(&keys)
    }

    /// The route for a request `METHOD host path`, or the methods that would be allowed.
    fn find(routes: &[&str], request: &str) -> Result<usize, String> {
        let words: Vec<_> = request.split(' ').collect();
        let mut head = Request::builder()
            .method(words[0])
            .uri(words[2])
            .header("host", words[1]);
        for field in &words[3..] {
            let (name, value) = field.split_once('=').unwrap();
            head = head.header(name, value);
        }
        let (parts, ()) = head.body(()).unwrap().into_parts();
        table(routes)
            .unwrap()
            .find(&parts)
            .map_err(|error| match error {
                NotTaken::NotFound => String::new(),
                NotTaken::Method(methods) => Vec::from_iter(methods).join(" "),
            })
    }

    #[test]
    fn the_most_specific_host_goes_first() {
        let routes = [
            "- -",
            "- *.example.com",
            "- *.a.example.com",
            "- x.a.example.com",
            "- b:81",
        ];
        let to = |host: &str| find(&routes, &format!("GET {host} /")).unwrap();
        assert_eq!(to("x.a.example.com"), 3);
        assert_eq!(to("X.A.example.COM:8080"), 3);
        assert_eq!(to("y.a.example.com"), 2);
        assert_eq!(to("a.example.com"), 1);
        assert_eq!(to("example.com"), 0);
        assert_eq!(to(".example.com"), 0);
        assert_eq!(to("b:81"), 4);
        assert_eq!(to("b:82"), 0);
    }

    #[test]
    fn the_most_specific_path_goes_first() {
        let routes = [
            "- - /users/{id}",
            "- - /users/me",
            "- - /users..",
            "- - /{*rest}",
            "- -",
        ];
        let to = |path: &str| find(&routes, &format!("GET a {path}")).unwrap();
        assert_eq!(to("/users/7"), 0);
        assert_eq!(to("/users/me"), 1);
        assert_eq!([to("/users"), to("/users/"), to("/users/7/x")], [2, 2, 2]);
        assert_eq!(to("/usersx"), 3);
        assert_eq!(to("/"), 4);
        // It may be /admin to the server.
        assert_eq!(to("/users/../admin"), 3);
        assert_eq!(to("/../admin"), 4);
    }

    #[test]
    fn what_a_specific_route_does_not_take_goes_on() {
        let routes = ["GET - /a/b", "POST - /a..", "- x /a/b v=2", "- - /.. w"];
        assert_eq!(find(&routes, "GET y /a/b"), Ok(0));
        assert_eq!(find(&routes, "HEAD y /a/b"), Ok(0));
        assert_eq!(find(&routes, "POST y /a/b"), Ok(1));
        assert_eq!(find(&routes, "POST x /a/b"), Ok(1));
        assert_eq!(find(&routes, "POST x /a/b v=2"), Ok(2));
        assert_eq!(find(&routes, "PUT x /a/b v=1 w=1"), Ok(3));
        assert_eq!(find(&routes, "PUT x /a/b v=1"), Err("GET HEAD POST".into()));
        assert_eq!(find(&routes, "GET x /b"), Err(String::new()));
    }

    #[test]
    fn ties_are_refused() {
        let tied = |routes: &[&str]| {
            !table(routes)
                .map_or_else(|found| found, |_| BTreeSet::new())
                .is_empty()
        };
        assert!(tied(&["- - /a", "- - /a"]));
        assert!(tied(&["- - /{a}", "- - /{b}"]));
        assert!(tied(&["- -", "- -"]));
        assert!(tied(&["GET - /a", "- - /a x"]));
        assert!(tied(&["- - /a x=1", "- - /a y=1"]));
        assert!(tied(&["- - /a..", "- - /a/.."]));
        assert!(!tied(&["- - /a", "- - /a.."]));
        assert!(!tied(&["- - /a", "- x /a"]));
        assert!(!tied(&["GET - /a", "POST - /a"]));
        assert!(!tied(&["GET - /a", "- - /a"]));
        assert!(!tied(&["- - /a x=1", "- - /a x=2"]));
        assert!(!tied(&["- - /a !x", "- - /a x"]));
    }
}
