//! The published schema and the reader agree: on which keys there are, which must be there, and how long and how large
//! values may be.

use serde_json::{Map, Value as Json, json};

use super::tests::parse;
use super::yaml;

/// The schema that is published, and what an entry of each list needs beside what is tried.
struct Schema(Json);

/// A list of a directory and the name of its entries in the schema.
const LISTS: [(&str, &str); 7] = [
    ("people", "person"),
    ("groups", "group"),
    ("accounts", "account"),
    ("permission_sets", "permission_set"),
    ("assignments", "assignment"),
    ("scopes", "scope"),
    ("applications", "application"),
];
/// Tables inside of applications, by their names in the schema.
const INSIDE: [&str; 3] = ["key", "token_exchange", "trusted_issuer"];

/// Every table there is, by its name in the schema.
fn tables() -> impl Iterator<Item = &'static str> {
    LISTS.into_iter().map(|(_, name)| name).chain(INSIDE)
}

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
        "assignment" => json!({"accounts": [], "permission_sets": []}),
        "scope" => json!({"name": "x", "description": "x"}),
        "application" => json!({
            "client_id": "x", "name": "x", "grants": ["client_credentials"], "scopes": ["openid"]
        }),
        "key" => json!({"kty": "OKP"}),
        "token_exchange" => json!({"subjects_of": ["x"], "audiences": ["urn:x:y"]}),
        "trusted_issuer" => json!({"issuer": "x", "audiences": ["x"]}),
        other => panic!("an entry that this test does not know: {other}"),
    }
}

/// An entry with what must be beside a member of it: some members belong together.
fn around(name: &str, member: &str) -> Json {
    let mut entry = least(name);
    let more = match (name, member) {
        ("application", "people" | "groups" | "everybody") => {
            json!({"authentication": "none", "grants": ["urn:ietf:params:oauth:grant-type:device_code"]})
        }
        ("application", "keys") => json!({"authentication": "private_key_jwt"}),
        ("application", "token_exchange") => {
            json!({"grants": ["urn:ietf:params:oauth:grant-type:token-exchange"], "everybody": true})
        }
        ("application", "trusted_issuers") => {
            json!({"grants": ["urn:ietf:params:oauth:grant-type:jwt-bearer"], "everybody": true})
        }
        ("key", _) => json!({"crv": "Ed25519", "x": ED25519}),
        _ => json!({}),
    };
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    if name == "application" && entry.get("authentication").is_none() {
        entry["secret_hashes"] = json!([HASH]);
    }
    entry
}

const HASH: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
const ED25519: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const ARN: &str = "arn:aws:sso::111122223333:application/ssoins-0123456789abcdef/apl-0123456789abcdef";

/// Members that some values of others exclude, or that must be what no pattern can say: what is good, others find out.
fn good_ones_depend(name: &str, member: &str) -> bool {
    matches!(
        (name, member),
        (
            "application",
            "grants"
                | "authentication"
                | "people"
                | "groups"
                | "everybody"
                | "trusted_issuers"
                | "token_exchange"
                | "keys"
                | "secret_hashes"
        ) | ("key", "kty" | "crv" | "alg" | "x" | "y" | "n" | "e")
    )
}

/// Whether the reader takes a directory with this one entry.
fn reads(name: &str, entry: &Json) -> Result<(), String> {
    let inside = |member: &str, value: Json| {
        let mut application = around("application", member);
        application[member] = value;
        json!({"applications": [application]})
    };
    let directory = match name {
        "key" => inside("keys", json!([entry])),
        "token_exchange" => inside("token_exchange", entry.clone()),
        "trusted_issuer" => inside("trusted_issuers", json!([entry])),
        _ => json!({LISTS.into_iter().find(|(_, known)| *known == name).unwrap().0: [entry]}),
    };
    let text = yaml::write(directory).unwrap();
    parse("d.yaml", &text).map(drop)
}

/// A text of this length that `part` of the schema has nothing against otherwise.
fn text(part: &Json, length: u64) -> String {
    let length = usize::try_from(length).unwrap();
    if part["pattern"] == r"^\s*\{" {
        return format!("{{{}}}", " ".repeat(length.saturating_sub(2)));
    }
    let begin = begin(part);
    format!("{begin}{}", "x".repeat(length.saturating_sub(begin.len())))
}

/// What a text must begin with.
fn begin(part: &Json) -> &'static str {
    match part["pattern"].as_str() {
        Some(r"^https://[^/?#:@\\\s]") => "https://x",
        Some(pattern) if pattern.starts_with("^(https://") => "https://x",
        Some(pattern) if pattern.starts_with("^[a-z][a-z0-9+.-]*:") => "urn:x",
        Some("^arn:") => "arn:",
        _ => "",
    }
}

