//! The form of what clients send, checked field by field. The rules also make the limits in
//! `openapi.json`: a request that fits those is taken, and another one is not. Only two bounds are not
//! told there, for no pattern can: what an id and a display name grow to in their normal forms.

use serde_json::{Value, json};

use crate::{
    Problem,
    names::{display_key, hidden_class, id_form, is_visible},
};

/// A message's key, which an id is, has at most so many bytes.
const KEY: usize = 255;
/// The characters of an ASCII label of a domain (RFC 1035): letters of other scripts come as `xn--`.
const LABEL: &str = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";

/// The form of one field.
#[derive(Debug)]
pub struct Rule {
    /// As errors call it.
    name: &'static str,
    /// In words.
    says: &'static str,
    /// The least and most characters.
    length: (usize, usize),
    /// Beside the length.
    good: fn(&str) -> bool,
    /// `good` as a regular expression.
    pattern: Option<fn() -> String>,
}

impl Rule {
    /// A user's id. It is a part of paths, so it is none that clients resolve (`.`, `..`).
    pub const USER_ID: Self = Self {
        name: "user_id",
        says: "1 to 63 visible characters (at most 255 bytes), no spaces and slashes, not only dots",
        length: (1, 63),
        good: |id| {
            id.chars().all(|character| is_visible(character) && character != '/')
                && id.chars().any(|character| character != '.')
                && id_form(id).len() <= KEY
        },
        pattern: Some(|| {
            let hidden = hidden_class(None);
            format!("^[.]*[^{hidden}/.][^{hidden}/]*$")
        }),
    };

    /// A name. Nobody is known by it: any text that shows something.
    pub const NAME: Self = Self {
        name: "user.name",
        says: "1 to 200 characters without control characters, of which one can be seen",
        length: (1, 200),
        good: |name| !name.chars().any(char::is_control) && name.chars().any(is_visible),
        pattern: Some(|| {
            let plain = r"[^\u0000-\u001f\u007f-\u009f]";
            format!("^{plain}*[^{}]{plain}*$", hidden_class(None))
        }),
    };

    /// A display name, by which others know a user.
    pub const DISPLAY_NAME: Self = Self {
        name: "user.display_name",
        says: "1 to 64 visible characters and spaces (U+0020), no spaces around it",
        length: (1, 64),
        good: |name| {
            name.chars().all(|character| is_visible(character) || character == ' ')
                && !name.starts_with(' ')
                && !name.ends_with(' ')
                && (1..=KEY).contains(&display_key(name).chars().count())
        },
        pattern: Some(|| {
            let (all, inside) = (hidden_class(None), hidden_class(Some(' ')));
            format!("^[^{all}]([^{inside}]*[^{all}])?$")
        }),
    };

    /// An e-mail address.
    pub const EMAIL: Self = Self {
        name: "user.email",
        says: "an address such as name@example.org, at most 64 visible characters before the @ and 254 \
               in all; a domain in other letters in its xn-- form",
        length: (3, 254),
        good: |email| {
            email.split_once('@').is_some_and(|(local, domain)| {
                (1..=64).contains(&local.chars().count())
                    && local.chars().all(is_visible)
                    && domain.split('.').all(is_label)
            })
        },
        pattern: Some(|| format!("^[^{}@]{{1,64}}@{LABEL}([.]{LABEL})*$", hidden_class(None))),
    };

    /// A password; it is hashed as it is sent.
    pub const PASSWORD: Self = Self {
        name: "user.password",
        says: "8 to 1,024 characters",
        length: (8, 1024),
        good: |_| true,
        pattern: None,
    };

    /// The id that somebody logs in as: those of earlier days had other rules.
    pub const LOGIN_ID: Self =
        Self { name: "user_id", says: "1 to 255 characters", length: (1, 255), ..Self::PASSWORD };

    /// The password that somebody logs in with.
    pub const LOGIN_PASSWORD: Self = Self {
        name: "password",
        says: "1 to 1,024 characters",
        length: (1, 1024),
        ..Self::PASSWORD
    };

    /// The header that names a request.
    pub const IDEMPOTENCY_KEY: Self = Self {
        name: "idempotency-key",
        says: "1 to 200 visible ASCII characters",
        length: (1, 200),
        good: |key| key.chars().all(|character| character.is_ascii_graphic()),
        pattern: Some(|| "^[!-~]*$".to_owned()),
    };

    /// Whether `value` is of this form.
    pub fn holds(&self, value: &str) -> bool {
        let (least, most) = self.length;
        (least..=most).contains(&value.chars().count()) && (self.good)(value)
    }

