use std::collections::BTreeMap;

use foa_capability::card::{CARD_TTL, EXTENSION, MAX_CARD_BYTES};
use foa_capability::skills::MAX_SKILLS;
use foa_capability::{AgentCard, AgentProfile, Embedding, Offer, Vector};
use foa_wire::{AgentId, Boot, NodeId, NodeKey, Time, Version, jws};
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

const OPENAPI: &str = r##"
openapi: 3.1.0
info:
  title: Pet Store
  description: Pets, and who owns them
  version: 1.2
  contact: { name: Pets Ltd, url: "https://pets.example" }
externalDocs: { url: "https://pets.example/docs" }
security: [{ key: [] }]
components:
  securitySchemes:
    key: { type: apiKey, in: header, name: X-Key }
    login:
      type: oauth2
      flows:
        implicit: { authorizationUrl: "https://pets.example/auth", scopes: {} }
        authorizationCode:
          authorizationUrl: https://pets.example/auth
          tokenUrl: https://pets.example/token
          scopes: { pets: all pets }
    odd: { type: palmistry }
  pathItems:
    shared: { get: { operationId: getOwner, summary: Show an owner } }
  schemas: { Pet: { $ref: "#/components/schemas/Pet" } }
paths:
  x-internal: nothing to read here
  /pets:
    parameters: [{ name: limit, in: query }]
    get: { operationId: listPets, summary: List pets, description: All pets of the store, tags: [pets] }
    post: { description: Adds a pet, security: [{ login: [pets] }], responses: { 201: { description: made } } }
  /owners/{id}: { $ref: "#/components/pathItems/shared" }
  /elsewhere: { $ref: "https://other.example/openapi.yaml#/paths/~1x" }
  /a: { $ref: "#/paths/~1b" }
  /b: { $ref: "#/paths/~1a" }
"##;

fn imported(value: &Value) -> Imported {
    read(value.to_string().as_bytes(), None).unwrap()
}

fn shown(imported: &Imported) -> String {
    let card = serde_json::to_string_pretty(&imported.card).unwrap();
    format!("{}\n{}\n{card}", imported.found, imported.notes.join("\n"))
}

fn node(seed: u8) -> (NodeId, NodeKey) {
    let key = NodeKey::from_seed([seed; 32]);
    (NodeId::new("atlas".parse().unwrap(), &key.public()), key)
}

fn card() -> Value {
    json!({
        "name": "Recipe Agent",
        "description": "Finds recipes",
        "version": "1.4",
        "provider": { "organization": "Kitchen", "url": "https://kitchen.example" },
        "supportedInterfaces": [
            { "url": "https://kitchen.example/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0" },
        ],
        "capabilities": { "streaming": true, "extensions": [{ "uri": "urn:kitchen", "params": { "stars": 3 } }] },
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain", "image/png"],
        "skills": [{ "id": "find", "name": "Find recipes", "description": "By what is in the fridge", "tags": ["food"] }],
    })
}

#[test]
fn a_card_of_1_0_stays_as_it_came_with_its_signature() {
    let (id, key) = node(7);
    let mut signed = card();
    signed["signatures"] = json!([jws::sign_detached(&signed, &id, &key)]);
    let read = imported(&signed);
    assert_eq!(read.card, signed);
    assert_eq!(read.notes, [format!("signed by {id}, and the signature holds")]);

    let renamed = read.named(&"chef".parse().unwrap());
    assert_eq!((renamed.card["name"].as_str(), renamed.card.get("signatures")), (Some("chef"), None));
    assert!(renamed.notes[1].contains("the signatures"), "{:?}", renamed.notes);

    let mut forged = signed;
    forged["description"] = "Finds everything".into();
    assert!(matches!(super::read(forged.to_string().as_bytes(), None), Err(Error::Forged { .. })));
}

#[test]
fn a_signature_of_another_kind_is_kept_and_said_to_be_unchecked() {
    let mut signed = card();
    // {"alg":"ES256","kid":"k"}
    signed["signatures"] =
        json!([{ "protected": "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ", "signature": "AAAA" }]);
    let read = imported(&signed);
    assert_eq!(read.card, signed);
    assert!(read.notes[0].starts_with("a signature was not checked"), "{:?}", read.notes);
}

