//! Every rule finds a violation, and leaves what only looks like one.

use crate::{
    mutants,
    rules::{
        faults_name_tests, has_function, holds_no_sql, imports_only_message, is_short, links,
        migrations_match, never_names, never_panics, texts_name_their_characters, variables,
        variables_of_page,
    },
};

#[test]
fn an_import_out_of_message_is_found() {
    for bad in [
        "use crate::storage::Cursor;",
        "use crate::{message::Message, Result};",
        "fn f() -> crate::Result<()> {}",
        "use super::super::relay;",
    ] {
        assert_eq!(imports_only_message(bad, 2).len(), 1, "{bad}");
    }
    assert_eq!(imports_only_message("use super::relay;", 1).len(), 1);
    for good in
        ["use super::Message;", "use crate::{message::{A, b::C}, message::D};", "// crate::x"]
    {
        assert!(imports_only_message(good, 2).is_empty(), "{good}");
    }
}

#[test]
fn sql_is_found_in_strings_and_in_calls() {
    for bad in [
        "let q = \"SELECT 1\";",
        "let q = r#\"\n insert into t values (1)\"#;",
        "run(\"PRAGMA synchronous\")",
        "run(\"update t set a = 1\")",
        "include_str!(\"sql/head.sql\")",
        "sqlx::query(text)",
        "let q: i64 = query_scalar(text);",
    ] {
        assert!(!holds_no_sql(bad).is_empty(), "{bad}");
    }
    for good in [
        "/// sqlx::query(\"SELECT 1\")",
        "let text = \"could not update the inbox\";",
        "let text = \"a new set of topics\";",
        "#[cfg(test)]\nmod tests;\n",
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    sqlx::query(\"SELECT 1\");\n}\n",
    ] {
        assert!(holds_no_sql(good).is_empty(), "{good}");
    }
}

#[test]
fn a_name_is_found_in_code_only() {
    for bad in ["use crate::storage;", "use crate::{\n    storage::Cursor,\n};", "storage::f()"] {
        assert_eq!(never_names(bad, &["storage"]).len(), 1, "{bad}");
    }
    for good in ["// storage", "let a = \"storage\";", "ReceiveError::Storage", "storage_suite()"] {
        assert!(never_names(good, &["storage"]).is_empty(), "{good}");
    }
}

#[test]
fn what_can_panic_is_found() {
    for bad in ["a.unwrap();", "a.expect(\"b\")", "panic!(\"no\")", "unreachable!()", "todo!()"] {
        assert_eq!(never_panics(bad).len(), 1, "{bad}");
    }
    for good in ["a.unwrap_or(1)", "// a.unwrap()", "let s = \".unwrap()\";", "a.expect_err"] {
        assert!(never_panics(good).is_empty(), "{good}");
    }
}

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let code = "fn a() {}\n".repeat(3);
    assert!(is_short(&code, 3).is_empty());
    assert!(is_short(&format!("{code}#[cfg(test)]\nmod tests {{\n}}\n"), 3).is_empty());
    assert_eq!(is_short(&format!("{code}fn b() {{}}\n"), 3).len(), 1);
}

#[test]
fn a_missing_differing_or_misnumbered_migration_is_found() {
    let files = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    let good = [
        ("a", "0001_x.up.sql"),
        ("a", "0001_x.down.sql"),
        ("b", "0001_x.up.sql"),
        ("b", "0001_x.down.sql"),
    ];
    assert!(migrations_match(&files(&good)).is_empty());
    for missing in 0..good.len() {
        let mut fewer = good.to_vec();
        fewer.remove(missing);
        assert!(!migrations_match(&files(&fewer)).is_empty(), "{missing}");
    }
    assert!(!migrations_match(&files(&good[..1])).is_empty(), "no way back");
    let gap = [("a", "0002_x.up.sql"), ("a", "0002_x.down.sql")];
    assert!(!migrations_match(&files(&gap)).is_empty(), "a gap");
}

