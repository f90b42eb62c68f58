//! The form of what clients send, checked field by field.

use crate::Problem;

/// Collects what is wrong with the fields of one request.
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// A user's id: 1 to 64 visible characters, no slash. It is a message's key, too, which
    /// has at most 255 bytes.
    pub fn user_id(&mut self, id: &str) -> &mut Self {
        let good = (1..=64).contains(&id.chars().count())
            && id.len() <= 255
            && id.chars().all(|c| !c.is_control() && !c.is_whitespace() && c != '/');
        self.require(
            "user_id",
            good,
            "1 to 64 visible characters (at most 255 bytes) without spaces and slashes",
        )
    }

    /// A name: 1 to 200 characters, no control characters, not only white space.
    pub fn name(&mut self, name: &str) -> &mut Self {
        let good = (1..=200).contains(&name.chars().count())
            && !name.chars().any(char::is_control)
            && !name.trim().is_empty();
        self.require("user.name", good, "1 to 200 characters without control characters")
    }

    /// A display name: 1 to 64 characters without control characters and white space around it.
    pub fn display_name(&mut self, name: &str) -> &mut Self {
        let good = (1..=64).contains(&name.chars().count())
            && !name.chars().any(char::is_control)
            && name.trim() == name;
        let rule = "1 to 64 characters without control characters and spaces around it";
        self.require("user.display_name", good, rule)
    }

    /// An e-mail address: something, an @, a domain; at most 254 bytes.
    pub fn email(&mut self, email: &str) -> &mut Self {
        let plain = !email.chars().any(|c| c.is_control() || c.is_whitespace());
        let parts = email.rsplit_once('@');
        let good = plain
            && email.len() <= 254
            && parts.is_some_and(|(local, domain)| {
                (1..=64).contains(&local.len())
                    && !domain.is_empty()
                    && !domain.contains("..")
                    && !domain.starts_with('.')
                    && !domain.ends_with('.')
            });
        self.require("user.email", good, "an address such as name@example.org, at most 254 bytes")
    }

    /// A password: 8 to 1,024 bytes.
    pub fn password(&mut self, password: &str) -> &mut Self {
        let good = (8..=1024).contains(&password.len());
        self.require("user.password", good, "8 to 1,024 bytes")
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

    fn require(&mut self, field: &str, good: bool, rule: &str) -> &mut Self {
        if !good {
            self.0.push((field.to_owned(), rule.to_owned()));
        }
        self
    }
}

/// What two spellings of one address have in common: they are one address to both services.
pub fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}
