//! [`Node`]: a value of a document, independent of the text it was parsed from.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A value with its place.
pub(super) struct Node {
    pub(super) value: NodeValue,
    pub(super) span: Range<usize>,
}

/// What a value is.
pub(super) enum NodeValue {
    String(String),
    /// `None` if the number does not fit.
    Integer(Option<i64>),
    Float(f64),
    Boolean(bool),
    /// A date or a time, of which nothing here makes use.
    Date,
    Array(Vec<Node>),
    Table(BTreeMap<String, NodeEntry>),
}

/// An entry of a table.
pub(super) struct NodeEntry {
    pub(super) key: Range<usize>,
    pub(super) value: Node,
}

impl Node {
    /// Copies a value. It is at most as deep as the parser allows, which is 80 levels.
    pub(super) fn of(value: &Spanned<DeValue<'_>>) -> Self {
        Self {
            span: value.span(),
            value: match value.get_ref() {
                DeValue::String(text) => NodeValue::String(text.to_string()),
                DeValue::Integer(number) => {
                    NodeValue::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
                }
                DeValue::Float(number) => {
                    // The parser has seen that it is one.
                    NodeValue::Float(number.as_str().parse().unwrap_or(f64::NAN))
                }
                DeValue::Boolean(value) => NodeValue::Boolean(*value),
                DeValue::Datetime(_) => NodeValue::Date,
                DeValue::Array(array) => NodeValue::Array(array.iter().map(Self::of).collect()),
                DeValue::Table(table) => Self::table(table),
            },
        }
    }

    /// Copies a table.
    pub(super) fn table(table: &DeTable<'_>) -> NodeValue {
        let entry = |(key, value): (&Spanned<_>, &_)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            let entry = NodeEntry {
                key: key.span(),
                value: Self::of(value),
            };
            (name.to_string(), entry)
        };
        NodeValue::Table(table.iter().map(entry).collect())
    }
}
