//! Reading and writing YAML 1.2.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr::{Mapping, Scalar, Yaml, YamlEmitter};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::Value as Json;

use super::LARGEST;
use super::node::{Member, Mistake, Node, Value};

/// The deepest nesting. A directory needs four.
const DEEPEST: usize = 16;
/// The most values, those that aliases stand for included: a file of a few lines can stand for any number of them.
const MOST_VALUES: usize = 4_000_000;
/// The most text, in bytes, counted as values are.
const MOST_TEXT: u64 = LARGEST;

/// Reads a document: the value it is, or what is wrong with its form. Positions are characters.
pub(super) fn read(text: &str) -> Result<Node, Vec<Mistake>> {
    Reading { open: Vec::new(), anchors: HashMap::new(), size: Size::default(), root: None }
        .read(text)
        .map_err(|mistake| vec![mistake])
}

/// A document that is read up to here.
struct Reading {
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    size: Size,
    root: Option<Node>,
}

/// How much a value is, with all that is in it.
#[derive(Clone, Copy, Default)]
struct Size {
    values: usize,
    /// Bytes.
    text: u64,
}

impl Size {
    /// One value of this much text.
    const fn of(text: &str) -> Self {
        Self { values: 1, text: text.len() as u64 }
    }

    const fn plus(self, more: Self) -> Self {
        Self { values: self.values.saturating_add(more.values), text: self.text.saturating_add(more.text) }
    }

    /// What was added to `before`.
    const fn since(self, before: Self) -> Self {
        Self { values: self.values - before.values, text: self.text - before.text }
    }
}

/// A value that an alias may stand for, and how much it is.
struct Anchored {
    node: Node,
    size: Size,
}

/// A list or table that has begun.
struct Open {
    at: usize,
    anchor: usize,
    /// How much there was before it.
    before: Size,
    so_far: SoFar,
}

enum SoFar {
    List(Vec<Node>),
    Table { members: Vec<Member>, names: HashSet<String>, name: Option<(String, usize)> },
}

impl Reading {
    fn read(mut self, text: &str) -> Result<Node, Mistake> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| syntax(&error))?;
            self.take(event, span)?;
        }
        self.root.ok_or_else(|| Mistake::new(0, "the file is empty"))
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Mistake> {
        let at = span.start.index();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                untagged(tag, at)?;
                let size = Size::of(&text);
                self.count(size, at)?;
                self.close(at, anchor, size, scalar(text, style))
            }
            Event::Alias(anchor) => {
                let unknown = || Mistake::new(at, "this alias stands for something that is not finished yet");
                let size = self.anchors.get(&anchor).ok_or_else(unknown)?.size;
                self.count(size, at)?;
                let value = self.anchors.get(&anchor).ok_or_else(unknown)?.node.value.clone();
                self.close(at, 0, size, value)
            }
            Event::SequenceStart(anchor, tag) => self.open(at, anchor, tag, SoFar::List(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                let table = SoFar::Table { members: Vec::new(), names: HashSet::new(), name: None };
                self.open(at, anchor, tag, table)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { at, anchor, before, so_far }) = self.open.pop() else {
                    return Err(Mistake::new(at, "this ends nothing"));
                };
                let value = match so_far {
                    SoFar::List(list) => Value::List(list),
                    SoFar::Table { members, .. } => Value::Table(members),
                };
                self.close(at, anchor, self.size.since(before), value)
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Mistake::new(at, "a second document begins here: a directory is one"))
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    /// The limit is looked at before anything is copied.
    fn count(&mut self, size: Size, at: usize) -> Result<(), Mistake> {
        self.size = self.size.plus(size);
        if self.size.values > MOST_VALUES {
            return Err(Mistake::new(at, format!("more than {MOST_VALUES} values, aliases included")));
        }
        if self.size.text > MOST_TEXT {
            let most = MOST_TEXT >> 20;
            return Err(Mistake::new(at, format!("more than {most} MiB of text, aliases included")));
        }
        Ok(())
    }

    fn open(
        &mut self,
        at: usize,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        so_far: SoFar,
    ) -> Result<(), Mistake> {
        untagged(tag, at)?;
        if self.open.len() >= DEEPEST {
            return Err(Mistake::new(at, format!("more than {DEEPEST} levels")));
        }
        let before = self.size;
        self.count(Size::of(""), at)?;
        self.open.push(Open { at, anchor, before, so_far });
        Ok(())
    }

    /// Puts a finished value where it belongs.
    fn close(&mut self, at: usize, anchor: usize, size: Size, value: Value) -> Result<(), Mistake> {
        let node = Node { at, value };
        if anchor != 0 {
            // Kept beside the value itself, so it counts again.
            self.count(size, at)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
        }
        match self.open.last_mut().map(|open| &mut open.so_far) {
            None => self.root = Some(node),
            Some(SoFar::List(list)) => list.push(node),
            Some(SoFar::Table { members, names, name }) => {
                if let Some((name, name_at)) = name.take() {
                    members.push(Member { name, at: name_at, node });
                    return Ok(());
                }
                let Value::Text(text) = node.value else {
                    return Err(Mistake::new(at, "a key must be text"));
                };
                if !names.insert(text.clone()) {
                    return Err(Mistake::new(at, format!("the key `{text}` occurs twice")));
                }
                *name = Some((text, at));
            }
        }
        Ok(())
    }
}

fn syntax(error: &ScanError) -> Mistake {
    Mistake::new(error.marker().index(), error.info())
}

fn untagged(tag: Option<Cow<'_, Tag>>, at: usize) -> Result<(), Mistake> {
    match tag {
        Some(tag) => Err(Mistake::new(at, format!("the tag {tag} has no meaning here"))),
        None => Ok(()),
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    match Scalar::parse_from_cow_and_metadata(text, style, None) {
        Some(Scalar::Null) | None => Value::Null,
        Some(Scalar::Boolean(flag)) => Value::Flag(flag),
        Some(Scalar::Integer(number)) => Value::Integer(number),
        Some(Scalar::FloatingPoint(_)) => Value::Other("a fraction"),
        Some(Scalar::String(text)) => Value::Text(text.into_owned()),
    }
}

/// Writes a directory, as JSON has it.
///
/// # Errors
/// Never: a directory has nothing that YAML cannot say, and text can always be written to.
pub(super) fn write(directory: Json) -> Result<String, saphyr::EmitError> {
    let mut text = String::new();
    let mut emitter = YamlEmitter::new(&mut text);
    emitter.multiline(true);
    emitter.dump(&yaml(directory))?;
    text.push('\n');
    Ok(text)
}

fn yaml(json: Json) -> Yaml<'static> {
    let text = |text: String| Yaml::Value(Scalar::String(text.into()));
    match json {
        Json::Null => Yaml::Value(Scalar::Null),
        Json::Bool(flag) => Yaml::Value(Scalar::Boolean(flag)),
        // A directory has no numbers but a role's seconds.
        Json::Number(number) => Yaml::Value(Scalar::Integer(number.as_i64().unwrap_or(i64::MAX))),
        Json::String(content) => text(content),
        Json::Array(list) => Yaml::Sequence(list.into_iter().map(yaml).collect()),
        Json::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (text(name), yaml(value)));
            Yaml::Mapping(members.collect::<Mapping<'static>>())
        }
    }
}