#[test]
fn a_card_of_0_3_is_brought_into_the_shape_of_1_0() {
    let old = json!({
        "protocolVersion": "0.3.0",
        "name": "Old Agent",
        "description": "Still here",
        "url": "https://old.example/rpc",
        "preferredTransport": "JSONRPC",
        "additionalInterfaces": [
            { "url": "https://old.example/rpc", "transport": "JSONRPC" },
            { "url": "https://old.example/grpc", "transport": "GRPC" },
        ],
        "capabilities": { "streaming": true, "stateTransitionHistory": true },
        "supportsAuthenticatedExtendedCard": true,
        "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        "security": [{ "bearer": ["read"] }],
        "defaultInputModes": ["text"],
        "defaultOutputModes": ["text"],
        "skills": [{ "id": "a", "name": "A", "description": "does a", "security": [{ "bearer": [] }] }],
        "signatures": [],
    });
    let read = imported(&old);
    insta::assert_snapshot!(shown(&read));
    assert_eq!(imported(&read.card).card, read.card);
    // A card for readers of both versions is a 1.0 card, and keeps what the others need.
    let mut both = card();
    both["url"] = "https://kitchen.example/a2a".into();
    assert_eq!(imported(&both).card, both);
}

#[test]
fn an_mcp_server_becomes_a_card() {
    let server = json!({
        "protocolVersion": "2025-06-18",
        "serverInfo": {
            "name": "files", "title": "Files", "version": "2.0.1", "websiteUrl": "https://files.example",
            "icons": [{ "src": "data:image/png;base64,AA" }, { "src": "https://files.example/icon.png" }],
        },
        "instructions": "Reads and writes files in one folder",
        "tools": [
            { "name": "read_file", "title": "Read a file", "description": "Reads the whole of a file as text, whatever its ending is.",
              "inputSchema": { "type": "object", "properties": { "path": { "type": "string" } } },
              "annotations": { "readOnlyHint": true } },
            { "name": "write_file", "description": "Writes a file",
              "inputSchema": { "type": "object", "properties": { "path": {}, "content": {} } },
              "annotations": { "destructiveHint": true } },
            { "name": "ping", "inputSchema": { "type": "object", "properties": true } },
        ],
    });
    insta::assert_snapshot!(shown(&imported(&server)));
    let reading = json!({ "tools": [{ "name": "look", "description": "looks", "annotations": { "readOnlyHint": true } }] });
    let read = imported(&reading);
    assert_eq!(Stated::of(&read.card).unwrap().effects, Some(foa_capability::Effects::Read));
    assert_eq!(read.card["description"], "MCP server with the tools look");
}

#[test]
fn an_openapi_document_becomes_a_card_whether_json_or_yaml() {
    let yaml = read(OPENAPI.as_bytes(), None).unwrap();
    insta::assert_snapshot!(shown(&yaml));
    let mut value: Value = serde_saphyr::from_str(OPENAPI).unwrap();
    value["info"]["version"] = 1.2.into();
    // JSON objects here are sorted by their keys, and paths in the order of the document.
    let sorted = |skills: &Value| {
        let all = skills.as_array().unwrap().iter();
        all.map(|skill| (skill["id"].to_string(), skill.clone())).collect::<BTreeMap<_, _>>()
    };
    let json = read(value.to_string().as_bytes(), None).unwrap();
    assert_eq!((sorted(&json.card["skills"]), json.found), (sorted(&yaml.card["skills"]), yaml.found));
    assert_eq!(json.card["securitySchemes"], yaml.card["securitySchemes"]);
}

#[test]
fn swagger_2_is_read_too() {
    let document = json!({
        "swagger": "2.0",
        "info": { "title": "Old", "version": "1" },
        "securityDefinitions": {
            "basic": { "type": "basic" },
            "login": { "type": "oauth2", "flow": "accessCode", "authorizationUrl": "https://o.example/a", "tokenUrl": "https://o.example/t", "scopes": { "r": "read" } },
        },
        "paths": { "/things": { "get": { "operationId": "things" } } },
    });
    let read = imported(&document);
    assert_eq!(read.found, "an OpenAPI 2.0 document of 1 operation");
    assert_eq!(
        read.card["securitySchemes"],
        json!({
            "basic": { "httpAuthSecurityScheme": { "scheme": "Basic" } },
            "login": { "oauth2SecurityScheme": { "flows": { "authorizationCode": {
                "authorizationUrl": "https://o.example/a", "tokenUrl": "https://o.example/t", "scopes": { "r": "read" } } } } },
        })
    );
    assert_eq!(Stated::of(&read.card).unwrap().effects, Some(foa_capability::Effects::Read));
}

