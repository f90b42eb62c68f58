//! An error of a database with a code, for tests.

/// As a driver tells it: a code, and a text in another language.
#[derive(Debug, thiserror::Error)]
#[error("in another language")]
struct Coded(&'static str);

impl sqlx::error::DatabaseError for Coded {
    fn message(&self) -> &str {
        "in another language"
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(self.0.into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> sqlx::error::ErrorKind {
        sqlx::error::ErrorKind::Other
    }
}

/// An error whose code is `code`.
pub(crate) fn coded(code: &'static str) -> sqlx::Error {
    sqlx::Error::Database(Box::new(Coded(code)))
}
