//! What operators are told of their mistakes, and that what is written reads back.

use std::collections::BTreeMap;
use std::fs;

use doorward_core::application::{
    AcceptedIssuer, Application, ClientAuthentication, PublicKey, ScopeDescription, SecretHash,
    TokenExchangePolicy,
};
use doorward_core::client::GrantType;
use doorward_core::directory::{Account, Assignment, Group, PermissionSet, Person, Plan};
use doorward_core::ids::{
    AccountId, ApplicationId, BrokerName, GroupName, IssuerName, PersonId, RoleName, SourceName,
};
use doorward_core::scope::Scopes;
use doorward_core::signing_key::SigningAlgorithm;
use doorward_core::time::Lifetime;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::*;

/// Parses a text as if it were in a file of this name.
pub(super) fn parse(name: &str, text: &str) -> Result<DirectoryFile, String> {
    let format = Format::of(Path::new(name)).unwrap();
    let source = Source { name: name.to_owned(), format, text: text.to_owned() };
    let written = source.parsed().and_then(|(source, root)| Written::checked(source, root));
    written.map(Written::into_directory).map_err(|why| why.to_string())
}

fn mistakes(name: &str, text: &str) -> Vec<String> {
    let why = parse(name, text).unwrap_err();
    let line = |line: &str| line.strip_prefix(&format!("{name}: ")).expect("the file's name").to_owned();
    why.lines().map(line).collect()
}

const TOML: &str = "\
[[people]]
user_name = 'ada'

[[people]]
user_nam = 'bob'

[[people]]
user_name = 'b ob'
disabled = 'yes'

[[groups]]
name = 'ops'
members = ['ada', 7]

[[permission_sets]]
name = 'Read'
session_duration = -1

[[acounts]]
id = '111111111111'
";

const YAML: &str = "\
people:
- user_name: ada
- user_nam: bob
- user_name: b ob
  disabled: yes
groups:
- name: ops
  members: [ada, 7]
permission_sets:
- {name: Read, session_duration: -1}
acounts:
- id: '111111111111'
";

#[test]
fn every_entry_that_cannot_be_read_is_named_with_its_line() {
    let whats = [
        "there is no key `user_nam`; did you mean `user_name`?",
        "the user name must be 1 to 128 letters, digits and ASCII signs, without spaces",
        "this is a number, and must be text, in quotes",
        "-1 is too small or too large",
        "there is no key `acounts`; did you mean `accounts`?",
    ];
    let expected = |places: [(usize, usize); 5]| -> Vec<String> {
        let line = |((line, column), what)| format!("line {line}, column {column}: {what}");
        places.into_iter().zip(whats).map(line).collect()
    };
    assert_eq!(mistakes("d.toml", TOML), expected([(5, 1), (8, 13), (13, 19), (17, 20), (19, 3)]));
    assert_eq!(mistakes("d.yaml", YAML), expected([(3, 3), (4, 14), (8, 18), (10, 34), (11, 1)]));
}

#[test]
fn what_names_mean_is_named_with_its_line_too() {
    let toml = "\
people = [{ user_name = 'ada', password_hash = 'hunter2' }]
accounts = [{ id = '111111111111', name = 'One' }]
permission_sets = [
    { name = 'Read', relay_state = 'http://x' },
    { name = 'Read' },
]
[[groups]]
name = 'größe'
members = [
    'ada',
    'adda',
]
[[assignments]]
groups = ['grösse']
accounts = ['111111111111']
permission_sets = ['Read']
";
    let yaml = "\
people:
  - user_name: ada
    password_hash: hunter2
accounts:
  - {id: '111111111111', name: One}
permission_sets:
  - name: Read
    relay_state: http://x
  - name: Read
groups:
  - {name: größe, members: [ada, adda]}
assignments:
  - groups: [grösse]
    accounts: ['111111111111']
    permission_sets: [Read]
";
    let whats = [
        "person ada: password_hash cannot be used: it is not a hash in PHC form ($argon2id$v=19$…); `doorward \
         hash-password` makes one",
        "permission set Read: relay_state must begin with https:// and a host",
        "permission set Read occurs twice",
        "group größe: there is no person adda; did you mean ada?",
        "assignment 1: there is no group grösse; did you mean größe?",
    ];
    let expected = |places: [(usize, usize); 5]| -> Vec<String> {
        let line = |((line, column), what)| format!("line {line}, column {column}: {what}");
        places.into_iter().zip(whats).map(line).collect()
    };
    assert_eq!(mistakes("d.toml", toml), expected([(1, 48), (4, 36), (5, 5), (11, 5), (14, 11)]));
    assert_eq!(mistakes("d.yaml", yaml), expected([(3, 20), (8, 18), (9, 5), (11, 34), (13, 14)]));
}

