//! Records: what a store keeps beside sessions, device requests and the directory. All are rows of one table, `record`:
//! a kind, a key, a version that counts how often the record was put, and JSON. Nothing ever takes one away.

use doorward_core::consent::Consents;
use doorward_core::federated::FederatedPerson;
use doorward_core::ids::PersonId;
use doorward_core::signing_key::{SigningKey, SigningKeys};
use doorward_core::store::Outage;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::columns::{self, BadColumn, BadRow};

const CONSENTS: &str = "consents";
const FEDERATED_PERSON: &str = "federated_person";
const SIGNING_KEYS: &str = "signing_keys";

/// Names a record. Their order is that of the columns `kind` and `key`: kinds differ in their first letters, and so have
/// one order in every collation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RecordKey {
    /// Of this person.
    Consents(PersonId),
    FederatedPerson(PersonId),
    SigningKeys,
}

impl RecordKey {
    /// The columns `kind` and `key`; [`parse`](Self::parse) reads them back.
    pub(crate) fn columns(&self) -> (&'static str, &str) {
        match self {
            Self::Consents(person) => (CONSENTS, person.as_str()),
            Self::FederatedPerson(id) => (FEDERATED_PERSON, id.as_str()),
            Self::SigningKeys => (SIGNING_KEYS, ""),
        }
    }

    pub(crate) fn parse(kind: &str, key: String) -> Result<Self, BadRow> {
        let row = format!("{kind} {key}");
        let parsed = match (kind, &*key) {
            (CONSENTS, _) => columns::person("key", key).map(Self::Consents),
            (FEDERATED_PERSON, _) => columns::person("key", key).map(Self::FederatedPerson),
            (SIGNING_KEYS, "") => Ok(Self::SigningKeys),
            (SIGNING_KEYS, _) => Err(BadColumn::new("key", "there is one row, and its key is empty")),
            _ => Err(BadColumn::new("kind", format!("there is no {kind:?}"))),
        };
        parsed.map_err(|bad| BadRow { table: "record", row, why: bad.to_string() })
    }

    /// The column `version`; [`Record::of_columns`] reads it back.
    pub(crate) fn version_column(&self, version: u64) -> Result<i64, Outage> {
        i64::try_from(version).map_err(|error| self.unwritable(&error))
    }

    fn unwritable(&self, why: &impl ToString) -> Outage {
        let (kind, key) = self.columns();
        Outage(format!("the record {kind} {key} cannot be written: {}", why.to_string()))
    }

    /// What is wrong with the record of this name.
    pub(crate) fn bad(&self, why: &impl ToString) -> BadRow {
        let (kind, key) = self.columns();
        BadRow { table: "record", row: format!("{kind} {key}"), why: why.to_string() }
    }
}

/// A record, without its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// 0 when there is none.
    pub(crate) version: u64,
    /// JSON; empty when there is none.
    pub(crate) content: String,
}

impl Record {
    /// The columns `version` and `content`.
    pub(crate) fn of_columns(key: &RecordKey, version: i64, content: String) -> Result<Self, BadRow> {
        match u64::try_from(version) {
            Ok(version @ 1..) => Ok(Self { version, content }),
            _ => Err(key.bad(&BadColumn::new("version", format!("{version} is not positive")))),
        }
    }

    /// What a person has agreed to, and its version.
    pub(crate) fn consents(&self, person: &PersonId) -> Result<(u64, Consents), BadRow> {
        if self.version == 0 {
            return Ok((0, Consents::new()));
        }
        Ok((self.version, self.parse(&RecordKey::Consents(person.clone()))?))
    }

    /// What an identity source said of a person, and its version.
    pub(crate) fn federated_person(&self, id: &PersonId) -> Result<(u64, Option<FederatedPerson>), BadRow> {
        if self.version == 0 {
            return Ok((0, None));
        }
        let key = RecordKey::FederatedPerson(id.clone());
        let person: FederatedPerson = self.parse(&key)?;
        if person.id != *id {
            return Err(key.bad(&BadColumn::new("content", format!("it is of {}", person.id))));
        }
        Ok((self.version, Some(person)))
    }

    /// The signing keys.
    pub(crate) fn signing_keys(&self) -> Result<SigningKeys, BadRow> {
        let keys = if self.version == 0 { Vec::new() } else { self.parse(&RecordKey::SigningKeys)? };
        Ok(SigningKeys { version: self.version, keys })
    }

