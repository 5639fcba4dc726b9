//! Reading and writing TOML.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use doorward_core::directory::DirectoryFile;

use super::node::{Member, Mistake, Node, Value};

/// Reads a document: the table it is, or all that is wrong with its form. Positions are bytes.
pub(super) fn read(text: &str) -> Result<Node, Vec<Mistake>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(Node { at: 0, value: members(table.get_ref()) });
    }
    let mistake = |error: &toml::de::Error| {
        Mistake::new(error.span().map_or(text.len(), |span| span.start), error.message())
    };
    Err(errors.iter().map(mistake).collect())
}

fn node(value: &Spanned<DeValue<'_>>) -> Node {
    let read = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number too large"), Value::Integer),
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(list) => Value::List(list.iter().map(node).collect()),
        DeValue::Table(table) => members(table),
    };
    Node { at: value.span().start, value: read }
}

fn members(table: &DeTable<'_>) -> Value {
    let member = |(name, value): (&Spanned<_>, _)| Member {
        name: name.to_string(),
        at: name.span().start,
        node: node(value),
    };
    let mut members: Vec<Member> = table.iter().map(member).collect();
    // As they are written, so that the first mistake that is found is the first that is made.
    members.sort_by_key(|member| member.at);
    Value::Table(members)
}

/// Writes a directory.
///
/// # Errors
/// Never: a directory has nothing that TOML cannot say.
pub(super) fn write(file: &DirectoryFile) -> Result<String, ::toml::ser::Error> {
    ::toml::to_string_pretty(file)
}