#[test]
fn what_is_no_card_is_refused_with_what_was_wanted_and_found() {
    let bomb = {
        let lists = (1..30).map(|n| format!("a{n}: &a{n} [*a{}, *a{}, *a{}]\n", n - 1, n - 1, n - 1));
        format!("a0: &a0 [1, 2, 3]\n{}openapi: *a29\n", lists.collect::<String>())
    };
    let mut deep = card();
    for _ in 0..60 {
        deep["provider"] = json!({ "deeper": deep["provider"] });
    }
    let mut bad_skill = card();
    bad_skill["skills"] = json!([{ "id": "a", "name": 1 }]);
    let mut bad_policy = card();
    bad_policy["capabilities"]["extensions"] =
        json!([{ "uri": EXTENSION, "params": { "policies": ["EU only"] } }]);
    let mut huge = card();
    huge["provider"]["organization"] = "x".repeat(230 * 1024).into();
    let nested = format!("openapi: {}", "[".repeat(5000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", b" \n".to_vec()),
        ("HTML", b"<!doctype html><title>404</title>".to_vec()),
        ("bytes", vec![0x89, b'P', b'N', b'G', 0xff]),
        ("a list", b"[1, 2]".to_vec()),
        ("half", b"{\"name\": \"a\"".to_vec()),
        ("other keys", b"{\"kind\": \"Pod\"}".to_vec()),
        ("a text", b"hello".to_vec()),
        ("no description", json!({ "name": "a", "description": " " }).to_string().into_bytes()),
        ("a name twice", b"{\"name\":\"a\",\"name\":\"b\",\"description\":\"c\"}".to_vec()),
        ("too deep", deep.to_string().into_bytes()),
        ("a bad skill", bad_skill.to_string().into_bytes()),
        ("a bad policy", bad_policy.to_string().into_bytes()),
        ("a huge card", huge.to_string().into_bytes()),
        ("another version", json!({ "openapi": "4.0.0", "info": { "title": "a" } }).to_string().into_bytes()),
        (
            "paths of another shape",
            json!({ "openapi": "3.1.0", "info": { "title": "a" }, "paths": [] }).to_string().into_bytes(),
        ),
        ("tools of another shape", json!({ "tools": [{ "title": "a" }] }).to_string().into_bytes()),
        ("an alias bomb", bomb.into_bytes()),
        ("a deep document", nested.into_bytes()),
        ("a number of its own", b"{\"name\":\"a\",\"description\":\"b\",\"n\":9007199254740993}".to_vec()),
    ];
    let mut all = String::new();
    for (name, bytes) in cases {
        let error = read(&bytes, None).expect_err(name);
        let mut said = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            said = format!("{said}: {cause}");
        }
        assert!(said.len() < 500, "{name}: {said}");
        all.push_str(&format!("{name}: {said}\n"));
    }
    let long = vec![b' '; document::MAX_BYTES + 1];
    assert!(matches!(read(&long, None), Err(Error::TooLong { .. })));
    assert!(matches!(read(OPENAPI.as_bytes(), Some(Kind::Mcp)), Err(Error::Shape { wanted: Kind::Mcp, .. })));
    insta::assert_snapshot!(all);
}