#[test]
fn mistakes_inside_of_an_application_are_at_their_lines() {
    let toml = "\
[[applications]]
client_id = 'web'
name = 'Web'
authentication = 'private_key_jwt'
grants = [
    'authorization_code',
    'urn:ietf:params:oauth:grant-type:token-exchange',
]
redirect_uris = ['https://web.example/cb', 'http://web.example/cb']
scopes = ['openid', 'orders']
everybody = true

[[applications.keys]]
kty = 'OKP'
crv = 'Ed25519'
x = 'AQAB'

[applications.token_exchange]
subjects_of = ['web', 'wep']
audiences = ['stock']
";
    assert_eq!(
        mistakes("d.toml", toml),
        [
            "line 9, column 44: application web: redirect_uris must be an https URI with a host and without a user name, \
             an http URI on 127.0.0.1, or one with a private-use scheme that has a dot in it, such as \
             com.example.app:/signed-in",
            "line 10, column 10: application web: there is no scope orders; `scopes` of the directory describes those \
             that are not standard",
            "line 16, column 5: application web: key 1: x has not the length that this curve's have",
            "line 19, column 23: application web: there is no application wep; did you mean web?",
            "line 20, column 14: application web: token_exchange.audiences must be an absolute URI, such as \
             https://api.example.org or urn:example:api",
        ]
    );
    let yaml = "\
applications:
  - client_id: web
    name: Web
    authentication: client_secret
    grants: [implicit]
  - client_id: job
    name: Job
    authentication: private_key_jwt
    grants: [client_credentials]
    scopes: [openid]
    keys:
      - {kty: EC, crv: P-256, x: AA, y: AA, d: AA}
  - client_id: api
    name: API
    secret_hashes: [hunter2]
    grants: [client_credentials]
    scopes: [openid]
";
    let found = mistakes("d.yaml", yaml);
    let ways = "line 4, column 21: this must be one of `none`, `client_secret_basic`, `client_secret_post`, \
                `private_key_jwt`; did you mean `client_secret_post`?";
    assert_eq!((found.len(), found[0].as_str()), (3, ways), "{found:?}");
    let private = "line 12, column 45: `d` belongs to the private part of a key, which the application alone may have: ";
    assert!(found[1].starts_with(private), "{found:?}");
    let hash = "line 15, column 21: a secret hash is `sha256:` and 64 hexadecimal digits: ";
    assert!(found[2].starts_with(hash), "{found:?}");
    assert!(!found.concat().contains("hunter2"), "{found:?}");
}

#[test]
fn a_default_that_is_wrong_is_shown_at_its_entry() {
    let text = "people: []\ngroups:\n- name: ops\n  member: []\n";
    assert_eq!(
        mistakes("d.yml", text),
        ["line 4, column 3: there is no key `member`; did you mean `members`?"]
    );
    let text = "accounts:\n- id: '111111111111'\n";
    assert_eq!(mistakes("d.yml", text), ["line 2, column 3: `name` is missing"]);
}

#[test]
fn keys_that_occur_twice_and_broken_syntax_are_named() {
    let twice = "people:\n- user_name: ada\n  email: a@b\n  user_name: bob\n";
    assert_eq!(mistakes("d.yaml", twice), ["line 4, column 3: the key `user_name` occurs twice"]);
    let twice = "[[people]]\nuser_name = 'a'\nuser_name = 'b'\n[[groups]]\nname = \n";
    let found = mistakes("d.toml", twice);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("line 3, column 1: duplicate key"), "{found:?}");
    assert!(found[1].starts_with("line 5, column 8: "), "{found:?}");
    let found = mistakes("d.yaml", "people:\n- user_name: [ada\ngroups: []\n");
    assert!(found.len() == 1 && found[0].starts_with("line 3, column "), "{found:?}");
    for (name, text) in [("d.toml", "people = 5"), ("d.yaml", "people: {}")] {
        assert!(mistakes(name, text)[0].ends_with("this must be a list"), "{name}");
    }
    for text in ["- a", "5", "", "# nothing"] {
        assert_eq!(mistakes("d.yaml", text).len(), 1, "{text}");
    }
    assert_eq!(parse("d.toml", "# nothing"), Ok(DirectoryFile::default()));
    assert_eq!(parse("d.yaml", "{}"), Ok(DirectoryFile::default()));
}

