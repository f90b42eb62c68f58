//! The rows of `tests/mutants`, which `script/mutants` puts into the code: each still fits it.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::rules::Problems;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    mutant: Vec<Mutant>,
}

/// See `script/mutants`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    file: String,
    old: String,
    new: String,
    tests: String,
    #[serde(default)]
    binaries: Vec<String>,
    #[serde(default, rename = "lib")]
    _lib: bool,
    #[serde(default)]
    equivalent: Option<String>,
}

/// The test program that a file is the root of.
pub(crate) fn program(path: &str) -> Option<&str> {
    let (_, inside) = path.split_once("/tests/")?;
    let name = inside.strip_suffix("/main.rs").or_else(|| inside.strip_suffix(".rs"))?;
    (!name.contains('/')).then_some(name)
}

/// The problems of the rows of `tables` (path and text): a name that is there twice, a text that
/// is not there once, a test program that is not one of `programs`.
pub(crate) fn fit(
    tables: &[(String, String)],
    programs: &[String],
    read: impl Fn(&str) -> Option<String>,
) -> Problems {
    let (mut problems, mut names) = (Problems::new(), BTreeSet::new());
    for (path, text) in tables {
        let rows = match toml::from_str::<Table>(text) {
            Ok(table) => table.mutant,
            Err(error) => {
                problems.push(format!("{path}: {error}"));
                continue;
            }
        };
        for row in rows {
            let mut wrong = |what: String| problems.push(format!("{path}: {:?}: {what}", row.name));
            if !names.insert(row.name.clone()) {
                wrong("the name is there twice".to_owned());
            }
            if row.old == row.new || row.old.is_empty() {
                wrong("it changes nothing".to_owned());
            } else {
                match read(&row.file).map(|text| text.matches(&row.old).count()) {
                    Some(1) => {}
                    Some(count) => wrong(format!("`old` is {count} times in {}", row.file)),
                    None => wrong(format!("no file {}", row.file)),
                }
            }
            if row.tests.trim().is_empty() {
                wrong("it names no tests".to_owned());
            }
            if row.equivalent.is_some_and(|reason| reason.trim().is_empty()) {
                wrong("it does not say why it is equivalent".to_owned());
            }
            for program in row.binaries.iter().map(String::as_str).chain(named(&row.tests)) {
                if !programs.iter().any(|known| known == program) {
                    wrong(format!("no test program {program}"));
                }
            }
        }
    }
    problems
}

/// The programs that a filter names as `binary(NAME)`, patterns apart.
fn named(filter: &str) -> impl Iterator<Item = &str> {
    let inside = filter.split("binary(").skip(1).filter_map(|rest| rest.split(')').next());
    let names = inside.map(|name| name.trim().trim_start_matches('='));
    names.filter(|name| name.chars().all(|c| c.is_alphanumeric() || "_-".contains(c)))
}