#[test]
fn the_largest_document_still_fits_on_a_signed_card() {
    let operation = |n: usize| json!({ "get": { "operationId": format!("operation{n}"), "summary": "s".repeat(80), "description": "word ".repeat(400) } });
    let paths: Map<String, Value> = (0..400).map(|n| (format!("/{n:03}"), operation(n))).collect();
    let document =
        json!({ "openapi": "3.0.3", "info": { "title": "Large", "version": "1" }, "paths": paths });
    let read = imported(&document);
    let kept = read.card["skills"].as_array().unwrap().len();
    assert!((150..=MAX_SKILLS).contains(&kept), "{kept} skills: {:?}", read.notes);
    assert!(read.notes.iter().any(|note| note.contains("400: kept the first")), "{:?}", read.notes);
    assert!(read.notes.iter().any(|note| note.starts_with("cut to 250 characters")), "{:?}", read.notes);
    let issued = issue(&Stated::of(&read.card).unwrap());
    assert!(issued.size() <= MAX_CARD_BYTES && issued.size() > MAX_CARD_BYTES / 2, "{}", issued.size());
}

#[test]
fn space_between_the_parts_of_a_card_costs_nothing() {
    let mut wide = card();
    wide["provider"]["numbers"] = vec![1; 40_000].into();
    wide["provider"]["quoted"] = "a \\\" b\t  \\".into();
    let text = serde_json::to_string_pretty(&wide).unwrap();
    assert!(text.len() > foa_wire::codec::MAX_ENVELOPE);
    assert_eq!(read(text.as_bytes(), None).unwrap().card, wide);
    let broken = text.replacen("1,", "1 1,", 1);
    assert!(matches!(read(broken.as_bytes(), Some(Kind::A2a)), Err(Error::Card { .. })));
}

#[test]
fn skills_that_cannot_be_told_apart_are_left_out() {
    let mut twice = card();
    let skill = twice["skills"][0].clone();
    twice["skills"] = json!([skill, skill, { "id": " ", "name": "b", "description": "c", "tags": [] }]);
    twice["skills"][0]["examples"] = json!(["é".repeat(300), "b", "c", "d", "e", "f", "g"]);
    let read = imported(&twice);
    assert_eq!(read.card["skills"].as_array().unwrap().len(), 1);
    assert_eq!(read.card["skills"][0]["examples"].as_array().unwrap().len(), 5);
    assert_eq!(read.notes.len(), 3, "{:?}", read.notes);
    assert_eq!(imported(&read.card).card, read.card);
}

/// The card a node would sign for an agent that takes all it is from a card.
fn issue(stated: &Stated) -> AgentCard {
    let (id, key) = node(9);
    let profile = AgentProfile {
        name: AgentProfile::name_for(&stated.title).unwrap(),
        description: stated.description.clone(),
        skills: stated.skills.clone(),
        policies: stated.policies.clone().unwrap_or_default(),
        offer: stated.offer.clone().unwrap_or_else(|| Offer { concurrency: 1, ..Offer::default() }),
        spec: None,
        effects: stated.effects.unwrap_or_default(),
        kind: "scripted".to_owned(),
        base_model: None,
        base: stated.base.clone(),
    };
    let vectors = vec![Vector::new(vec![1.0; 384]).unwrap(); profile.texts().len()];
    let agent = AgentId::new(profile.name.clone(), id);
    let own = [Embedding { model: "all-MiniLM-L6-v2/384@8199be6f699a".parse().unwrap(), vectors }];
    let now = Time::from_millis(1_769_000_000_000);
    AgentCard::issue(&profile, &own, agent, Boot(1), Version(1), now, CARD_TTL, &key).unwrap()
}

/// A card without what its node states: order, signature, address in the federation, our extension.
fn known(card: &Value) -> Value {
    let mut card = card.clone();
    let members = card.as_object_mut().unwrap();
    members.remove("version");
    members.remove("signatures");
    if let Some(interfaces) = card["supportedInterfaces"].as_array_mut() {
        interfaces.retain(|interface| interface["protocolBinding"] != "MQTT");
    }
    let mut none_left = false;
    if let Some(extensions) = card["capabilities"].get_mut("extensions").and_then(Value::as_array_mut) {
        extensions.retain(|extension| extension["uri"] != EXTENSION);
        none_left = extensions.is_empty();
    }
    if none_left {
        card["capabilities"].as_object_mut().unwrap().remove("extensions");
    }
    card
}

/// A member that is there or not.
fn maybe(
    key: &'static str,
    value: impl Strategy<Value = Value> + 'static,
) -> BoxedStrategy<Option<(String, Value)>> {
    prop::option::of(value.prop_map(move |value| (key.to_owned(), value))).boxed()
}

