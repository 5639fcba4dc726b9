//! The published schema and the reader agree: on which keys there are, which must be there, and how long and how large
//! values may be.

use serde_json::{Map, Value as Json, json};

use super::tests::parse;
use super::yaml;

/// The schema that is published, and what an entry of each list needs beside what is tried.
struct Schema(Json);

/// A list of a directory and the name of its entries in the schema.
const LISTS: [(&str, &str); 5] = [
    ("people", "person"),
    ("groups", "group"),
    ("accounts", "account"),
    ("permission_sets", "permission_set"),
    ("assignments", "assignment"),
];

impl Schema {
    fn read() -> Self {
        Self(serde_json::from_str(include_str!("../../../../docs/directory.schema.json")).unwrap())
    }

    /// A part of the schema, where it leads to.
    fn part<'a>(&'a self, part: &'a Json) -> &'a Json {
        let leads = part.get("$ref").or_else(|| part.pointer("/allOf/0/$ref"));
        match leads.and_then(Json::as_str) {
            Some(leads) => self.0.pointer(leads.strip_prefix('#').unwrap()).unwrap(),
            None => part,
        }
    }

    fn entry(&self, name: &str) -> &Json {
        &self.0["definitions"][name]
    }

    fn members(&self, name: &str) -> &Map<String, Json> {
        self.entry(name)["properties"].as_object().unwrap()
    }
}

/// An entry with what must be in it and nothing else.
fn least(name: &str) -> Json {
    match name {
        "person" => json!({"user_name": "x"}),
        "group" | "permission_set" => json!({"name": "x"}),
        "account" => json!({"id": "111111111111", "name": "x"}),
        _ => json!({"accounts": [], "permission_sets": []}),
    }
}

/// Whether the reader takes a directory with this one entry.
fn reads(list: &str, entry: &Json) -> Result<(), String> {
    let text = yaml::write(json!({ list: [entry] })).unwrap();
    parse("d.yaml", &text).map(drop)
}

/// A text of this length that `part` of the schema has nothing against otherwise.
fn text(part: &Json, length: u64) -> String {
    let length = usize::try_from(length).unwrap();
    let begin = match part["pattern"].as_str() {
        Some(r"^https://[^/?#:@\\\s]") => "https://x",
        Some("^arn:") => "arn:",
        Some(r"^\s*\{") => return format!("{{{}}}", " ".repeat(length.saturating_sub(2))),
        _ => "",
    };
    format!("{begin}{}", "x".repeat(length.saturating_sub(begin.len())))
}

/// Values that `part` of the schema takes, and values that it does not take.
fn samples(schema: &Schema, part: &Json) -> (Vec<Json>, Vec<Json>) {
    let number = |key| part.get(key).and_then(Json::as_u64);
    match part["type"].as_str().unwrap() {
        "string" if part["pattern"] == "^[0-9]{12}$" => {
            (vec![json!("012345678901")], vec![json!("01234567890"), json!("x12345678901"), json!(5)])
        }
        "string" if part["pattern"] == "^\\$argon2id\\$" => {
            let good =
                "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$Y2FuIGJlIGFueXRoaW5nIGhlcmUgaGVyZSBoZXJlIGhlcmU";
            (vec![json!(good)], vec![json!("$argon2i$v=19$x"), json!(5)])
        }
        "string" => {
            let most = number("maxLength").unwrap();
            let least = number("minLength").unwrap_or(0);
            let mut bad = vec![json!(text(part, most + 1)), json!(5), json!(null)];
            bad.extend(least.checked_sub(1).map(|short| json!(text(part, short))));
            (vec![json!(text(part, most)), json!(text(part, least))], bad)
        }
        "integer" => {
            let (least, most) = (number("minimum").unwrap(), number("maximum").unwrap());
            (vec![json!(least), json!(most)], vec![json!(least - 1), json!(most + 1), json!("x"), json!(-1)])
        }
        "boolean" => (vec![json!(true), json!(false)], vec![json!("true"), json!(1)]),
        "array" => {
            let (good, bad) = samples(schema, schema.part(&part["items"]));
            let mut bad: Vec<Json> = bad.into_iter().map(|bad| json!([bad])).collect();
            bad.push(json!({}));
            let most = number("maxItems");
            bad.extend(most.map(|most| json!(vec![&good[0]; usize::try_from(most).unwrap() + 1])));
            let full = most.map_or(1, |most| usize::try_from(most).unwrap());
            (vec![json!([]), json!(vec![&good[0]; full])], bad)
        }
        "object" => {
            let values = &part["additionalProperties"];
            let name = text(values, part["propertyNames"]["maxLength"].as_u64().unwrap());
            let long = format!("{name}x");
            let most = values["maxLength"].as_u64().unwrap();
            let tags = |count| (0..count).map(|n| (n.to_string(), json!("x"))).collect::<Map<_, _>>();
            let full = number("maxProperties").unwrap();
            (
                vec![json!({ name: text(values, most) }), json!(tags(full))],
                vec![
                    json!({ long: "x" }),
                    json!({ "": "x" }),
                    json!({ "x": text(values, most + 1) }),
                    json!({ "x": 5 }),
                    json!(tags(full + 1)),
                    json!([]),
                ],
            )
        }
        other => panic!("a type that this test does not know: {other}"),
    }
}