#[test]
fn yaml_that_no_directory_needs_is_refused() {
    let refused = [
        (
            "people: []\n---\npeople: []\n",
            "line 2, column 1: a second document begins here: a directory is one",
        ),
        (
            "people:\n- user_name: !!str 7\n",
            "line 2, column 14: the tag tag:yaml.org,2002:!str has no meaning here",
        ),
        ("people:\n- user_name: 7\n", "line 2, column 14: this is a number, and must be text, in quotes"),
        ("people:\n- user_name:\n", "line 2, column 12: this is nothing, and must be text, in quotes"),
        (
            "people:\n- {user_name: a, email: 1.5}\n",
            "line 2, column 25: this is a fraction, and must be text, in quotes",
        ),
        ("1: 2\n", "line 1, column 1: a key must be text"),
        (
            "people: &all\n- *all\n",
            "line 2, column 3: this alias stands for something that is not finished yet",
        ),
    ];
    for (text, why) in refused {
        assert_eq!(mistakes("d.yaml", text), [why], "{text}");
    }
    let deep = |levels| format!("people: {}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(mistakes("d.yaml", &deep(100)), ["line 1, column 24: more than 16 levels"]);
    assert_eq!(mistakes("d.yaml", &deep(1_000_000)).len(), 1);
    assert_eq!(mistakes("d.toml", &deep(1_000_000).replace(':', "=")).len(), 1);
}

#[test]
fn aliases_stand_for_a_bounded_number_of_values_and_a_bounded_amount_of_text() {
    let text = "accounts:\n- {id: &one '111111111111', name: One}\npermission_sets: [{name: Read}, {name: Write}]\n\
                people: [{user_name: ada}]\nassignments:\n- people: [ada]\n  accounts: &all [*one]\n  permission_sets: [Read]\n\
                - people: [ada]\n  accounts: *all\n  permission_sets: [Write]\n";
    let directory = parse("d.yaml", text).unwrap();
    assert_eq!(directory.assignments[1].accounts, directory.assignments[0].accounts);
    // Ten to the power of nine, in a few lines.
    let doubled = (1..9).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", ")));
    let bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned() + &doubled.collect::<String>();
    let found = mistakes("d.yaml", &bomb);
    assert!(found[0].ends_with("more than 4000000 values, aliases included"), "{found:?}");
    // A text of a megabyte, a few thousand times.
    let bomb = format!("a: &a {}\nb: [{}*a]\n", "x".repeat(1 << 20), "*a, ".repeat(4999));
    let found = mistakes("d.yaml", &bomb);
    assert!(found[0].ends_with("more than 64 MiB of text, aliases included"), "{found:?}");
}

#[test]
fn a_session_policy_that_is_no_json_is_refused_where_it_is() {
    let text = "permission_sets:\n- name: Read\n  session_policy: '{\"Version\": }'\n";
    let why = "permission set Read: session_policy is no JSON: expected value at line 1 column 13";
    assert_eq!(mistakes("d.yaml", text), [format!("line 3, column 19: {why}")]);
}

#[test]
fn files_that_are_not_read_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let why = |name: &str| Written::read(&folder.path().join(name)).err().expect("an error").to_string();
    assert!(why("d.json").ends_with("d.json: the name of a directory file ends with .toml, .yaml or .yml"));
    assert!(why("d.toml").contains("No such file"));
    let large = fs::File::create(folder.path().join("large.yaml")).unwrap();
    large.set_len(LARGEST + 1).unwrap();
    assert!(why("large.yaml").contains("more than 64 MiB"), "{}", why("large.yaml"));
    fs::write(folder.path().join("d.toml"), b"\xff").unwrap();
    assert!(why("d.toml").contains("UTF-8"), "{}", why("d.toml"));
}

