//! [`ValueDeserializer`]: a value of a document as a deserializer of serde.
//!
//! It is not the one of the crate toml for three reasons: an error says where it is by the path of the setting; what
//! was found to be wrong can be left out, so that the rest is looked at as well; and the words of errors are those of
//! [`ValueError`].

use std::collections::BTreeMap;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
    value::{MapDeserializer, StrDeserializer},
};

use super::{
    left_out::LeftOut,
    node::{Node, NodeEntry, NodeValue},
    path::PathPart,
    value_error::ValueError,
};

/// A value, without what is left out of it.
pub(super) struct ValueDeserializer<'d> {
    pub(super) value: &'d NodeValue,
    /// `None` if nothing is.
    pub(super) without: Option<&'d LeftOut>,
}

impl<'d> ValueDeserializer<'d> {
    /// Visits the entries of a table.
    fn table<'de, V: Visitor<'de>>(
        table: &BTreeMap<String, NodeEntry>,
        without: Option<&LeftOut>,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_map(TableEntries {
            rest: table.iter(),
            without,
            next: None,
        })
    }

    /// Returns the only key of a table that names a variant, with its value.
    fn only_entry(&self) -> Result<Option<(&'d str, &'d Node)>, ValueError> {
        let NodeValue::Table(table) = self.value else {
            return Ok(None);
        };
        let mut entries = table.iter();
        match (entries.next(), entries.next()) {
            (Some((key, entry)), None) => Ok(Some((key, &entry.value))),
            (None, _) => Err(ValueError::custom(
                "expected a table with exactly one key, found an empty one",
            )),
            (Some((first, _)), Some((second, _))) => {
                let found = format!("found {first:?} and {second:?}");
                let expected = "expected a table with exactly one key, ";
                Err(ValueError::custom(format!("{expected}{found}")))
            }
        }
    }
}

impl<'de> Deserializer<'de> for ValueDeserializer<'_> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            NodeValue::String(text) => visitor.visit_str(text),
            NodeValue::Integer(Some(number)) => visitor.visit_i64(*number),
            NodeValue::Integer(None) => Err(ValueError::custom("the number is too large")),
            NodeValue::Float(number) => visitor.visit_f64(*number),
            NodeValue::Boolean(value) => visitor.visit_bool(*value),
            NodeValue::Date => Err(ValueError::invalid_type(
                Unexpected::Other("a date"),
                &visitor,
            )),
            NodeValue::Array(array) => visitor.visit_seq(ArrayItems {
                rest: array.iter().enumerate(),
                without: self.without,
            }),
            NodeValue::Table(table) => Self::table(table, self.without, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    /// A variant is named by a string, and then has its default settings, or by the only key of a table.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        if let NodeValue::String(name) = self.value {
            return visitor.visit_enum(VariantReader {
                name,
                value: None,
                without: None,
            });
        }
        match self.only_entry()? {
            Some((name, value)) => visitor.visit_enum(VariantReader {
                name,
                value: Some(&value.value),
                without: self
                    .without
                    .and_then(|without| without.at(&PathPart::Key(name.to_owned()))),
            }),
            None => Err(ValueError::custom("expected a string or a table")),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any struct
    }
}

/// The entries of a table that are not left out.
struct TableEntries<'d, I> {
    rest: I,
    without: Option<&'d LeftOut>,
    /// What belongs to the key that was taken last.
    next: Option<(&'d str, ValueDeserializer<'d>)>,
}

impl<'de, 'd, I> MapAccess<'de> for TableEntries<'d, I>
where
    I: Iterator<Item = (&'d String, &'d NodeEntry)>,
{
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ValueError> {
        for (key, NodeEntry { value, .. }) in self.rest.by_ref() {
            let part = PathPart::Key(key.to_owned());
            let without = self.without.and_then(|without| without.at(&part));
            if without.is_some_and(|without| without.whole) {
                continue;
            }
            self.next = Some((
                key,
                ValueDeserializer {
                    value: &value.value,
                    without,
                },
            ));
            let named = seed.deserialize(StrDeserializer::<ValueError>::new(key));
            return named.map(Some).map_err(|error| error.of_key(key));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ValueError> {
        let Some((key, value)) = self.next.take() else {
            return Err(ValueError::custom("a value was asked for before its key"));
        };
        let part = || PathPart::Key(key.to_owned());
        seed.deserialize(value)
            .map_err(|error| error.within(part()))
    }
}

/// The elements of an array that are not left out.
struct ArrayItems<'d, I> {
    rest: I,
    without: Option<&'d LeftOut>,
}

impl<'de, 'd, I> SeqAccess<'de> for ArrayItems<'d, I>
where
    I: Iterator<Item = (usize, &'d Node)>,
{
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ValueError> {
        for (nth, value) in self.rest.by_ref() {
            let part = PathPart::Item(nth);
            let without = self.without.and_then(|without| without.at(&part));
            if without.is_some_and(|without| without.whole) {
                continue;
            }
            let value = ValueDeserializer {
                value: &value.value,
                without,
            };
            let element = seed.deserialize(value).map(Some);
            return element.map_err(|error| error.within(part));
        }
        Ok(None)
    }
}

/// A variant of an enum.
struct VariantReader<'d> {
    name: &'d str,
    /// `None` if it was named by a string alone.
    value: Option<&'d NodeValue>,
    without: Option<&'d LeftOut>,
}

impl<'de> EnumAccess<'de> for VariantReader<'_> {
    type Error = ValueError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), ValueError> {
        match seed.deserialize(self.name.into_deserializer()) {
            Ok(variant) => Ok((variant, self)),
            Err(error) if self.value.is_some() => Err(ValueError::of_key(error, self.name)),
            Err(error) => Err(error),
        }
    }
}

impl<'de> VariantAccess<'de> for VariantReader<'_> {
    type Error = ValueError;

    fn unit_variant(self) -> Result<(), ValueError> {
        match self.value {
            None => Ok(()),
            Some(NodeValue::Table(table)) if table.is_empty() => Ok(()),
            Some(_) => {
                let why = format!("{0:?} has no settings: write \"{0}\" alone", self.name);
                Err(ValueError::custom(why).within(PathPart::Key(self.name.to_owned())))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ValueError> {
        match self.value {
            None => {
                let nothing = std::iter::empty::<(&str, &str)>();
                seed.deserialize(MapDeserializer::<_, ValueError>::new(nothing))
            }
            Some(value) => {
                let value = ValueDeserializer {
                    value,
                    without: self.without,
                };
                let part = || PathPart::Key(self.name.to_owned());
                seed.deserialize(value)
                    .map_err(|error| error.within(part()))
            }
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ValueError> {
        self.newtype_variant_seed(VisitorSeed(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.newtype_variant_seed(VisitorSeed(visitor))
    }
}

/// Deserializes whatever its visitor takes.
struct VisitorSeed<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for VisitorSeed<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_any(self.0)
    }
}
