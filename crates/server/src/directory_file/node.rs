//! What TOML and YAML have in common: values that know where they are written, read by serde.

use std::fmt;

use doorward_core::directory::nearest;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize as _, forward_to_deserialize_any};

/// The members of a key that are private (RFC 7518 sections 6.2.2, 6.3.2 and 6.4, RFC 8037 section 2).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A value, and where it begins: a position in the text, in the unit of its [`super::Format`].
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) value: Value,
}

/// A value as both formats know it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Flag(bool),
    Integer(i64),
    /// Nothing in a directory is a fraction or a date: what it is called.
    Other(&'static str),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Member>),
}

/// A member of a table. No two of one table have the same name.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// Where the name is.
    pub(super) at: usize,
    pub(super) node: Node,
}

/// What is wrong, and where; nowhere until whoever knows the place has heard of it.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) at: Option<usize>,
    pub(super) what: String,
}

impl Mistake {
    pub(super) fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at: Some(at), what: what.into() }
    }

    /// Says that there is no `name`, and which of `known` may have been meant.
    pub(super) fn unknown(name: &str, known: &[&str]) -> Self {
        let hint = match nearest(name, known.iter().map(ToString::to_string)) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => {
                format!("there are {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", "))
            }
        };
        de::Error::custom(format!("there is no key `{name}`; {hint}"))
    }

    /// It is here, unless it is known to be somewhere inside.
    fn or_at(self, at: usize) -> Self {
        Self { at: self.at.or(Some(at)), ..self }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self { at: None, what: what.to_string() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        // Not what was found but of which kind it is: a value may be a secret in the wrong place.
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
            Unexpected::Str(_) => "text",
            Unexpected::Unit => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a table",
            Unexpected::Other(kind) => kind,
            _ => "something else",
        };
        let expected = match expected.to_string().as_str() {
            "a string" => "text, in quotes".to_owned(),
            "a sequence" => "a list".to_owned(),
            "a boolean" => "true or false".to_owned(),
            "u32" => "a whole number".to_owned(),
            "a map" => "a table".to_owned(),
            other => other.replace("struct ", "a table with the members of a "),
        };
        Self::custom(format!("this is {found}, and must be {expected}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match found {
            Unexpected::Signed(number) => Self::custom(format!("{number} is too small or too large")),
            found => Self::invalid_type(found, expected),
        }
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        // The only table with a `kty` is a public key.
        if PRIVATE.contains(&name) && known.contains(&"kty") {
            return Self::custom(format!(
                "`{name}` belongs to the private part of a key, which the application alone may have: write down the public \
                 part, and make another key if others have seen this one"
            ));
        }
        Self::unknown(name, known)
    }

    /// Without what was found, as of everything that is a value.
    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        let names = known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
        let nearest = nearest(name, known.iter().map(ToString::to_string));
        let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
        Self::custom(format!("this must be one of {names}{hint}"))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::custom(format!("`{name}` is missing"))
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Flag(flag) => visitor.visit_bool(*flag),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Other(kind) => Err(de::Error::invalid_type(Unexpected::Other(kind), &visitor)),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(list) => visitor.visit_seq(Elements(list.iter())),
            Value::Table(members) => visitor.visit_map(Members { rest: members.iter(), value: None }),
        }
        .map_err(|mistake: Mistake| mistake.or_at(self.at))
    }

    /// What is there is something: neither format writes down that something is absent.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    /// One of several names.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.value {
            Value::Text(text) => visitor.visit_enum(StrDeserializer::new(text)),
            // Says of which kind it is.
            _ => String::deserialize(self).and_then(|text| visitor.visit_enum(StrDeserializer::new(&text))),
        }
        .map_err(|mistake: Mistake| mistake.or_at(self.at))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Elements<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Mistake;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mistake> {
        let read = |node: &'de Node| seed.deserialize(node).map_err(|mistake| mistake.or_at(node.at));
        self.0.next().map(read).transpose()
    }
}

struct Members<'de> {
    rest: std::slice::Iter<'de, Member>,
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Mistake;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mistake> {
        let Some(member) = self.rest.next() else { return Ok(None) };
        self.value = Some(&member.node);
        let name = StrDeserializer::new(&member.name);
        seed.deserialize(name).map(Some).map_err(|mistake: Mistake| mistake.or_at(member.at))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mistake> {
        let node =
            self.value.take().ok_or_else(|| de::Error::custom("a value was asked for before its name"))?;
        seed.deserialize(node).map_err(|mistake| mistake.or_at(node.at))
    }
}