fn text() -> BoxedStrategy<Value> {
    "[a-zA-Zäß .,{}\"\\\\/:0-9]{1,40}".prop_map(Value::from).boxed()
}

fn any_json() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<i32>().prop_map(|n| (f64::from(n) / 4.0).into()),
        text(),
    ];
    let tree = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z$é]{1,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    tree.boxed()
}

fn object(members: Vec<BoxedStrategy<Option<(String, Value)>>>) -> BoxedStrategy<Value> {
    members.prop_map(|members| Value::Object(members.into_iter().flatten().collect())).boxed()
}

fn modes() -> BoxedStrategy<Value> {
    prop::collection::vec("[a-z]{2,5}/[a-z+.]{2,8}", 1..3).prop_map(Value::from).boxed()
}

fn required() -> BoxedStrategy<Value> {
    prop::collection::vec(
        "[a-z]{1,5}".prop_map(|name| json!({ "schemes": { name: { "list": ["a"] } } })),
        1..3,
    )
    .prop_map(Value::from)
    .boxed()
}

fn any_skill() -> BoxedStrategy<Value> {
    let more = object(vec![
        maybe("examples", prop::collection::vec("[a-z ]{1,60}", 1..5).prop_map(Value::from)),
        maybe("inputModes", modes()),
        maybe("outputModes", modes()),
        maybe("securityRequirements", required()),
        maybe("x-foreign", any_json()),
    ]);
    let tags = prop::collection::vec("[a-z]{1,8}", 0..4);
    (text(), text(), tags, more)
        .prop_map(|(name, description, tags, mut skill)| {
            skill["name"] = name;
            skill["description"] = description;
            skill["tags"] = tags.into();
            skill
        })
        .boxed()
}

