//! Security schemes as OpenAPI and A2A 0.3 write them, and as A2A 1.0 does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Schemes and the scopes each needs; any one of a list is enough.
pub(super) type Requirement = BTreeMap<String, Vec<String>>;

/// A security scheme of OpenAPI 3.x, Swagger 2.0 or A2A 0.3.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Scheme {
    #[serde(rename = "type", default)]
    kind: String,
    description: Option<String>,
    name: Option<String>,
    #[serde(rename = "in")]
    place: Option<String>,
    scheme: Option<String>,
    bearer_format: Option<String>,
    open_id_connect_url: Option<String>,
    oauth2_metadata_url: Option<String>,
    #[serde(default)]
    flows: BTreeMap<String, Flow>,
    /// Swagger 2.0 has one flow, and its fields stand here.
    flow: Option<String>,
    authorization_url: Option<String>,
    token_url: Option<String>,
    scopes: Option<BTreeMap<String, String>>,
}

/// A flow of OAuth 2.0.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Flow {
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_authorization_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_url: Option<String>,
    scopes: BTreeMap<String, String>,
}

/// A2A 1.0 has room for one flow: the first of these that there is.
const FLOWS: [&str; 5] = ["authorizationCode", "clientCredentials", "deviceCode", "implicit", "password"];

/// The schemes as A2A 1.0 writes them. What it cannot say is left out, and said in `notes`.
pub(super) fn schemes(given: BTreeMap<String, Scheme>, notes: &mut Vec<String>) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, scheme) in given {
        match scheme.into_a2a(&name, notes) {
            Some(scheme) => {
                out.insert(name, scheme);
            }
            None => notes.push(format!("left out: security scheme {name:?}, which A2A 1.0 cannot say")),
        }
    }
    out
}

/// Requirements as A2A 1.0 writes them.
pub(super) fn requirements(given: &[Requirement]) -> Value {
    let one = |requirement: &Requirement| {
        let schemes: Map<String, Value> =
            requirement.iter().map(|(name, scopes)| (name.clone(), json!({ "list": scopes }))).collect();
        json!({ "schemes": schemes })
    };
    given.iter().map(one).collect()
}

impl Scheme {
    fn into_a2a(mut self, name: &str, notes: &mut Vec<String>) -> Option<Value> {
        let (key, fields) = match self.kind.as_str() {
            "apiKey" => ("apiKeySecurityScheme", json!({ "location": self.place?, "name": self.name? })),
            "basic" => ("httpAuthSecurityScheme", json!({ "scheme": "Basic" })),
            "http" => (
                "httpAuthSecurityScheme",
                json!({ "scheme": self.scheme?, "bearerFormat": self.bearer_format }),
            ),
            "oauth2" => {
                let flows = self.flow(name, notes)?;
                let fields = json!({ "flows": flows, "oauth2MetadataUrl": self.oauth2_metadata_url });
                ("oauth2SecurityScheme", fields)
            }
            "openIdConnect" => {
                ("openIdConnectSecurityScheme", json!({ "openIdConnectUrl": self.open_id_connect_url? }))
            }
            "mutualTLS" => ("mtlsSecurityScheme", json!({})),
            _ => return None,
        };
        let Value::Object(mut fields) = fields else { return None };
        fields.retain(|_, value| !value.is_null());
        fields.extend(self.description.map(|text| ("description".to_owned(), text.into())));
        Some(json!({ key: fields }))
    }

    fn flow(&mut self, name: &str, notes: &mut Vec<String>) -> Option<Value> {
        if let Some(flow) = &self.flow {
            let key = match flow.as_str() {
                "application" => "clientCredentials",
                "accessCode" => "authorizationCode",
                other => other,
            };
            let flow = Flow {
                authorization_url: self.authorization_url.take(),
                token_url: self.token_url.take(),
                scopes: self.scopes.take().unwrap_or_default(),
                ..Flow::default()
            };
            self.flows = BTreeMap::from([(key.to_owned(), flow)]);
        }
        let key = FLOWS.into_iter().find(|key| self.flows.contains_key(*key))?;
        if self.flows.len() > 1 {
            notes.push(format!("security scheme {name:?}: kept the flow {key}, A2A 1.0 has room for one"));
        }
        Some(json!({ key: self.flows.get(key)? }))
    }
}
