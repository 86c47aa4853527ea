//! Which requests a response is for (RFC 9111 4.1).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::directives::split;

/// The selecting fields of a stored response, as its request had them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SelectingFields {
    fields: Vec<SelectingField>,
    /// Whether `Vary` has a member `*`.
    any: bool,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SelectingField {
    name: HeaderName,
    /// The members of all lines. `None` if the request had no such field.
    members: Option<Vec<Box<[u8]>>>,
}

impl SelectingFields {
    /// Reads the fields that the `Vary` lines of a response name from the request.
    pub(crate) fn read(response: &HeaderMap, request: &HeaderMap) -> Self {
        let mut selecting = Self::default();
        for name in names(response) {
            // What is no field is in no request, so none is known to match.
            let field = HeaderName::from_bytes(name).ok().filter(|_| name != b"*");
            let Some(name) = field else {
                selecting.any = true;
                continue;
            };
            if selecting.fields.iter().all(|field| field.name != name) {
                let members = request.contains_key(&name).then(|| {
                    let members = members(request, &name);
                    members.map(Into::into).collect()
                });
                selecting.fields.push(SelectingField { name, members });
            }
        }
        selecting
    }

    /// Returns whether a response may be used for a request.
    ///
    /// RFC 9111 4.1: "When a cache receives a request that can be satisfied by a stored response and that stored
    /// response contains a Vary header field (Section 12.5.5 of [HTTP]), the cache MUST NOT use that stored response
    /// without revalidation unless all the presented request header fields nominated by that Vary field value match
    /// those fields in the original request". And: "A stored response with a Vary header field value containing a
    /// member "*" always fails to match."
    pub(crate) fn match_request(&self, request: &HeaderMap) -> bool {
        !self.any && self.fields.iter().all(|field| field.matches(request))
    }

    /// Returns whether `Vary` names a field.
    pub(crate) fn names(&self, name: &HeaderName) -> bool {
        self.fields.iter().any(|field| field.name == *name)
    }

    /// Returns whether no request matches.
    pub(crate) fn match_nothing(&self) -> bool {
        self.any
    }

    /// Returns the fields as a head that matches.
    pub(crate) fn to_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in &self.fields {
            if let Some(members) = &field.members {
                let value = HeaderValue::from_bytes(&members.join(&b", "[..]));
                headers.extend(value.ok().map(|value| (field.name.clone(), value)));
            }
        }
        headers
    }

    /// Returns the number of bytes that they occupy.
    pub(crate) fn size(&self) -> usize {
        let bytes = |field: &SelectingField| {
            let members = field.members.iter().flatten();
            let members: usize = members
                .map(|member| member.len() + size_of::<Box<[u8]>>())
                .sum();
            field.name.as_str().len() + size_of::<SelectingField>() + members
        };
        self.fields.iter().map(bytes).sum()
    }
}

impl SelectingField {
    /// RFC 9111 4.1: "If (after any normalization that might take place) a header field is absent from a request, it
    /// can only match another request if it is also absent there."
    fn matches(&self, request: &HeaderMap) -> bool {
        let Some(stored) = &self.members else {
            return !request.contains_key(&self.name);
        };
        if !request.contains_key(&self.name) {
            return false;
        }
        // Language tags and codings are case-insensitive (RFC 9110 8.4.1 and 8.5.1).
        let same =
            match self.name == header::ACCEPT_LANGUAGE || self.name == header::ACCEPT_ENCODING {
                true => <[u8]>::eq_ignore_ascii_case,
                false => |one: &[u8], other: &[u8]| one == other,
            };
        let mut stored = stored.iter();
        let mut presented = members(request, &self.name);
        presented.all(|member| stored.next().is_some_and(|stored| same(stored, member)))
            && stored.next().is_none()
    }
}

/// Returns the members of the `Vary` lines of a response.
fn names(response: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    members(response, &header::VARY)
}

/// Returns the members of all lines of a field, without the white space around them and without empty ones.
///
/// RFC 9111 4.1 allows "adding or removing whitespace, where allowed in the header field's syntax" and "combining
/// multiple header field lines with the same field name". A field that is no list is compared by the same rule: it
/// differs in at most the white space after commas.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).into_iter();
    let members = lines.flat_map(|line| split(line.as_bytes(), b','));
    members
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(*name, value.parse().unwrap());
                map
            })
    }

    fn matches(
        vary: &[&'static str],
        stored: &[(&'static str, &'static str)],
        presented: &[(&'static str, &'static str)],
    ) -> bool {
        let vary: Vec<_> = vary.iter().map(|line| ("vary", *line)).collect();
        let selecting = SelectingFields::read(&map(&vary), &map(stored));
        selecting.match_request(&map(presented))
    }

    /// RFC 9111 4.1: all lines of `Vary`, and all fields that they name.
    #[test]
    fn all_fields_of_all_lines_have_to_match() {
        let vary = ["A", "b , C"];
        let stored = [("a", "1"), ("b", "2")];
        assert!(matches(
            &vary,
            &stored,
            &[("b", "2"), ("a", "1"), ("d", "4")]
        ));
        assert!(!matches(&vary, &stored, &[("a", "2"), ("b", "2")]));
        assert!(!matches(&vary, &stored, &[("a", "1"), ("b", "3")]));
        assert!(!matches(
            &vary,
            &stored,
            &[("a", "1"), ("b", "2"), ("c", "")]
        ));
        assert!(!matches(&vary, &stored, &[("a", "1")]));
        assert!(matches(&[], &stored, &[("a", "9")]));
    }

    /// RFC 9111 4.1: "A stored response with a Vary header field value containing a member "*" always fails to match."
    #[test]
    fn a_star_never_matches() {
        for vary in [
            &["*"][..],
            &["", "*"],
            &["*, *"],
            &["A, *"],
            &[", *"],
            &["a", "*"],
            &["a:"],
        ] {
            assert!(!matches(vary, &[("a", "1")], &[("a", "1")]), "{vary:?}");
        }
    }

    /// RFC 9111 4.1: what does not change the meaning of a field.
    #[test]
    fn white_space_and_lines_do_not_matter() {
        let stored = [("a", "1, 2")];
        assert!(matches(&["a"], &stored, &[("a", "1"), ("a", "2")]));
        assert!(matches(&["a"], &stored, &[("a", " 1,2 ")]));
        assert!(!matches(&["a"], &stored, &[("a", "2, 1")]));
        assert!(!matches(&["a"], &stored, &[("a", "1")]));
        assert!(!matches(&["a"], &stored, &[("a", "1, 2, 3")]));
        assert!(!matches(&["a"], &[("a", "\"x,y\"")], &[("a", "\"x, y\"")]));
        assert!(!matches(&["a"], &[("a", "x")], &[("a", "X")]));
        let language = ["accept-language"];
        assert!(matches(
            &language,
            &[("accept-language", "en, DE")],
            &[("accept-language", "EN,de")]
        ));
    }
}
