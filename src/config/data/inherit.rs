//! [`Inherit`]: settings that are taken from a section of defaults.

use std::collections::BTreeMap;

use super::switch::Switch;

/// Settings that are taken from other ones where they say nothing.
pub(in crate::config) trait Inherit {
    /// Takes what is not set from `defaults`.
    fn inherit(&mut self, defaults: &Self);
}

impl<T: Inherit + Clone> Inherit for Option<T> {
    fn inherit(&mut self, defaults: &Self) {
        match (self, defaults) {
            (Some(own), Some(defaults)) => own.inherit(defaults),
            (own @ None, _) => own.clone_from(defaults),
            (Some(_), None) => {}
        }
    }
}

impl<T: Inherit> Inherit for Switch<T> {
    fn inherit(&mut self, defaults: &Self) {
        if let (Self::On(own), Self::On(defaults)) = (self, defaults) {
            own.inherit(defaults);
        }
    }
}

/// The entries of both; of two with the same name, the own one stays. The names are those of fields: their case does
/// not matter.
impl<T: Clone> Inherit for BTreeMap<String, T> {
    fn inherit(&mut self, defaults: &Self) {
        for (name, value) in defaults {
            if !self.keys().any(|own| own.eq_ignore_ascii_case(name)) {
                self.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Implements [`Inherit`] for a struct: first the settings that are taken as wholes, then those that inherit
/// themselves, then those that are not inherited. A field that is in no list does not compile.
macro_rules! inherit {
    ($type:ident: whole($($whole:ident),*) inside($($inside:ident),*) not($($not:ident),*)) => {
        impl $crate::config::data::inherit::Inherit for $type {
            fn inherit(&mut self, defaults: &Self) {
                let Self { $($whole,)* $($inside,)* $($not: _,)* } = self;
                $(if $whole.is_none() {
                    $whole.clone_from(&defaults.$whole);
                })*
                $($crate::config::data::inherit::Inherit::inherit($inside, &defaults.$inside);)*
            }
        }
    };
}

pub(super) use inherit;