#[test]
fn passwords_in_the_clear_are_taken_out_for_development_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.yaml");
    fs::write(&file, "people:\n- {user_name: ada, password: hunter2}\n- user_name: bob\n").unwrap();
    let (written, passwords) = Written::read_with_passwords(&file).unwrap();
    assert_eq!(passwords, [("ada".to_owned(), "hunter2".to_owned())]);
    assert_eq!(written.directory().people.len(), 2);
    let why = Written::read(&file).err().expect("an error").to_string();
    assert!(
        why.contains("line 2, column 20: there is no key `password`; did you mean `password_hash`?"),
        "{why}"
    );
    fs::write(&file, "people:\n- user_name: ada\n  password: 7\n").unwrap();
    let why = Written::read_with_passwords(&file).err().expect("an error").to_string();
    assert!(why.ends_with("line 3, column 13: a password must be text, in quotes"), "{why}");
}

#[test]
fn a_thousand_mistakes_are_counted() {
    let text = format!("people:\n{}", "- user_nam: x\n".repeat(1000));
    let found = mistakes("d.yaml", &text);
    assert_eq!(found.len(), MOST_MISTAKES + 1);
    assert_eq!(found[MOST_MISTAKES], "and 900 more mistakes");
}

#[test]
fn the_applications_of_the_manual_are_a_directory() {
    let blocks = |page: &str| -> Vec<String> {
        let begin = |block: &str| block.split_once("\n```").expect("an end of the block").0.to_owned();
        page.split("\n```toml\n").skip(1).map(begin).collect()
    };
    let people = blocks(include_str!("../../../../docs/operations/directory.md"));
    let applications = blocks(include_str!("../../../../docs/operations/applications.md"));
    assert_eq!((people.len(), applications.len()), (1, 6));
    let directory = parse("d.toml", &[people, applications].concat().join("\n")).unwrap();
    assert_eq!((directory.applications.len(), directory.scopes.len()), (6, 2));
    let page = include_str!("../../../../docs/operations/applications.md");
    for member in serde_json::to_value(&directory.applications[0]).unwrap().as_object().unwrap().keys() {
        assert!(page.contains(&format!("`{member}`")), "{member}");
    }
}

/// Text as people write it, and as nobody does.
fn text(length: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        '"', '\'', '\\', '\u{85}', '\u{2028}', '\u{feff}', '#', ':', '-', '[', '{', '&', '*', '!', '%', '@',
        '`', '|', '>', ',', '?', '~', '=', '0', 'n', 'ß', '💥', ' ',
    ]);
    let written = vec(prop_oneof![2 => odd, 1 => any::<char>()], length);
    let named = prop::sample::select(vec![
        "null",
        "~",
        "true",
        "yes",
        "no",
        "on",
        "0x1f",
        "012",
        "1e3",
        ".inf",
        "2026-01-01",
        "- a",
        "a: b",
        "a #b",
        "<<",
        "---",
        "...",
        " x ",
    ]);
    prop_oneof![
        3 => written.prop_map(|text| text.into_iter().filter(|character| !character.is_control()).collect()),
        1 => named.prop_map(ToOwned::to_owned),
    ]
}

fn optional(length: std::ops::Range<usize>) -> impl Strategy<Value = Option<String>> {
    let least = length.start;
    prop::option::of(text(length).prop_map(move |text| format!("{text}{}", "x".repeat(least))))
}

