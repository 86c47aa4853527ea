//! Which host names may be asked for.

use std::{borrow::Cow, collections::HashMap, fmt, net::IpAddr};

use super::{
    special_purpose::reached_by,
    target::{RequestTarget, canonical_name, ends_in_a_number},
};
use crate::error::Error;

/// Rules about hosts, the most specific of which decides.
///
/// A name itself is more specific than `*.` and a domain, a longer domain more specific than a shorter one. Of two
/// rules of the same pattern, the one that denies decides. Once a rule allows some hosts, all that match no rule are
/// denied.
///
/// A lookup takes as many steps as the name has labels, however many rules there are, because block lists are long.
#[derive(Clone, Default)]
pub(super) struct HostRules {
    /// Whether a host is allowed, by its name.
    exact: HashMap<Box<str>, bool>,
    /// Whether the hosts below a domain are allowed, by its name. That of `*` is empty.
    below: HashMap<Box<str>, bool>,
    /// Whether some rule allows.
    closed: bool,
}

impl HostRules {
    /// Adds a rule about a host, `example.com`, `192.0.2.1` or `::1`; about those below a domain, `*.example.com`; or
    /// about all, `*`. A rule about an address is about each form of it.
    ///
    /// # Errors
    ///
    /// Returns a config error that names `setting` and what is no such pattern.
    pub(super) fn add(
        &mut self,
        setting: &'static str,
        pattern: &str,
        allows: bool,
    ) -> Result<(), Error> {
        let name = |name: &str| {
            let canonical = canonical_name(name).filter(|name| !ends_in_a_number(name));
            canonical.ok_or_else(|| {
                let hint = "a host is example.com, *.example.com, * or an address, in ASCII: xn--bcher-kva.example";
                Error::config(setting, format!("{pattern:?} is no host: {hint}"))
            })
        };
        let literal = pattern
            .strip_prefix('[')
            .and_then(|pattern| pattern.strip_suffix(']'))
            .unwrap_or(pattern);
        let address = literal.strip_suffix('.').unwrap_or(literal);
        let (rules, key) = if pattern == "*" {
            (&mut self.below, "".into())
        } else if let Some(domain) = pattern.strip_prefix("*.") {
            (&mut self.below, name(domain)?)
        } else if let Ok(address) = address.parse::<IpAddr>() {
            (&mut self.exact, reached_by(address).to_string().into())
        } else {
            (&mut self.exact, name(pattern)?)
        };
        *rules.entry(key).or_insert(allows) &= allows;
        self.closed |= allows;
        Ok(())
    }

    /// Returns whether a target's host may be asked for.
    pub(super) fn allow(&self, target: &RequestTarget) -> bool {
        let host = match target.ip() {
            Some(ip @ IpAddr::V6(_)) if !self.exact.is_empty() => {
                Cow::from(reached_by(ip).to_string())
            }
            _ => Cow::from(target.host()),
        };
        if let Some(allows) = self.exact.get(&*host) {
            return *allows;
        }
        // An address is below no domain, since no domain ends in a number.
        let mut rest = target.host();
        while !rest.is_empty() {
            rest = rest.split_once('.').map_or("", |(_, domain)| domain);
            if let Some(allows) = self.below.get(rest) {
                return *allows;
            }
        }
        self.below.get("").copied().unwrap_or(!self.closed)
    }
}

impl fmt::Debug for HostRules {
    /// Shows how many rules there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostRules")
            .field("exact", &self.exact.len())
            .field("below", &self.below.len())
            .field("closed", &self.closed)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn rules(rules: &[(&str, bool)]) -> HostRules {
        let mut all = HostRules::default();
        for (pattern, allows) in rules {
            all.add("hosts", pattern, *allows).unwrap();
        }
        all
    }

    fn allows(rules: &HostRules, host: &str) -> bool {
        let request = Request::connect(format!("{host}:443")).body(()).unwrap();
        let target = RequestTarget::of(&request.into_parts().0).unwrap().unwrap();
        rules.allow(&target)
    }

    fn check(own: &HostRules, hosts: &[(&str, bool)]) {
        for (host, allowed) in hosts {
            assert_eq!(allows(own, host), *allowed, "{host}");
        }
    }

    #[test]
    fn without_rules_all_are_allowed() {
        check(&rules(&[]), &[("a.example", true), ("192.0.2.1", true)]);
    }

    #[test]
    fn a_block_list_leaves_the_rest_open() {
        let own = rules(&[
            ("Ads.Example.", false),
            ("*.Tracker.example", false),
            ("192.0.2.1", false),
        ]);
        check(
            &own,
            &[
                ("ads.example", false),
                ("ADS.example.", false),
                ("x.ads.example", true),
                ("tracker.example", true),
                ("a.tracker.example", false),
                ("a.b.tracker.example", false),
                ("nottracker.example", true),
                ("192.0.2.1", false),
                ("192.0.2.2", true),
            ],
        );
    }

    #[test]
    fn an_allow_list_closes_the_rest() {
        let own = rules(&[
            ("a.example", true),
            ("*.b.example", true),
            ("x.b.example", false),
            ("[::1]", true),
        ]);
        check(
            &own,
            &[
                ("a.example", true),
                ("b.example", false),
                ("y.b.example", true),
                ("x.b.example", false),
                ("y.x.b.example", true),
                ("c.example", false),
                ("192.0.2.1", false),
                ("[0:0::1]", true),
            ],
        );
    }

    #[test]
    fn the_most_specific_pattern_decides() {
        let own = rules(&[
            ("*", false),
            ("*.example", true),
            ("*.a.example", false),
            ("b.a.example", true),
        ]);
        check(
            &own,
            &[
                ("com", false),
                ("192.0.2.1", false),
                ("x.example", true),
                ("a.example", true),
                ("x.a.example", false),
                ("b.a.example", true),
                ("c.b.a.example", false),
            ],
        );
        check(
            &rules(&[("a.example", true), ("a.example", false)]),
            &[("a.example", false)],
        );
    }

    /// Otherwise a client could choose the form that no rule is about.
    #[test]
    fn all_forms_of_an_address_are_one_host() {
        for pattern in [
            "192.0.2.1",
            "192.0.2.1.",
            "::ffff:192.0.2.1",
            "[64:ff9b::c000:201]",
        ] {
            check(
                &rules(&[(pattern, false)]),
                &[
                    ("192.0.2.1", false),
                    ("192.0.2.1.", false),
                    ("[::ffff:192.0.2.1]", false),
                    ("[::ffff:c000:201]", false),
                    ("[64:ff9b::c000:201]", false),
                    ("[::ffff:192.0.2.2]", true),
                ],
            );
        }
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        for pattern in [
            "",
            "*.",
            "a.*",
            "*a.example",
            "http://a.example",
            "a:443",
            // No target has such a form, so the rule would never match. `*.1` is not a network.
            "127.1",
            "010.0.0.1",
            "2130706433",
            "*.1",
            "[192.0.2.1",
            "bücher.example",
            ".a",
        ] {
            let error = HostRules::default()
                .add("deny_hosts", pattern, false)
                .unwrap_err();
            assert!(
                error.to_string().contains("deny_hosts"),
                "{pattern}: {error}"
            );
        }
    }
}
