//! [`Conditions`]: the methods and fields of the requests that a route takes.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, HeaderName, HeaderValue, Method, request::Parts};

/// Conditions on the method and on fields of a request.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Conditions {
    /// Empty for all.
    pub(in crate::config) methods: BTreeSet<String>,
    pub(in crate::config) fields: BTreeMap<String, (HeaderName, FieldCondition)>,
}

/// A condition on a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum FieldCondition {
    Present,
    Absent,
    Equals(HeaderValue),
}

/// How far a request meets conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConditionMatch {
    All,
    /// All but that on the method.
    OtherMethod,
    No,
}

impl Conditions {
    /// Adds a method. As with axum's routes, one for GET takes HEAD, too.
    pub(in crate::config) fn method(&mut self, method: &Method) {
        self.methods.insert(method.as_str().to_owned());
        if method == Method::GET {
            self.methods.insert(Method::HEAD.as_str().to_owned());
        }
    }

    /// Returns how many there are: of routes for the same path, the one with more goes first.
    pub(super) fn count(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.fields.len()
    }

    /// Returns how far a request meets them.
    pub(super) fn met_by(&self, parts: &Parts) -> ConditionMatch {
        let mut fields = self.fields.values();
        if !fields.all(|(name, condition)| condition.holds(&parts.headers, name)) {
            return ConditionMatch::No;
        }
        match self.methods.is_empty() || self.methods.contains(parts.method.as_str()) {
            true => ConditionMatch::All,
            false => ConditionMatch::OtherMethod,
        }
    }

    /// Returns whether no request meets both these and the others.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        let methods = !self.methods.is_empty()
            && !other.methods.is_empty()
            && self.methods.is_disjoint(&other.methods);
        let mut fields = self.fields.iter();
        methods
            || fields.any(|(name, (_, own))| {
                let other = other.fields.get(name);
                other.is_some_and(|(_, other)| own.excludes(other))
            })
    }
}

impl FieldCondition {
    fn holds(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        match self {
            Self::Present => headers.contains_key(name),
            Self::Absent => !headers.contains_key(name),
            // Of two different values, a request must meet one at most: several lines meet none.
            Self::Equals(value) => headers.get_all(name).iter().eq([value]),
        }
    }

    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => false,
            (Self::Absent, _) | (_, Self::Absent) => true,
            (Self::Equals(own), Self::Equals(other)) => own != other,
            (Self::Present, _) | (_, Self::Present) => false,
        }
    }
}