/// An application with everything in it that one may have.
fn application() -> impl Strategy<Value = Application> {
    let texts = |pattern: &'static str| {
        btree_set(pattern, 1..4).prop_map(|texts| texts.into_iter().collect::<Vec<_>>())
    };
    let uris =
        (texts("https://[a-z]{1,5}(/[!$&-;=?@_~a-z]{0,9})?"), texts("com\\.[a-z0-9]{0,5}[a-z]:/[a-z]{0,5}"));
    let audiences = (
        texts("(urn:[a-z]{1,5}:[A-Za-z0-9:/._~-]{1,9}|https://[a-z]{1,9})"),
        btree_set(text(1..9).prop_map(|text| text + "x"), 1..4),
    );
    let seconds = (prop::option::of(60..43_200_u32), prop::option::of(300..7_776_000_u32));
    let ways = (any::<[bool; 7]>(), 0..4_u8, 0..3_u8, any::<[u8; 32]>());
    (text(0..20), uris, audiences, seconds, ways).prop_map(|(name, uris, audiences, seconds, ways)| {
        let (flags, way, algorithm, hash) = ways;
        let [consent, bound, pushed, exchanges, asserts, impersonation, optional] = flags;
        let authentication = [
            ClientAuthentication::None,
            ClientAuthentication::ClientSecretBasic,
            ClientAuthentication::ClientSecretPost,
            ClientAuthentication::PrivateKeyJwt,
        ][usize::from(way)];
        let confidential = authentication != ClientAuthentication::None;
        let asserts = asserts && confidential;
        let key = |kid: &str| PublicKey {
            kty: "OKP".to_owned(),
            kid: Some(kid.to_owned()),
            alg: optional.then(|| "EdDSA".to_owned()),
            purpose: optional.then(|| "sig".to_owned()),
            crv: Some("Ed25519".to_owned()),
            x: Some("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned()),
            ..PublicKey::default()
        };
        let mut grants = vec![GrantType::DeviceCode, GrantType::AuthorizationCode, GrantType::RefreshToken];
        grants.extend(confidential.then_some(GrantType::ClientCredentials));
        grants.extend(exchanges.then_some(GrantType::TokenExchange));
        grants.extend(asserts.then_some(GrantType::JwtBearer));
        let accepted = AcceptedIssuer {
            issuer: IssuerName::parse("forge").unwrap(),
            audiences: audiences.1.into_iter().collect(),
        };
        let id = ApplicationId::parse("x").unwrap();
        let arn = "arn:aws:sso::111122223333:application/ssoins-0123456789abcdef/apl-0123456789abcdef";
        Application {
            name: name + "x",
            arn: optional.then(|| ApplicationId::parse(arn).unwrap()),
            authentication,
            secret_hashes: if matches!(way, 1 | 2) { vec![SecretHash::from_bytes(hash)] } else { Vec::new() },
            keys: if way == 3 { vec![key("a"), key("~ b")] } else { Vec::new() },
            redirect_uris: uris.0,
            post_logout_redirect_uris: uris.1,
            backchannel_logout_uri: optional.then(|| "http://127.0.0.1:8080/no".to_owned()),
            // The portal's tokens are bound to no key.
            scopes: Scopes::parse(
                if bound { ["null", "openid"].as_slice() } else { &["null", "openid", "sso-portal:*"] }
                    .iter()
                    .copied(),
            )
            .unwrap(),
            resource: (optional && confidential).then(|| audiences.0[0].clone()),
            people: Vec::new(),
            groups: Vec::new(),
            everybody: true,
            consent,
            access_token_lifetime: seconds.0.map(Lifetime::from_seconds),
            session_lifetime: seconds.1.map(Lifetime::from_seconds),
            signing_algorithm: [SigningAlgorithm::Rs256, SigningAlgorithm::Es256, SigningAlgorithm::EdDsa]
                [usize::from(algorithm)],
            dpop_bound_access_tokens: bound,
            require_pushed_authorization_requests: pushed,
            token_exchange: exchanges.then(|| TokenExchangePolicy {
                subjects_of: vec![id.clone()],
                audiences: audiences.0.clone(),
                impersonation,
            }),
            audiences: audiences.0,
            trusted_issuers: if asserts { vec![accepted] } else { Vec::new() },
            iam_principals: if confidential { vec!["arn:aws:iam::1:role/*".to_owned()] } else { Vec::new() },
            grants,
            client_id: id,
        }
    })
}

