//! Types of a writer schema as the walkers know them: the tree that Python lowered, every reference written out.

use serde::Deserialize;

/// One type. Names, symbols and logical types are gone: only what tells the bytes apart is left.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Node {
    /// Takes no bytes.
    Null,
    /// One byte, 0 or 1.
    Boolean,
    /// Zigzag varint within 32 bits.
    Int,
    /// Zigzag varint within 64 bits.
    Long,
    /// Length and bytes.
    Bytes,
    /// Length and UTF-8.
    String,
    /// Length and 1 to 32 bytes.
    Decimal,
    /// So many bytes; float and double too.
    Fixed(u32),
    /// Index below this count.
    Enum(u32),
    /// One of two branches, null at byte `null` (0 or 2).
    Nullable {
        /// The branch byte of null.
        null: u8,
        /// The other branch.
        inner: Box<Node>,
    },
    /// Fields, one behind the other.
    Record(Vec<Node>),
    /// Blocks of items.
    Array(Box<Node>),
    /// Blocks of keys and values.
    Map(Box<Node>),
    /// Any union but that of null and one other type.
    Union {
        /// In the schema's order.
        branches: Vec<Node>,
        /// Which of them is null.
        null: Option<usize>,
    },
}

impl Node {
    /// Tells what a value that is not null has for a type.
    pub fn bare(&self) -> &Node {
        if let Node::Nullable { inner, .. } = self { inner } else { self }
    }

    /// The branch byte of null, where the type is a union of null and one other.
    pub fn null_byte(&self) -> Option<u8> {
        if let Node::Nullable { null, .. } = self { Some(*null) } else { None }
    }

    /// Holds what the walkers rely on; a program that breaks it is refused.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            Node::Nullable { null, inner } => {
                if !matches!(null, 0 | 2) {
                    return Err("the branch byte of null is 0 or 2");
                }
                if matches!(**inner, Node::Nullable { .. } | Node::Union { .. } | Node::Null) {
                    return Err("a union of null and one type holds no union and no second null");
                }
                inner.check()
            }
            Node::Record(fields) => fields.iter().try_for_each(Node::check),
            Node::Array(inner) | Node::Map(inner) => inner.check(),
            Node::Union { branches, null } => {
                if null.is_some_and(|place| branches.get(place) != Some(&Node::Null)) {
                    return Err("the branch of null is null");
                }
                branches.iter().try_for_each(Node::check)
            }
            _ => Ok(()),
        }
    }
}