    /// Nothing, if the record of this name can be read.
    pub(crate) fn check(&self, key: &RecordKey) -> Result<(), BadRow> {
        match key {
            RecordKey::Consents(person) => self.consents(person).map(drop),
            RecordKey::FederatedPerson(id) => self.federated_person(id).map(drop),
            RecordKey::SigningKeys => self.signing_keys().map(drop),
        }
    }

    fn parse<T: DeserializeOwned>(&self, key: &RecordKey) -> Result<T, BadRow> {
        serde_json::from_str(&self.content).map_err(|error| key.bad(&BadColumn::new("content", error)))
    }
}

/// A record to be put. Guard: the stored version is `from`, 0 when there is none.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) key: RecordKey,
    pub(crate) from: i64,
    pub(crate) content: String,
}

impl Put {
    pub(crate) fn consents(from: u64, person: &PersonId, consents: &Consents) -> Result<Self, Outage> {
        Self::new(RecordKey::Consents(person.clone()), from, consents)
    }

    pub(crate) fn federated_person(from: u64, person: &FederatedPerson) -> Result<Self, Outage> {
        Self::new(RecordKey::FederatedPerson(person.id.clone()), from, person)
    }

    pub(crate) fn signing_keys(from: u64, keys: &[SigningKey]) -> Result<Self, Outage> {
        Self::new(RecordKey::SigningKeys, from, keys)
    }

    fn new(key: RecordKey, from: u64, value: &(impl Serialize + ?Sized)) -> Result<Self, Outage> {
        let from = key.version_column(from)?;
        let content = serde_json::to_string(value).map_err(|error| key.unwritable(&error))?;
        Ok(Self { key, from, content })
    }
}

#[cfg(test)]
mod tests {
    use doorward_core::signing_key::SigningAlgorithm;

    use super::*;

    #[test]
    fn a_name_reads_back_from_its_columns_and_nothing_else_does() {
        let of_each = |kind: fn(PersonId) -> RecordKey| {
            ["!", "alice", "é"].map(|name| kind(PersonId::parse(name).unwrap())).into_iter()
        };
        let keys = of_each(RecordKey::Consents).chain(of_each(RecordKey::FederatedPerson));
        let keys = keys.chain([RecordKey::SigningKeys]).collect::<Vec<_>>();
        assert!(keys.is_sorted());
        for key in keys {
            let (kind, name) = key.columns();
            assert_eq!(RecordKey::parse(kind, name.to_owned()).unwrap(), key);
        }
        for (kind, key) in [
            ("signing_keys", "more"),
            ("federated_person", "a b"),
            ("consents", ""),
            ("", ""),
            ("photo", "alice"),
        ] {
            assert!(RecordKey::parse(kind, key.to_owned()).is_err(), "{kind} {key}");
        }
    }

    #[test]
    fn a_record_that_is_no_record_is_told_by_its_name() {
        let alice = RecordKey::FederatedPerson(PersonId::parse("alice").unwrap());
        assert!(Record::of_columns(&alice, 0, String::new()).is_err());
        let told = |key: &RecordKey, content: &str| {
            let record = Record::of_columns(key, 1, content.to_owned()).unwrap();
            record.check(key).unwrap_err().to_string()
        };
        assert!(told(&alice, "{}").starts_with("table record, row federated_person alice: column content: "));
        assert!(told(&RecordKey::SigningKeys, "{}").starts_with("table record, row signing_keys "));
        let of_alice = RecordKey::Consents(PersonId::parse("alice").unwrap());
        assert!(
            told(&of_alice, r#"{"app": {}}"#)
                .starts_with("table record, row consents alice: column content: ")
        );
    }
    /// As a server wrote it that had one key.
    #[test]
    fn a_record_of_the_time_of_one_key_is_of_one_that_always_signed() {
        let content =
            r#"[{"id":"a","algorithm":"RS256","made_at":1800000000000,"sealed":"x","certificate":[1]}]"#;
        let record = Record::of_columns(&RecordKey::SigningKeys, 1, content.to_owned()).unwrap();
        let kept = record.signing_keys().unwrap();
        let made_at = kept.keys[0].made_at;
        assert!(kept.keys[0].signs_from < made_at);
        let active = kept.active(SigningAlgorithm::Rs256, made_at).unwrap();
        assert_eq!((active.id.as_str(), &*active.certificate), ("a", &[1_u8][..]));
    }
}
