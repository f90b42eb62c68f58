//! The invariants of ARCHITECTURE.md, held against the source tree.

mod lexer;
mod mutants;
mod rules;
#[cfg(test)]
mod samples;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use rules::Problems;

/// The longest file of the framework, tests apart.
const LONGEST: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// Every file under `folder` whose name ends in `end`: its path from the root, and its text.
fn files(folder: &str, end: &str) -> Vec<(String, String)> {
    let (root, mut found) = (root(), Vec::new());
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().is_some_and(|path| path.ends_with(end)) {
                let text = fs::read_to_string(&path).expect("a text");
                let name = path.strip_prefix(&root).expect("inside").to_str().expect("UTF-8");
                found.push((name.to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "nothing in {folder}");
    found.sort();
    found
}

/// The files of one of the framework's modules: `NAME.rs` and everything in `NAME/`.
fn module(name: &str) -> Vec<(String, String)> {
    let (file, folder) = (format!("framework/src/{name}.rs"), format!("framework/src/{name}/"));
    let mut all = files("framework/src", ".rs");
    all.retain(|(path, _)| *path == file || path.starts_with(&folder));
    assert!(!all.is_empty(), "no module {name}");
    all
}

/// The framework's code, without what is there for tests.
fn framework() -> Vec<(String, String)> {
    let mut all = files("framework/src", ".rs");
    let for_tests =
        |path: &str| path.starts_with("framework/src/testing") || path.ends_with("/tests.rs");
    all.retain(|(path, _)| !for_tests(path));
    all
}

fn hold(files: Vec<(String, String)>, rule: impl Fn(&str, &str) -> Problems) {
    let problems: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| {
            rule(path, text).into_iter().map(move |problem| format!("{path}:{problem}"))
        })
        .collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn message_imports_nothing_else_of_the_crate() {
    hold(module("message"), |path, text| {
        rules::imports_only_message(text, path.matches('/').count() - 1)
    });
}

#[test]
fn only_storage_holds_sql() {
    let mut all = files("framework/src", ".rs");
    all.extend(files("cli/src", ".rs"));
    all.retain(|(path, _)| {
        path != "framework/src/storage.rs" && !path.starts_with("framework/src/storage/")
    });
    hold(all, |_, text| rules::holds_no_sql(text));
    let sql = files("framework/src", ".sql");
    let outside: Vec<_> =
        sql.iter().filter(|(path, _)| !path.starts_with("framework/src/storage/")).collect();
    assert!(outside.is_empty(), "{outside:?}");
}

#[test]
fn texts_in_json_name_their_characters_on_mysql() {
    let sql = files("framework/src/storage/mysql/sql", ".sql");
    hold(sql, |_, text| rules::texts_name_their_characters(text));
}

#[test]
fn transports_do_not_know_storage_nor_storage_transports() {
    hold(module("transport"), |_, text| rules::never_names(text, &["storage", "sqlx"]));
    hold(module("storage"), |_, text| rules::never_names(text, &["transport", "reqwest", "axum"]));
}

#[test]
fn what_sends_opens_no_transaction_and_what_opens_one_does_not_send() {
    hold(module("relay"), |_, text| rules::never_names(text, &["Transaction", "begin", "Lent"]));
    for applies in ["consumer", "inbox", "outbox", "held"] {
        hold(module(applies), |_, text| {
            rules::never_names(text, &["Publisher", "publish", "reqwest", "TcpStream"])
        });
    }
}

#[test]
fn library_code_does_not_panic() {
    let mut all = framework();
    all.extend(files("migrations/src", ".rs"));
    hold(all, |_, text| rules::never_panics(text));
}

#[test]
fn files_are_short() {
    hold(framework(), |_, text| rules::is_short(text, LONGEST));
}

#[test]
fn every_database_has_the_same_migrations_and_their_way_back() {
    let names: Vec<(String, String)> = files("migrations", ".sql")
        .into_iter()
        .filter_map(|(path, _)| {
            let (database, name) = path.strip_prefix("migrations/")?.split_once('/')?;
            Some((database.to_owned(), name.to_owned()))
        })
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    let problems = rules::migrations_match(&names);
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut pages = files("docs", ".md");
    for page in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(page)).expect("a page");
        pages.push((page.to_owned(), text));
    }
    hold(pages, |path, text| {
        let page = root().join(path);
        let folder = page.parent().expect("a folder");
        let dead = rules::links(text).into_iter().filter(|link| !folder.join(link).exists());
        dead.map(|link| format!(" no {link}")).collect()
    });
}

#[test]
fn the_demo_page_names_every_variable_that_the_services_read_and_no_other() {
    let sources = ["demo-common/src", "demo-register/src", "demo-login/src"];
    let sources = sources.into_iter().flat_map(|folder| files(folder, ".rs"));
    let read: BTreeSet<String> = sources.flat_map(|(_, text)| rules::variables(&text)).collect();
    let page = fs::read_to_string(root().join("docs/demo.md")).expect("the demo's page");
    let named: BTreeSet<String> =
        rules::variables_of_page(&page, "The services' settings").into_iter().collect();
    assert!(read.len() > 8, "{read:?}");
    assert_eq!(read, named, "read by the services, and named on docs/demo.md");
    // The paths stand in the addresses that are set.
    let served = ["/syncline", "/feed"];
    for (service, folder) in [("A", "demo-register/src"), ("B", "demo-login/src")] {
        let code: String = files(folder, ".rs").into_iter().map(|(_, text)| text).collect();
        for path in served {
            assert!(code.contains(&format!("nest(\"{path}\"")), "{service} serves {path}");
        }
    }
    for (variable, path) in [("PEER_URL", "/syncline"), ("PEER_FEED", "/feed")] {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{variable}`")));
        let row = row.unwrap_or_else(|| panic!("no row of {variable}"));
        assert!(row.contains(&format!("http://HOST:PORT{path}`")), "{row}");
    }
}

#[test]
fn every_fault_names_tests_that_exist() {
    let numbers: Vec<u32> = (1..=15).chain(18..=34).chain(36..=50).chain(53..=57).collect();
    let page = fs::read_to_string(root().join("docs/faults.md")).expect("the table of faults");
    let problems = rules::faults_name_tests(&page, &numbers, |path, name| {
        let text = fs::read_to_string(root().join(path)).unwrap_or_default();
        rules::has_function(&text, name)
    });
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_deliberate_fault_can_be_put_in() {
    let read = |path: &str| fs::read_to_string(root().join(path)).ok();
    let programs: Vec<String> = ["tests/tests", "cli/tests"]
        .into_iter()
        .flat_map(|folder| files(folder, ".rs"))
        .filter_map(|(path, _)| mutants::program(&path).map(str::to_owned))
        .collect();
    let problems = mutants::fit(&files("tests/mutants", ".toml"), &programs, read);
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
