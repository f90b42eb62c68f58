//! `openapi.json`: what each operation answers whatever it does, and the limits of its fields, said once
//! for both services and taken from what is enforced.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::Rule;

/// The limits of a property of a schema: the schema, the property, its rule.
pub type Limit = (&'static str, &'static str, &'static Rule);

/// The name of the way in which changes are authorized.
const SCHEME: &str = "password";

/// The description, completed.
pub fn described(api: utoipa::openapi::OpenApi, limits: &[Limit]) -> Value {
    let mut api = json!(api);
    for (schema, property, rule) in limits {
        merge(&mut api["components"]["schemas"][schema]["properties"][property], rule.keywords());
    }
    api["components"]["schemas"]["Problem"] = problem();
    let mut secured = false;
    for (path, operations) in members(&mut api["paths"]) {
        for (_, operation) in members(operations) {
            secured |= operation["security"].is_array();
            complete(path, operation);
        }
    }
    if secured {
        api["components"]["securitySchemes"][SCHEME] = json!({
            "type": "http",
            "scheme": "basic",
            "description": "the user_id and the current password, in UTF-8",
        });
    }
    api
}

fn complete(path: &str, operation: &mut Value) {
    let mut statuses = vec![408, 413, 503];
    // An index that is written to would make a member of what is not there.
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        statuses.push(400);
        if parameter["name"] == "idempotency-key" {
            parameter["schema"] = json!({ "type": "string" });
            merge(&mut parameter["schema"], Rule::IDEMPOTENCY_KEY.keywords());
        }
    }
    if path.contains('{') {
        statuses.extend([400, 404]);
    }
    if operation.get("requestBody").is_some() {
        statuses.extend([400, 415, 422]);
    }
    let secured = operation.get("security").is_some();
    if secured {
        statuses.extend([400, 401, 403, 429]);
    }
    let responses = &mut operation["responses"];
    for status in statuses {
        if responses.get(status.to_string()).is_none() {
            responses[status.to_string()] = json!({ "description": reason(status) });
        }
    }
    for (status, response) in members(responses) {
        let Ok(status) = status.parse::<u16>() else { continue };
        if status < 400 {
            continue;
        }
        response["content"] = json!({
            "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
        });
        if response["description"].as_str().unwrap_or_default().is_empty() {
            response["description"] = reason(status).into();
        }
        let text = json!({ "schema": { "type": "string" }, "required": true });
        match status {
            401 if secured => response["headers"] = json!({ "www-authenticate": text }),
            429 | 503 => {
                let seconds = json!({ "schema": { "type": "integer", "minimum": 1 } });
                response["headers"] = json!({ "retry-after": seconds });
            }
            _ => {}
        }
    }
}

/// The body of every answer that is no success.
fn problem() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "description": "a problem (RFC 9457): what went wrong, and what to do about it",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": text,
            "title": text,
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": text,
            "errors": {
                "type": "array",
                "description": "which fields are wrong",
                "items": {
                    "type": "object",
                    "required": ["field", "problem"],
                    "properties": { "field": text, "problem": text },
                },
            },
        },
    })
}

fn reason(status: u16) -> &'static str {
    let status = StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("a problem")
}

fn members(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flatten()
}

fn merge(schema: &mut Value, keywords: Value) {
    if schema.is_null() {
        *schema = Map::new().into();
    }
    if let (Value::Object(schema), Value::Object(keywords)) = (schema, keywords) {
        schema.extend(keywords);
    }
}