    /// The limits as keywords of a JSON schema.
    pub(crate) fn keywords(&self) -> Value {
        let (least, most) = self.length;
        let mut keywords = json!({ "minLength": least, "maxLength": most });
        if let Some(pattern) = self.pattern {
            keywords["pattern"] = pattern().into();
        }
        keywords
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Collects what is wrong with the fields of one request.
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Looks at one field.
    pub fn field(&mut self, rule: &Rule, value: &str) -> &mut Self {
        if !rule.holds(value) {
            self.0.push((rule.name.to_owned(), rule.says.to_owned()));
        }
        self
    }

    /// Looks at a field that may be left out.
    pub fn maybe(&mut self, rule: &Rule, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.field(rule, value),
            None => self,
        }
    }

    /// All of it, or what is wrong.
    ///
    /// # Errors
    /// A [`Problem`] that names every wrong field.
    pub fn check(&mut self) -> Result<(), Problem> {
        match std::mem::take(&mut self.0) {
            errors if errors.is_empty() => Ok(()),
            errors => Err(Problem::fields(errors)),
        }
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::names::hidden_edges;

    const RULES: [&Rule; 8] = [
        &Rule::USER_ID,
        &Rule::NAME,
        &Rule::DISPLAY_NAME,
        &Rule::EMAIL,
        &Rule::PASSWORD,
        &Rule::LOGIN_ID,
        &Rule::LOGIN_PASSWORD,
        &Rule::IDEMPOTENCY_KEY,
    ];

    /// A rule as those see it who read the API's description.
    struct Described {
        pattern: Option<Regex>,
        length: (u64, u64),
    }

    impl Described {
        fn of(rule: &Rule) -> Self {
            let keywords = rule.keywords();
            let number = |name: &str| keywords[name].as_u64().expect("a length");
            let pattern = keywords["pattern"].as_str();
            let pattern = pattern.map(|pattern| Regex::new(pattern).expect("a regular expression"));
            Self { pattern, length: (number("minLength"), number("maxLength")) }
        }

        fn holds(&self, value: &str) -> bool {
            let (least, most) = self.length;
            (least..=most).contains(&(value.chars().count() as u64))
                && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(value))
        }
    }

    #[test]
    fn the_described_limits_are_those_that_are_enforced() {
        let long = |n: usize| "x".repeat(n);
        let mut values = vec![
            String::new(),
            long(1),
            long(7),
            long(8),
            long(63),
            long(64),
            long(65),
            long(200),
            long(201),
            long(255),
            long(256),
            long(1024),
            long(1025),
            format!("{}@example.org", long(64)),
            format!("{}@example.org", long(65)),
            format!("a@{}.org", long(63)),
            format!("a@{}.org", long(64)),
            format!("a@{0}.{0}.{0}.{1}", long(63), long(61)),
            format!("a@{0}.{0}.{0}.{1}", long(62), long(63)),
            "\u{1f511}".repeat(63),
            "é".repeat(8),
        ];
        let some = [
            ".",
            "..",
            "...",
            ".a",
            "a.",
            "..a..",
            "a/b",
            "/",
            " ",
            "  ",
            " a",
            "a ",
            "a b",
            "a  b",
            "a\u{200b}b",
            "\u{200b}",
            "\u{200d}\u{200d}",
            "a\u{0}b",
            "a\nb",
            "a\n",
            "\u{feff}a",
            "\u{a0}",
            "a\u{a0}b",
            "a\u{3000}b",
            "a\u{301}",
            "\u{2800}",
            "陳 大",
            "😀",
            "a@b",
            "a@b.c",
            "a@b..c",
            "a@.b",
            "a@b.",
            "a@-b",
            "a@b-",
            "a@b-c",
            "a@b_c",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a\u{200b}@b.c",
            "a@b\u{200b}.c",
            "a@b\u{fc}cher.example",
            "a@xn--bcher-kva.example",
            "\u{7528}@b.c",
            "a@b.c\n",
            "!~",
            "key-1",
            "a,b",
        ];
        values.extend(some.map(str::to_owned));
        for rule in RULES {
            let described = Described::of(rule);
            for value in &values {
                assert_eq!(rule.holds(value), described.holds(value), "{} {value:?}", rule.name);
            }
        }
    }

    #[test]
    fn characters_are_described_as_they_are_taken() {
        for rule in [&Rule::USER_ID, &Rule::NAME, &Rule::DISPLAY_NAME] {
            let described = Described::of(rule);
            let edges = hidden_edges().into_iter().chain((0..=0x10_FFFF).step_by(97));
            for character in edges.filter_map(char::from_u32) {
                // With another one beside it, as single ones have rules of their own.
                let value = format!("x{character}x");
                assert_eq!(rule.holds(&value), described.holds(&value), "{} {value:?}", rule.name);
            }
        }
    }

    /// A bound that the description cannot tell is enforced here, so that no write fails of it later.
    #[test]
    fn what_grows_too_long_in_its_normal_form_is_refused() {
        assert!(!Rule::USER_ID.holds(&"\u{1d160}".repeat(63)));
        assert!(!Rule::DISPLAY_NAME.holds(&"\u{fdfa}".repeat(64)));
    }
}