#[test]
fn a_text_without_its_characters_is_found() {
    let bin = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    let table = |columns: &str| format!("SELECT 1 FROM JSON_TABLE(?, '$[*]' COLUMNS ({columns}))");
    for good in [
        format!("n FOR ORDINALITY, a CHAR(32) {bin} PATH '$.a', b INT PATH '$.b'"),
        format!("b BIGINT PATH '$.b',\n a LONGTEXT {bin} PATH '$.a'"),
    ] {
        assert_eq!(texts_name_their_characters(&table(&good)), [""; 0], "{good}");
    }
    for bad in [
        "a VARCHAR(255) PATH '$.a'".to_owned(),
        "a LONGTEXT CHARACTER SET utf8mb4 PATH '$.a'".to_owned(),
        format!("a CHAR(32) {bin} PATH '$.a', b CHAR(2)\n PATH '$.b'"),
    ] {
        assert_eq!(texts_name_their_characters(&table(&bad)).len(), 1, "{bad}");
    }
}

#[test]
fn relative_links_are_found() {
    let text = "[a](docs/a.md#part) [b](https://example.org) [c](#here) [d](LICENSE-MIT)";
    assert_eq!(links(text), ["docs/a.md", "LICENSE-MIT"]);
}

#[test]
fn variables_are_found_in_code_and_on_a_page() {
    let code = "#[arg(long, env = \"ONE\", hide = true)] env::var(\"TWO\") try_from_default_env()";
    assert_eq!(variables(code), ["ONE", "TWO", "RUST_LOG"]);
    assert!(variables("let env = 1; \"THREE\"").is_empty());
    let page = "# P\n\n## Settings\n\n| setting | of `X` |\n|---|---|\n| `A`, `B` | `C` |\n\n## Other\n| `D` |";
    assert_eq!(variables_of_page(page, "Settings"), ["A", "B"]);
    assert!(variables_of_page(page, "Nothing").is_empty());
}

#[test]
fn a_fault_without_a_row_or_with_a_test_that_is_not_there_is_found() {
    let check = |table: &str, numbers: &[u32]| {
        faults_name_tests(table, numbers, |path, name| {
            path == "a.rs" && has_function("// fn c() {}\nasync fn b() {}", name)
        })
    };
    assert!(check("| 1 | x | y | `a.rs::b` | all |", &[1]).is_empty());
    assert!(check("| 1 | x | y | none | **open** |", &[1]).is_empty());
    let one = |table: &str, numbers: &[u32]| assert_eq!(check(table, numbers).len(), 1, "{table}");
    one("| 1 | x | y | none | all |", &[1]);
    one("| 1 | x | y | `a.rs::c` | all |", &[1]);
    one("| 1 | x | y | `z.rs::b` | all |", &[1]);
    one("| 1 | x | y | `a.rs::b` |", &[1]);
    one("| 1 | x | y | `a.rs::b` | all |", &[1, 2]);
}

#[test]
fn a_deliberate_fault_that_fits_no_more_is_found() {
    let programs = ["suite".to_owned()];
    let fit = |rows: &str| {
        let read = |path: &str| (path == "a.rs").then(|| "one two two".to_owned());
        mutants::fit(&[("t.toml".to_owned(), rows.to_owned())], &programs, read)
    };
    let row = |name: &str, file: &str, old: &str, tests: &str| {
        format!(
            "[[mutant]]\nname = '{name}'\nfile = '{file}'\nold = '{old}'\nnew = 'x'\ntests = '{tests}'\n"
        )
    };
    let good = row("a", "a.rs", "one", "binary(suite) and test(=x) or binary(/any.*/)");
    assert!(fit(&good).is_empty(), "{:?}", fit(&good));
    for bad in [
        row("a", "a.rs", "two", "test(x)"),
        row("a", "a.rs", "three", "test(x)"),
        row("a", "b.rs", "one", "test(x)"),
        row("a", "a.rs", "one", " "),
        row("a", "a.rs", "one", "binary(=other)"),
        row("a", "a.rs", "", "test(x)"),
        row("a", "a.rs", "one", "test(x)") + "binaries = ['other']",
        row("a", "a.rs", "one", "test(x)") + "equivalent = ''",
        row("a", "a.rs", "one", "test(x)") + "unknown = 1",
        format!("{good}{good}"),
    ] {
        assert_eq!(fit(&bad).len(), 1, "{bad}");
    }
    assert_eq!(mutants::program("tests/tests/suite.rs"), Some("suite"));
    assert_eq!(mutants::program("cli/tests/cli/main.rs"), Some("cli"));
    assert_eq!(mutants::program("cli/tests/cli/saga.rs"), None);
}
