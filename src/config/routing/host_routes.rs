//! [`HostRoutes`]: the routes of one host, by path.

use std::collections::BTreeMap;

use http::request::Parts;
use matchit::Router;

use super::{
    conditions::{ConditionMatch, Conditions},
    path::{PathPattern, leaves},
};

/// One route at one path.
#[derive(Clone, Debug)]
pub(super) struct RouteAlternative {
    /// The number of the route.
    pub(super) route: usize,
    /// `None` for a route for all paths.
    pub(super) path: Option<PathPattern>,
    pub(super) conditions: Conditions,
}

/// The routes of one host.
#[derive(Default)]
pub(super) struct HostRoutes {
    /// From a path to its place in `paths`, to be fast.
    router: Router<usize>,
    /// The places in `paths` of those that the router cannot have beside others, as `/{id}` beside `/{*rest}`.
    apart: Vec<usize>,
    /// From the most to the least specific one.
    paths: Vec<PathRoutes>,
    /// Those for all paths.
    all: Vec<RouteAlternative>,
}

/// The routes of one path, from the one with the most conditions on.
struct PathRoutes {
    /// What such a path begins with.
    begins: String,
    /// Has this path only, to see whether a request is for it that the more specific ones did not take.
    only: Router<()>,
    alternatives: Vec<RouteAlternative>,
}

/// Two routes that cannot be told apart, by their numbers.
pub(super) struct RouteTie(pub(super) usize, pub(super) usize);

/// What was found.
pub(super) enum RouteSearch {
    /// The route takes it.
    Route(usize),
    /// None does. These methods would be.
    Methods(Vec<String>),
}

