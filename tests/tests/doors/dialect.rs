//! A database's way of writing values, and its statements that take a message in.

use std::collections::BTreeMap;

use serde_json::json;

use super::cases::Case;

/// A database's way of writing values.
pub(crate) struct Dialect {
    /// The name of the column `key`.
    pub(crate) key: &'static str,
    /// Bytes, from hexadecimal digits.
    pub(crate) bytes: fn(&str) -> String,
    /// A text, from the hexadecimal digits of its UTF-8.
    pub(crate) text: fn(&str) -> String,
    /// Whether a text may have a NUL in it.
    pub(crate) nul: bool,
    /// The call of `syncline_enqueue`, where there is one.
    pub(crate) call: Option<fn(&Dialect, &Case) -> String>,
}

pub(crate) const POSTGRES: Dialect = Dialect {
    key: "key",
    bytes: |hex| format!("'\\x{hex}'::bytea"),
    text: |hex| format!("convert_from('\\x{hex}', 'UTF8')"),
    nul: false,
    call: Some(|dialect, case| {
        let headers: BTreeMap<_, _> = case.headers.iter().cloned().collect();
        let [key, idempotency_key, deliver_at] =
            [&case.key, &case.idempotency_key, &case.deliver_at].map(|text| dialect.optional(text));
        format!(
            "SELECT syncline_enqueue({}, data => {}, key => {key}, headers => {}::jsonb, \
             content_type => {}, schema_version => {}, idempotency_key => {idempotency_key}, \
             deliver_at => {deliver_at}::timestamptz)",
            dialect.text(&case.topic),
            dialect.data(&case.data),
            dialect.text(&json!(headers).to_string()),
            dialect.text(&case.content_type),
            case.schema_version,
        )
    }),
};

pub(crate) const MARIADB: Dialect = Dialect {
    key: "`key`",
    bytes: |hex| format!("x'{hex}'"),
    text: |hex| format!("CONVERT(x'{hex}' USING utf8mb4)"),
    nul: true,
    call: Some(|dialect, case| {
        let headers: BTreeMap<_, _> = case.headers.iter().cloned().collect();
        let mut options = json!({
            "headers": headers,
            "content_type": case.content_type,
            "schema_version": case.schema_version,
        });
        for (name, text) in
            [("idempotency_key", &case.idempotency_key), ("deliver_at", &case.deliver_at)]
        {
            if let Some(text) = text {
                options[name] = json!(text);
            }
        }
        dialect.procedure(case, &options.to_string())
    }),
};

pub(crate) const SQLITE: Dialect = Dialect {
    key: "key",
    bytes: |hex| format!("x'{hex}'"),
    text: |hex| format!("CAST(x'{hex}' AS TEXT)"),
    nul: true,
    call: None,
};

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| DIGITS[digit as usize] as char);
    bytes.iter().flat_map(digits).collect()
}

impl Dialect {
    fn data(&self, bytes: &[u8]) -> String {
        (self.bytes)(&hex(bytes))
    }

    fn text(&self, text: &str) -> String {
        (self.text)(&hex(text.as_bytes()))
    }

    fn optional(&self, text: &Option<String>) -> String {
        text.as_ref().map_or_else(|| "NULL".to_owned(), |text| self.text(text))
    }

    /// Whether the database has the texts of the case at all.
    pub(crate) fn has(&self, case: &Case) -> bool {
        let texts = [Some(&case.topic), case.key.as_ref(), case.idempotency_key.as_ref()];
        self.nul || !texts.into_iter().flatten().any(|text| text.contains('\0'))
    }

    pub(crate) fn procedure(&self, case: &Case, options: &str) -> String {
        format!(
            "CALL syncline_enqueue({}, {}, {}, {}, @id)",
            self.text(&case.topic),
            self.optional(&case.key),
            self.data(&case.data),
            self.text(options),
        )
    }

    pub(crate) fn insert(&self, case: &Case) -> String {
        let headers: BTreeMap<_, _> = case.headers.iter().cloned().collect();
        format!(
            "INSERT INTO syncline_outbox (topic, {}, content_type, schema_version, headers, data) \
             VALUES ({}, {}, {}, {}, {}, {})",
            self.key,
            self.text(&case.topic),
            self.optional(&case.key),
            self.text(&case.content_type),
            case.schema_version,
            self.text(&json!(headers).to_string()),
            self.data(&case.data),
        )
    }
}