#[test]
fn the_keys_of_the_schema_are_those_of_the_reader() {
    let schema = Schema::read();
    let known = |why: String| {
        let names = why.split_once("there are ").expect("the known keys").1.to_owned();
        let mut names: Vec<String> =
            names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect();
        names.sort();
        names
    };
    let published = |members: &Map<String, Json>| {
        let mut names: Vec<String> = members.keys().cloned().collect();
        names.sort();
        names
    };
    let why = parse("d.yaml", "qqqqqqqq: 1").unwrap_err();
    assert_eq!(known(why), published(schema.0["properties"].as_object().unwrap()));
    assert_eq!(schema.0["additionalProperties"], false);
    for (list, name) in LISTS {
        let why = reads(list, &json!({"qqqqqqqq": 1})).unwrap_err();
        assert_eq!(known(why), published(schema.members(name)), "{list}");
        assert_eq!(schema.entry(name)["additionalProperties"], false, "{list}");
        assert_eq!(schema.0["properties"][list]["items"]["$ref"], format!("#/definitions/{name}"));
    }
}

#[test]
fn what_the_schema_requires_is_what_the_reader_requires() {
    let schema = Schema::read();
    for (list, name) in LISTS {
        reads(list, &least(name)).unwrap();
        let mut required: Vec<&str> =
            schema.entry(name)["required"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
        let least = least(name);
        let members = least.as_object().unwrap();
        for member in members.keys() {
            let mut without = members.clone();
            without.remove(member);
            let why = reads(list, &without.into()).unwrap_err();
            assert!(why.ends_with(&format!("`{member}` is missing")), "{why}");
            required.retain(|name| name != member);
        }
        assert!(required.is_empty(), "{list}: {required:?}");
    }
}

#[test]
fn the_limits_of_the_schema_are_those_of_the_reader() {
    let schema = Schema::read();
    let mut tried = 0;
    for (list, name) in LISTS {
        for (member, part) in schema.members(name) {
            let (good, bad) = samples(&schema, schema.part(part));
            let with = |value: &Json| {
                let mut entry = least(name);
                entry[member] = value.clone();
                entry
            };
            for value in &good {
                let outcome = reads(list, &with(value));
                // The lists of names lead somewhere or are refused for that, and not for their form.
                let form = outcome.err().filter(|why| !why.contains("there is no "));
                assert_eq!(form, None, "{list}.{member} = {value}");
            }
            for value in &bad {
                assert!(reads(list, &with(value)).is_err(), "{list}.{member} = {value}");
            }
            tried += good.len() + bad.len();
        }
    }
    assert!(tried > 100, "{tried}");
    let both = json!({"user_name": "x", "password_hash": "$argon2id$", "identity_source": "corp"});
    assert!(reads("people", &both).unwrap_err().contains("and not both"));
    assert_eq!(schema.entry("person")["not"]["required"], json!(["password_hash", "identity_source"]));
}
