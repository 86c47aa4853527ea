//! What holds for any response.

use proptest::prelude::*;

use super::{super::*, *};

proptest! {
    /// Whatever does not name the endpoint stays equal, in any field; nothing panics.
    #[test]
    fn what_does_not_name_the_endpoint_stays(value in "[ -~\t]{0,40}") {
        // No reference to a path from the root either, which is always the endpoint's.
        prop_assume!(!value.contains("/base") && !value.contains("10.0.0.1"));
        let headers: HeaderMap = ["location", "content-location", "refresh", "link", "set-cookie"]
            .into_iter()
            .map(|name| (name.parse().unwrap(), HeaderValue::from_str(&value).unwrap()))
            .collect();
        let mut relayed = headers.clone();
        let asked_for = asked_for("http://10.0.0.1:5000/base");
        ReverseMapping::new(&asked_for, None).unwrap().apply(&mut relayed);
        prop_assert_eq!(relayed, headers);
    }

    /// What is mapped names the client's host, or none, whatever it is made of.
    #[test]
    fn what_is_mapped_is_the_clients(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("/"), Just("//"), Just("/base"), Just("http:"), Just("https:"), Just("10.0.0.1:5000"),
                Just("evil.test"), Just("@"), Just(":"), Just(".."), Just("%2f"), Just("\\"), Just("\t"), Just("?"),
                Just("#"), Just("x"),
            ],
            0..8,
        ),
        prefix in prop_oneof![Just(None), Just(Some("/api"))],
    ) {
        let url = parts.concat();
        prop_assume!(HeaderValue::from_str(&url).is_ok());
        let mut asked_for = asked_for("http://10.0.0.1:5000/base");
        asked_for.prefix = prefix.map(HeaderValue::from_static);
        let mapped = mapped_to(&asked_for, None, "location", &url);
        let rest = mapped
            .strip_prefix("https://example.com")
            .or_else(|| mapped.strip_prefix("//example.com"));
        let is_path = mapped.starts_with(prefix.unwrap_or("/")) && !mapped.starts_with("//");
        let is_ours = rest.map_or(is_path, |rest| rest.starts_with('/'));
        prop_assert!(mapped == url || is_ours, "{} -> {}", url, mapped);
    }

    /// A URL that the way up has made of the client's becomes the client's again.
    #[test]
    fn what_was_put_on_is_taken_off(path in "(/[a-z%2.;=-]{0,5}){0,4}(\\?[a-z=&%]{0,6})?") {
        prop_assume!(!crate::rewrite::climbs(path.split('?').next().unwrap()));
        let up = format!("http://10.0.0.1:5000/base/v1{path}");
        prop_assert_eq!(mapped("location", &up), format!("https://example.com/api{path}"));
    }

    /// Bytes that are no text stay, too.
    #[test]
    fn bytes_that_are_no_text_stay(bytes in proptest::collection::vec(0x80u8..=0xff, 1..20)) {
        prop_assume!(std::str::from_utf8(&bytes).is_err());
        let value = HeaderValue::from_bytes(&[b"/base/".as_slice(), &bytes].concat()).unwrap();
        let mut headers = HeaderMap::from_iter([(header::LOCATION, value.clone())]);
        let asked_for = asked_for("http://10.0.0.1:5000/base");
        ReverseMapping::new(&asked_for, None)
        .unwrap()
        .apply(&mut headers);
        prop_assert_eq!(&headers["location"], value);
    }
}
