//! Values that the configuration only names: what stands in the environment or in a file.

use std::{env, fmt, fs, path::Path};

use serde::{Deserialize, Deserializer, de};

/// No secret is longer; a wrong path must not be read to its end.
const LONGEST: u64 = 64 * 1024;

/// One name, or a list of them.
#[derive(Default)]
pub(super) struct Names(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> de::Visitor<'de> for OneOrMany {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a list of names")
            }

            fn visit_str<E>(self, name: &str) -> Result<Names, E> {
                Ok(Names(vec![name.to_owned()]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut names: A) -> Result<Names, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = names.next_element()? {
                    all.push(name);
                }
                Ok(Names(all))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

/// What the environment variable `name` holds. The error does not show it.
pub(super) fn from_env(name: &str) -> Result<String, String> {
    match env::var(name) {
        Ok(value) if !value.trim().is_empty() => Ok(value.trim().to_owned()),
        Ok(_) => Err(format!("the environment variable {name} is empty")),
        Err(env::VarError::NotPresent) => {
            Err(format!("the environment variable {name} is not set"))
        }
        Err(env::VarError::NotUnicode(_)) => {
            Err(format!("the environment variable {name} is not UTF-8"))
        }
    }
}

/// What the file `name` holds, which is found from the configuration's directory. The error does
/// not show it.
pub(super) fn from_file(directory: &Path, name: &str) -> Result<String, String> {
    let path = directory.join(name);
    let failed = |error: &dyn fmt::Display| format!("the file {}: {error}", path.display());
    let size = fs::metadata(&path).map_err(|error| failed(&error))?.len();
    if size > LONGEST {
        return Err(failed(&format_args!("it has {size} bytes; at most {LONGEST} are read")));
    }
    let text = fs::read_to_string(&path).map_err(|error| failed(&error))?;
    match text.trim() {
        "" => Err(failed(&"it is empty")),
        text => Ok(text.to_owned()),
    }
}

/// All that `env` and `file` name, in order.
pub(super) fn all(directory: &Path, env: &Names, file: &Names) -> Result<Vec<String>, String> {
    let named = env.0.iter().map(|name| from_env(name));
    named.chain(file.0.iter().map(|name| from_file(directory, name))).collect()
}