/// A directory with everything in it that one may have.
fn directories() -> impl Strategy<Value = DirectoryFile> {
    let person = (optional(1..20), optional(3..20), any::<bool>(), 0..3_u8).prop_map(
        |(name, email, disabled, way)| {
            let hash =
                "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$Y2FuIGJlIGFueXRoaW5nIGhlcmUgaGVyZSBoZXJlIGhlcmU";
            Person {
                display_name: name,
                email,
                password_hash: (way == 1).then(|| hash.to_owned()),
                identity_source: (way == 2).then(|| SourceName::parse("corp").unwrap()),
                disabled,
                ..Person::named(PersonId::parse("x").unwrap())
            }
        },
    );
    let policy = prop::option::of(prop_oneof![
        Just("{\n  \"Version\": \"2012-10-17\",\n\t\"Statement\": []\n}\n\n".to_owned()),
        text(1..30).prop_map(|text| format!("{{\n \n{0}:\n\n{0}}}", serde_json::json!(text))),
    ]);
    // A brace in a value must belong to a placeholder.
    let value = text(0..9).prop_map(|value| value.replace(['{', '}'], "{role}"));
    let tags = btree_map(text(1..9).prop_map(|key| key + "k"), value, 0..3);
    let set = (optional(1..20), 900..43_200_u32, policy, tags).prop_map(
        |(description, seconds, session_policy, session_tags)| PermissionSet {
            description,
            session_duration: Lifetime::from_seconds(seconds),
            relay_state: Some("https://x".to_owned()),
            broker: BrokerName::parse("a-1").ok(),
            role_arn: Some("arn:aws:iam::{account}:role/{role}".to_owned()),
            session_policy,
            session_policy_arns: vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned()],
            session_tags,
            minio_policies: vec!["readonly".to_owned(), "null".to_owned()],
            ..PermissionSet::named(RoleName::parse("x").unwrap())
        },
    );
    let names = |pattern: &'static str| btree_set(pattern, 1..4);
    let lists =
        (btree_map("[!-~ß]{1,12}", person, 1..4), names("[!-~]{1,9}( [a-z]{1,4})?"), names("[0-9]{12}"));
    let described = btree_map("[!#-\\[\\]-~]{1,9}", text(0..20), 0..3);
    let more = (described, btree_map("[A-Za-z0-9._~:/-]{2,9}", application(), 0..3), any::<bool>());
    let sets = btree_map("[A-Za-z0-9_+=,.@-]{1,9}", set, 1..3);
    (lists, sets, more).prop_map(|((people, groups, accounts), sets, (scopes, mut applications, all))| {
        // One ARN is one application's.
        applications.values_mut().skip(1).for_each(|application| application.arn = None);
        let applications = applications.into_iter().map(|(id, mut application)| {
            application.client_id = ApplicationId::parse(id).unwrap();
            if let Some(policy) = &mut application.token_exchange {
                policy.subjects_of = vec![application.client_id.clone()];
            }
            application
        });
        let mut applications: Vec<Application> = applications.collect();
        let people: BTreeMap<PersonId, Person> =
            people.into_iter().map(|(name, person)| (PersonId::parse(name).unwrap(), person)).collect();
        let groups: Vec<GroupName> = groups.into_iter().map(|name| GroupName::parse(name).unwrap()).collect();
        let accounts: Vec<AccountId> = accounts.into_iter().map(|id| AccountId::parse(id).unwrap()).collect();
        let sets: BTreeMap<RoleName, PermissionSet> =
            sets.into_iter().map(|(name, set)| (RoleName::parse(name).unwrap(), set)).collect();
        let names: Vec<PersonId> = people.keys().cloned().collect();
        for application in applications.iter_mut().filter(|_| !all) {
            application.everybody = false;
            (application.people, application.groups) = (names.clone(), groups.clone());
        }
        let null = ScopeDescription { name: "null".to_owned(), description: "null".to_owned() };
        let scope = |(name, text): (String, String)| ScopeDescription { name, description: text + "x" };
        DirectoryFile {
            assignments: vec![Assignment {
                people: names.clone(),
                groups: groups.clone(),
                accounts: accounts.clone(),
                permission_sets: sets.keys().cloned().collect(),
            }],
            people: people.into_iter().map(|(user_name, person)| Person { user_name, ..person }).collect(),
            groups: groups.into_iter().map(|name| Group { name, members: names.clone() }).collect(),
            accounts: accounts
                .into_iter()
                .map(|id| Account {
                    id,
                    name: "0o17".to_owned(),
                    email: Some("no@example".to_owned()),
                    broker: None,
                    role_arn: None,
                })
                .collect(),
            permission_sets: sets.into_iter().map(|(name, set)| PermissionSet { name, ..set }).collect(),
            scopes: scopes.into_iter().filter(|(name, _)| name != "null").map(scope).chain([null]).collect(),
            applications,
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(directory in directories()) {
        for (format, name) in [(Format::Toml, "d.toml"), (Format::Yaml, "d.yaml")] {
            let text = format.write(&directory.canonical()).unwrap();
            let read = parse(name, &text).map_err(|why| TestCaseError::fail(format!("{why}\n{text}")))?;
            prop_assert!(Plan::new(&directory, &read).is_empty(), "{}", text);
            prop_assert_eq!(&read, &directory.canonical(), "{}", text);
        }
    }
}
