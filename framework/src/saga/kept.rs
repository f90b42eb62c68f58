//! The form in which inputs and results of steps are kept: JSON that is read again as what it was.
//! What would come back as something else is refused where it comes in.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::message::check_finite;

/// The deepest nesting of an input and of what a step returns. A message may have 64 levels: four
/// are left for a command made of an input, and for a reply around a result.
pub const MAX_DEPTH: usize = 60;

/// Why a value is not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unkept {
    #[error(
        "it is nested deeper than {MAX_DEPTH} levels: keep it as a text, or keep a reference to it"
    )]
    TooDeep,
    #[error(
        "the integer {0} needs more than 64 bits and would come back as another number: use a text"
    )]
    TooLong(String),
    #[error("an object in it has the same name twice, of which one would be kept")]
    Twice,
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The value as it is kept.
///
/// # Errors
/// [`Unkept`] when it would be read again as another one.
pub(crate) fn keep<T: Serialize + ?Sized>(value: &T) -> Result<Value, Unkept> {
    check_finite(value)?;
    read(&serde_json::to_string(value)?, 0)
}

/// The value that a JSON text is, with so many levels `around` what is kept.
///
/// # Errors
/// As for [`keep`].
pub(crate) fn read(text: &str, around: usize) -> Result<Value, Unkept> {
    let named = scan(text, MAX_DEPTH + around)?;
    let value: Value = serde_json::from_str(text)?;
    match names(&value) == named {
        true => Ok(sorted(value)),
        false => Err(Unkept::Twice),
    }
}

/// Looks at the nesting and the integers of a JSON text; how many names it has in its objects.
fn scan(text: &str, deepest: usize) -> Result<usize, Unkept> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut named) = (0, 0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        let mut next = at + 1;
        match byte {
            b'"' => {
                while bytes.get(next).is_some_and(|byte| *byte != b'"') {
                    next += if bytes[next] == b'\\' { 2 } else { 1 };
                }
                next += 1;
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > deepest {
                    return Err(Unkept::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b':' => named += 1,
            b'-' | b'0'..=b'9' => {
                let part =
                    |byte: &&u8| matches!(**byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                next = at + bytes[at..].iter().take_while(part).count();
                let number = text.get(at..next).unwrap_or_default();
                let whole = !number.contains(['.', 'e', 'E']);
                if whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    return Err(Unkept::TooLong(number.chars().take(80).collect()));
                }
            }
            _ => {}
        }
        at = next;
    }
    Ok(named)
}

fn names(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(names).sum(),
        Value::Object(values) => values.len() + values.values().map(names).sum::<usize>(),
        _ => 0,
    }
}

/// The same with the names of objects in order: another crate may have serde_json keep theirs, and
/// two texts of one value must be the same.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        Value::Object(values) => {
            let ordered: BTreeMap<_, _> = values.into_iter().collect();
            Value::Object(ordered.into_iter().map(|(name, value)| (name, sorted(value))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_as_it_was() {
        for text in
            ["-0.0", "18446744073709551615", "-9223372036854775808", r#"{"a":":[1e5","b":"\\"}"#]
        {
            assert_eq!(read(text, 0).expect(text).to_string(), text);
        }
        let kept = read(r#"{"b":1,"a":[{"d":2,"c":3}]}"#, 0).expect("kept").to_string();
        assert_eq!(kept, r#"{"a":[{"c":3,"d":2}],"b":1}"#);
    }

    #[test]
    fn what_would_be_read_as_another_is_refused() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&deep(MAX_DEPTH), 0).is_ok() && read(&deep(MAX_DEPTH + 2), 2).is_ok());
        assert!(matches!(read(&deep(MAX_DEPTH + 1), 0), Err(Unkept::TooDeep)));
        for long in ["18446744073709551616", "-9223372036854775809", "[1,99999999999999999999]"] {
            assert!(matches!(read(long, 0), Err(Unkept::TooLong(_))), "{long}");
        }
        assert!(matches!(read(r#"[{"a":1,"\u0061":1}]"#, 0), Err(Unkept::Twice)));
        for number in [f64::NAN, f64::INFINITY] {
            assert!(keep(&vec![Some(number)]).is_err());
            assert!(keep(&BTreeMap::from([("a", (1, number))])).is_err());
        }
    }
}