impl HostRoutes {
    /// Puts routes in order.
    ///
    /// # Errors
    ///
    /// The pairs that cannot be told apart.
    pub(super) fn new(alternatives: Vec<RouteAlternative>) -> Result<Self, Vec<RouteTie>> {
        let mut groups: BTreeMap<String, (PathPattern, Vec<RouteAlternative>)> = BTreeMap::new();
        let mut all = Vec::new();
        for alternative in alternatives {
            let Some(path) = alternative.path.clone() else {
                all.push(alternative);
                continue;
            };
            let group = groups.entry(path.text.clone());
            let (_, group) = group.or_insert_with(|| (path, Vec::new()));
            group.push(alternative);
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_cached_key(|(path, _)| path.specificity());
        let mut found = Self::default();
        let mut equals = found.add_all(all);
        for (path, group) in groups {
            equals.extend(found.add(&path, group));
        }
        match equals.is_empty() {
            true => Ok(found),
            false => Err(equals),
        }
    }

    /// Adds the routes for all paths.
    fn add_all(&mut self, group: Vec<RouteAlternative>) -> Vec<RouteTie> {
        let (ordered, equals) = ordered(group);
        self.all = ordered;
        equals
    }

    /// Adds the routes of a path, which is less specific than all before, and returns those that cannot be told apart.
    fn add(&mut self, path: &PathPattern, group: Vec<RouteAlternative>) -> Vec<RouteTie> {
        let (alternatives, equals) = ordered(group);
        let place = self.paths.len();
        if self.router.insert(path.text.clone(), place).is_err() {
            self.apart.push(place);
        }
        self.paths.push(PathRoutes {
            begins: path.begins().to_owned(),
            only: path.alone(),
            alternatives,
        });
        equals
    }

    /// Returns where the most specific path is that matches.
    fn first(&self, path: &str) -> FirstMatch {
        let shared = self.router.at(path).ok();
        if shared
            .as_ref()
            .is_some_and(|found| leaves(found.params.iter().last()))
        {
            return FirstMatch::Somewhere;
        }
        let matches = |place: &&usize| {
            let apart = self.paths.get(**place);
            apart.is_some_and(|apart| apart.matches(path))
        };
        let apart = self.apart.iter().find(matches).copied();
        let shared = shared.map(|found| *found.value);
        match [shared, apart].into_iter().flatten().min() {
            Some(place) => FirstMatch::At(place),
            None => FirstMatch::Nowhere,
        }
    }

    /// Looks for the route that takes a request.
    pub(super) fn search(&self, parts: &Parts) -> RouteSearch {
        let path = parts.uri.path();
        let mut methods = Vec::new();
        // Nearly always it is the first, and nothing else is looked at.
        let (known, others) = match self.first(path) {
            FirstMatch::Nowhere => (0, self.paths.len()),
            FirstMatch::At(place) => (1, place),
            FirstMatch::Somewhere => (0, 0),
        };
        let from = self.paths.get(others..).unwrap_or_default().iter();
        let matching = from.enumerate();
        let matching = matching.filter(|(nth, one)| *nth < known || one.matches(path));
        let groups = matching.map(|(_, one)| &one.alternatives);
        for alternative in groups.chain([&self.all]).flatten() {
            match alternative.conditions.met_by(parts) {
                ConditionMatch::All => return RouteSearch::Route(alternative.route),
                ConditionMatch::OtherMethod => {
                    methods.extend(alternative.conditions.methods.iter().cloned());
                }
                ConditionMatch::No => {}
            }
        }
        RouteSearch::Methods(methods)
    }
}

/// Where the most specific path is that matches.
#[derive(Debug, PartialEq, Eq)]
enum FirstMatch {
    /// None does.
    Nowhere,
    At(usize),
    /// It has to be searched for.
    Somewhere,
}

impl PathRoutes {
    /// Returns whether a request for `path` is for this one.
    fn matches(&self, path: &str) -> bool {
        // The beginning is cheap to compare, and nearly always another one.
        path.starts_with(&self.begins) && PathPattern::matches(&self.only, path)
    }
}

/// Puts the routes of one path in order, and returns those that cannot be told apart.
fn ordered(mut group: Vec<RouteAlternative>) -> (Vec<RouteAlternative>, Vec<RouteTie>) {
    let rank = |one: &RouteAlternative| {
        let is_prefix = one.path.as_ref().is_some_and(|path| path.is_prefix);
        (is_prefix, std::cmp::Reverse(one.conditions.count()))
    };
    group.sort_by_key(rank);
    let mut equals = Vec::new();
    for (nth, one) in group.iter().enumerate() {
        let later = group.iter().skip(nth + 1);
        let same = later.filter(|other| rank(other) == rank(one) && other.route != one.route);
        let same = same.filter(|other| !one.conditions.excludes(&other.conditions));
        equals.extend(same.map(|other| RouteTie(one.route, other.route)));
    }
    (group, equals)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However matchit can hold them, the first one is that which is found by looking at one after the other.
    #[test]
    fn the_first_is_the_first() {
        let segments = ["a", "b", "a-{x}", "ab-{x}", "{x}"];
        let mut rng = fastrand::Rng::with_seed(1);
        let mut compared = 0;
        for _ in 0..2_000 {
            let pattern = |rng: &mut fastrand::Rng| {
                let parts = (0..rng.usize(1..4)).map(|_| segments[rng.usize(..segments.len())]);
                let mut path: String = parts.map(|part| format!("/{part}")).collect();
                path.push_str(["", "", "/", "/{*rest}"][rng.usize(..4)]);
                PathPattern::path(&path).unwrap()
            };
            let alternative = |(route, path)| RouteAlternative {
                route,
                path: Some(path),
                conditions: Conditions::default(),
            };
            let patterns: Vec<_> = (0..rng.usize(1..9)).map(|_| pattern(&mut rng)).collect();
            let Ok(routes) =
                HostRoutes::new(patterns.into_iter().enumerate().map(alternative).collect())
            else {
                continue;
            };
            for _ in 0..20 {
                let words = ["a", "b", "a-", "a-x", "ab-x", "c", "", "..", "%2e%2e"];
                let parts = (0..rng.usize(1..5)).map(|_| words[rng.usize(..words.len())]);
                let path: String = parts.map(|part| format!("/{part}")).collect();
                let matches = |one: &PathRoutes| PathPattern::matches(&one.only, &path);
                let expected = match routes.paths.iter().position(matches) {
                    Some(place) => FirstMatch::At(place),
                    None => FirstMatch::Nowhere,
                };
                let first = routes.first(&path);
                if first != FirstMatch::Somewhere {
                    assert_eq!(first, expected, "{path}");
                    compared += usize::from(first != FirstMatch::Nowhere);
                }
            }
        }
        assert!(compared > 1_000, "{compared}");
    }
}
