//! [`Switch`]: a setting that can be turned off by `false`.

use std::{borrow::Cow, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{
        Error, MapAccess, Unexpected, Visitor,
        value::{
            F64Deserializer, I64Deserializer, MapAccessDeserializer, StrDeserializer,
            U64Deserializer,
        },
    },
};

/// A setting that is off, which is written `false`, or on with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch<T> {
    /// `false`: no limit, not done, not there.
    Off,
    /// The value.
    On(T),
}

impl<T> Switch<T> {
    /// Returns the value if it is on.
    pub fn on(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(value) => Some(value),
        }
    }

    /// Returns the value if it is on, without taking it.
    pub fn as_ref(&self) -> Switch<&T> {
        match self {
            Self::Off => Switch::Off,
            Self::On(value) => Switch::On(value),
        }
    }
}

impl<T> From<T> for Switch<T> {
    fn from(value: T) -> Self {
        Self::On(value)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SwitchVisitor(PhantomData))
    }
}

struct SwitchVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SwitchVisitor<T> {
    type Value = Switch<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or false")
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Switch<T>, E> {
        match on {
            false => Ok(Switch::Off),
            // What a value looks like is best said by its own type.
            true => Err(match T::deserialize(NotTrue::<E>(PhantomData)) {
                Err(error) => error,
                Ok(_) => E::invalid_value(Unexpected::Bool(true), &self),
            }),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Switch<T>, E> {
        T::deserialize(StrDeserializer::new(text)).map(Switch::On)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Switch<T>, E> {
        T::deserialize(I64Deserializer::new(number)).map(Switch::On)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Switch<T>, E> {
        T::deserialize(U64Deserializer::new(number)).map(Switch::On)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Switch<T>, E> {
        T::deserialize(F64Deserializer::new(number)).map(Switch::On)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Switch<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Switch::On)
    }
}

/// A `true`, where that is no value.
struct NotTrue<E>(PhantomData<E>);

impl<'de, E: Error> Deserializer<'de> for NotTrue<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        Err(E::invalid_type(
            Unexpected::Other("true"),
            &OrFalse(&visitor),
        ))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any struct enum
    }
}

/// What a visitor expects, or `false`.
struct OrFalse<'v>(&'v dyn serde::de::Expected);

impl serde::de::Expected for OrFalse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = self.0.to_string();
        match expected.starts_with("struct ") {
            true => f.write_str("a table, or false"),
            false => write!(f, "{expected}, or false"),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Switch<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}OrFalse", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "const": false }, value] })
    }
}