/// So many values that differ.
fn distinct(part: &Json, count: usize) -> Vec<Json> {
    let least = part["minLength"].as_u64().map_or(1, |least| usize::try_from(least).unwrap());
    let begin = begin(part);
    let value = |n| match part["pattern"].as_str() {
        Some(pattern) if pattern.starts_with("^sha256:") => json!(format!("sha256:{n:064x}")),
        _ if part["type"] == "object" => json!({"kty": "OKP", "kid": n, "crv": "Ed25519", "x": ED25519}),
        _ => json!(format!("{begin}{n:0>width$}", width = least.saturating_sub(begin.len()).max(1))),
    };
    (0..count).map(value).collect()
}

/// Values that `part` of the schema takes, and values that it does not take.
fn samples(schema: &Schema, part: &Json) -> (Vec<Json>, Vec<Json>) {
    let number = |key| part.get(key).and_then(Json::as_u64);
    if let Some(known) = part["enum"].as_array() {
        return (known.clone(), vec![json!("qqqqqqqq"), json!(""), json!(5), json!(null), json!([])]);
    }
    match part["type"].as_str().unwrap() {
        "string" if part["pattern"].as_str().is_some_and(|pattern| pattern.starts_with("^arn:aws:sso::")) => {
            (
                vec![json!(ARN)],
                vec![json!(&ARN[1..]), json!(&ARN[..ARN.len() - 1]), json!(format!("{ARN}0")), json!(5)],
            )
        }
        "string" if part["pattern"].as_str().is_some_and(|pattern| pattern.starts_with("^sha256:")) => (
            vec![json!(HASH)],
            vec![json!(&HASH[1..]), json!(&HASH[..70]), json!(format!("{HASH}0")), json!(5)],
        ),
        "string" if part["pattern"] == "^[A-Za-z0-9_-]+$" => {
            (vec![json!(ED25519)], vec![json!(format!("{ED25519}=")), json!("+/"), json!(""), json!(5)])
        }
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
            let most = number("maxItems").map(|most| usize::try_from(most).unwrap());
            let items = schema.part(&part["items"]);
            bad.extend(most.map(|most| json!(distinct(items, most + 1))));
            bad.extend((part["uniqueItems"] == true).then(|| json!([good[0], good[0]])));
            let empty = json!([]);
            let mut taken = vec![json!([good[0]])];
            taken.extend(most.filter(|_| items["enum"].is_null()).map(|most| json!(distinct(items, most))));
            if number("minItems").is_some() { &mut bad } else { &mut taken }.push(empty);
            (taken, bad)
        }
        "object" if part.get("properties").is_some() => {
            (vec![json!({})], vec![json!([]), json!("x"), json!(5), json!(null)])
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
    for name in tables() {
        let why = reads(name, &json!({"qqqqqqqq": 1})).unwrap_err();
        assert_eq!(known(why), published(schema.members(name)), "{name}");
        assert_eq!(schema.entry(name)["additionalProperties"], false, "{name}");
    }
    for (list, name) in LISTS {
        assert_eq!(schema.0["properties"][list]["items"]["$ref"], format!("#/definitions/{name}"));
    }
}

#[test]
fn what_the_schema_requires_is_what_the_reader_requires() {
    let schema = Schema::read();
    for name in tables() {
        let whole = around(name, "");
        let read = reads(name, &whole).err().filter(|why| !why.contains("there is no "));
        assert_eq!(read, None, "{name}");
        let mut required: Vec<&str> =
            schema.entry(name)["required"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
        for member in least(name).as_object().unwrap().keys() {
            let mut without = whole.clone();
            without.as_object_mut().unwrap().remove(member);
            let why = reads(name, &without).unwrap_err();
            assert!(why.ends_with(&format!("`{member}` is missing")), "{why}");
            required.retain(|name| name != member);
        }
        assert!(required.is_empty(), "{name}: {required:?}");
    }
}

#[test]
fn the_limits_of_the_schema_are_those_of_the_reader() {
    let schema = Schema::read();
    let mut tried = 0;
    for name in tables() {
        for (member, part) in schema.members(name) {
            let (mut good, bad) = samples(&schema, schema.part(part));
            if good_ones_depend(name, member) {
                good.clear();
            }
            let with = |value: &Json| {
                let mut entry = around(name, member);
                entry[member] = value.clone();
                entry
            };
            for value in &good {
                let outcome = reads(name, &with(value));
                // The lists of names lead somewhere or are refused for that, and not for their form.
                let form = outcome.err().filter(|why| !why.contains("there is no "));
                assert_eq!(form, None, "{name}.{member} = {value}");
            }
            for value in &bad {
                assert!(reads(name, &with(value)).is_err(), "{name}.{member} = {value}");
            }
            tried += good.len() + bad.len();
        }
    }
    assert!(tried > 250, "{tried}");
    let both = json!({"user_name": "x", "password_hash": "$argon2id$", "identity_source": "corp"});
    assert!(reads("person", &both).unwrap_err().contains("and not both"));
    assert_eq!(schema.entry("person")["not"]["required"], json!(["password_hash", "identity_source"]));
}