fn any_card() -> impl Strategy<Value = Value> {
    let extension = (0..100u32, any_json()).prop_map(
        |(n, params)| json!({ "uri": format!("urn:other:{n}"), "required": n % 2 == 0, "params": params }),
    );
    let ours = (any::<bool>(), prop::option::of(0..9_000_000u32)).prop_map(|(writes, price)| {
        let offer = price.map(|price| json!({ "price": price, "context_tokens": 8192, "concurrency": 3 }));
        let mut params =
            json!({ "effects": if writes { "write" } else { "read" }, "policies": ["eu-only", "gdpr"] });
        params.as_object_mut().unwrap().extend(offer.map(|offer| ("offer".to_owned(), offer)));
        json!({ "uri": EXTENSION, "params": params })
    });
    let extensions =
        (prop::collection::vec(extension, 0..4), prop::option::of(ours), any::<prop::sample::Index>())
            .prop_map(|(mut all, ours, place)| {
                let place = place.index(all.len() + 1);
                ours.into_iter().for_each(|ours| all.insert(place, ours));
                Value::from(all)
            });
    let capabilities = object(vec![
        maybe("streaming", any::<bool>().prop_map(Value::from)),
        maybe("pushNotifications", any::<bool>().prop_map(Value::from)),
        maybe("extendedAgentCard", any::<bool>().prop_map(Value::from)),
        maybe("extensions", extensions),
    ]);
    let interface = ("[a-z]{1,8}", prop_oneof![Just("JSONRPC"), Just("GRPC"), Just("HTTP+JSON")]).prop_map(
        |(host, binding)| json!({ "url": format!("https://{host}.example"), "protocolBinding": binding, "protocolVersion": "1.0" }),
    );
    let scheme = prop_oneof![
        Just(json!({ "apiKeySecurityScheme": { "location": "header", "name": "X-Key" } })),
        Just(json!({ "mtlsSecurityScheme": {} })),
        text().prop_map(
            |text| json!({ "httpAuthSecurityScheme": { "scheme": "Bearer", "description": text } })
        ),
    ];
    let rest = object(vec![
        maybe("provider", (text(), text()).prop_map(|(o, u)| json!({ "organization": o, "url": u }))),
        maybe("documentationUrl", text()),
        maybe("iconUrl", text()),
        maybe(
            "securitySchemes",
            prop::collection::btree_map("[a-z]{1,6}", scheme, 0..3)
                .prop_map(|schemes| Value::Object(schemes.into_iter().collect())),
        ),
        maybe("securityRequirements", required()),
        maybe("x-foreign", any_json()),
    ]);
    let skills = prop::collection::vec(any_skill(), 0..6).prop_map(|mut skills| {
        for (n, skill) in skills.iter_mut().enumerate() {
            skill["id"] = format!("skill-{n}").into();
        }
        Value::from(skills)
    });
    let head = ("[A-Za-z][A-Za-z0-9 _.-]{0,40}", "[a-zA-Z][a-z .]{0,80}", "[0-9]{1,2}\\.[0-9]{1,2}");
    let interfaces = prop::collection::vec(interface, 0..3).prop_map(Value::from);
    (rest, head, interfaces, capabilities, modes(), modes(), skills).prop_map(
        |(mut card, (name, description, version), interfaces, capabilities, input, output, skills)| {
            card["name"] = name.into();
            card["description"] = description.into();
            card["version"] = version.into();
            card["supportedInterfaces"] = interfaces;
            card["capabilities"] = capabilities;
            card["defaultInputModes"] = input;
            card["defaultOutputModes"] = output;
            card["skills"] = skills;
            card
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn import_export_import_is_the_identity_on_what_is_known(card in any_card()) {
        let first = imported(&card);
        prop_assert_eq!(&first.card, &card, "nothing had to change");
        let stated = Stated::of(&first.card).unwrap();
        let exported = issue(&stated).json();
        let second = imported(&exported);
        prop_assert_eq!(&second.card, &exported, "what we sign is a card for others");
        prop_assert!(second.notes[0].contains("the signature holds"), "{:?}", second.notes);
        prop_assert_eq!(known(&second.card), known(&card));
        let again = Stated::of(&second.card).unwrap();
        prop_assert_eq!((&again.title, &again.description, &again.skills), (&stated.title, &stated.description, &stated.skills));
        prop_assert_eq!(again.effects.unwrap_or_default(), stated.effects.unwrap_or_default());
        prop_assert_eq!(again.policies.unwrap_or_default(), stated.policies.unwrap_or_default());
        if let Some(offer) = stated.offer {
            prop_assert_eq!(again.offer, Some(offer));
        }
        // A second node that takes it states the same again.
        prop_assert_eq!(known(&issue(&Stated::of(&second.card).unwrap()).json()), known(&card));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, None);
    }

    #[test]
    fn a_document_with_any_part_changed_is_read_or_refused(at in any::<prop::sample::Index>(), with in any_json(), which in 0..4) {
        let mut document = match which {
            0 => card(),
            1 => json!({ "protocolVersion": "0.3.0", "name": "a", "description": "b", "url": "u", "capabilities": {}, "skills": [],
                "additionalInterfaces": [{ "url": "v", "transport": "GRPC" }], "security": [{ "b": [] }],
                "securitySchemes": { "b": { "type": "http", "scheme": "bearer" } } }),
            2 => json!({ "serverInfo": { "name": "a", "version": "1" }, "tools": [{ "name": "t", "annotations": { "readOnlyHint": true },
                "inputSchema": { "properties": { "a": {} } } }] }),
            _ => serde_saphyr::from_str(OPENAPI).unwrap(),
        };
        let mut places = Vec::new();
        pointers(&document, String::new(), &mut places);
        *document.pointer_mut(&places[at.index(places.len())]).unwrap() = with;
        let text = document.to_string();
        for kind in [None, Some(Kind::A2a), Some(Kind::Mcp), Some(Kind::Openapi)] {
            if let Ok(read) = read(text.as_bytes(), kind) {
                prop_assert!(Stated::of(&read.card).is_ok());
                prop_assert_eq!(&imported(&read.card).card, &read.card, "a card that was made is a card");
            }
        }
    }
}

/// Every place in a value, as JSON pointers.
fn pointers(value: &Value, here: String, all: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| pointers(item, format!("{here}/{n}"), all));
        }
        Value::Object(members) => members.iter().for_each(|(key, member)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            pointers(member, format!("{here}/{key}"), all);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    if !here.is_empty() {
        all.push(here);
    }
}
