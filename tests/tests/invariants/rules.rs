//! The rules: each takes the text of a file and returns what breaks it, as `line: what`.

use std::collections::BTreeSet;

use crate::lexer::{Source, without_tests};

/// What breaks a rule in one file.
pub(crate) type Problems = Vec<String>;

/// `message` is pure data: it imports nothing else of the crate. `depth` says how many
/// `super::` lead out of it.
pub(crate) fn imports_only_message(text: &str, depth: usize) -> Problems {
    let source = Source::new(text);
    let mut problems = Problems::new();
    for (number, line) in (1..).zip(source.code.lines()) {
        if line.contains(&"super::".repeat(depth)) {
            problems.push(format!("{number}: leaves `message`: {}", line.trim()));
        }
    }
    for (at, path) in source.code.match_indices("crate::") {
        let rest = &source.code[at + path.len()..];
        let inside = match rest.strip_prefix('{') {
            Some(group) => top_level(group).iter().all(|item| first_word(item) == "message"),
            None => first_word(rest) == "message",
        };
        if !inside {
            let number = source.code[..at].matches('\n').count() + 1;
            let named = rest.lines().next().unwrap_or_default();
            problems.push(format!("{number}: imports crate::{named}"));
        }
    }
    problems
}

/// The items of a `{...}` group whose brace was opened just before `text`.
fn top_level(text: &str) -> Vec<String> {
    let (mut depth, mut items) = (0, vec![String::new()]);
    for char in text.chars() {
        match char {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(String::new()),
            _ => {
                depth += i32::from(char == '{') - i32::from(char == '}');
                items.last_mut().expect("never empty").push(char);
            }
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// No SQL outside `storage`: neither in a string nor by a call of sqlx's query functions.
pub(crate) fn holds_no_sql(text: &str) -> Problems {
    let source = Source::new(text);
    let mut problems: Problems = source
        .strings
        .iter()
        .filter(|(_, string)| is_sql(string))
        .map(|(line, string)| format!("{line}: SQL in a string: {string}"))
        .collect();
    for (number, line) in (1..).zip(source.code.lines()) {
        let calls = ["sqlx::query", "sqlx::raw_sql", "query_as(", "query_scalar(", "QueryBuilder"];
        if calls.iter().any(|call| line.contains(call)) {
            problems.push(format!("{number}: runs SQL: {}", line.trim()));
        }
    }
    problems
}

fn is_sql(string: &str) -> bool {
    if string.ends_with(".sql") {
        return true;
    }
    let first = first_word(string);
    let begins = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "TRUNCATE"];
    let settings = ["PRAGMA", "BEGIN", "COMMIT", "ROLLBACK", "LOCK", "LISTEN", "NOTIFY", "WITH"];
    let lower = string.to_ascii_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    let pair = |a, b| words.windows(2).any(|pair| pair == [a, b]);
    begins.contains(&first)
        || settings.contains(&first)
        || pair("insert", "into")
        || pair("delete", "from")
        || ["table", "index"].iter().any(|what| pair("create", what) || pair("drop", what))
        || (words.contains(&"select") && words.contains(&"from"))
        || (words.contains(&"update") && words.contains(&"set"))
}

/// Every text of JSON_TABLE names its character set and collation: without, it has the database's.
pub(crate) fn texts_name_their_characters(sql: &str) -> Problems {
    let words: Vec<&str> = sql.split_whitespace().collect();
    let ends = (0..words.len()).filter(|at| words[*at] == "PATH");
    let mut problems = Problems::new();
    for end in ends {
        let Some(of) = words[..end].iter().rposition(|word| is_text(word)) else { continue };
        let column = words[of..end].join(" ");
        // Another column's, when something was closed between.
        let ours = !column.contains(',');
        if ours && !column.ends_with(" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin") {
            problems.push(format!("JSON_TABLE: {column} names no characters"));
        }
    }
    problems
}

fn is_text(word: &str) -> bool {
    word.contains("CHAR(") || word.ends_with("TEXT")
}

/// The code never names any of `words`.
pub(crate) fn never_names(text: &str, words: &[&str]) -> Problems {
    let source = Source::new(text);
    let named = source.words().filter(|(_, word)| words.contains(word));
    named.map(|(line, word)| format!("{line}: names {word}")).collect()
}

/// Library code answers with errors: it does not panic.
pub(crate) fn never_panics(text: &str) -> Problems {
    let source = Source::new(text);
    let calls =
        [".unwrap()", ".expect(", "panic!", "todo!", "unimplemented!", "unreachable!", "dbg!"];
    let mut problems = Problems::new();
    for (number, line) in (1..).zip(source.code.lines()) {
        if calls.iter().any(|call| line.contains(call)) {
            problems.push(format!("{number}: can panic: {}", line.trim()));
        }
    }
    problems
}

/// At most `limit` lines, tests apart.
pub(crate) fn is_short(text: &str, limit: usize) -> Problems {
    let lines = without_tests(text).lines().count();
    if lines > limit { vec![format!("{lines} lines; at most {limit}")] } else { Problems::new() }
}

/// Migrations of several databases: the same names, each with its way back, numbered from 1
/// without gaps. Takes (database, file name).
pub(crate) fn migrations_match(files: &[(String, String)]) -> Problems {
    let databases: BTreeSet<&str> = files.iter().map(|(database, _)| database.as_str()).collect();
    let names: BTreeSet<&str> = files.iter().map(|(_, name)| name.as_str()).collect();
    let mut problems = Problems::new();
    let has = |database: &str, name: &str| files.iter().any(|(d, n)| d == database && n == name);
    for name in &names {
        let missing = databases.iter().filter(|database| !has(database, name));
        problems.extend(missing.map(|database| format!("{database} has no {name}")));
        let other = match name.strip_suffix(".up.sql") {
            Some(stem) => format!("{stem}.down.sql"),
            None => name.replace(".down.sql", ".up.sql"),
        };
        if !names.contains(other.as_str()) {
            problems.push(format!("{name} has no {other}"));
        }
    }
    let ups = names.iter().filter(|name| name.ends_with(".up.sql"));
    for (number, name) in (1..).zip(ups) {
        if !name.starts_with(&format!("{number:04}_")) {
            problems.push(format!("{name} should have number {number:04}"));
        }
    }
    problems
}

/// The relative links of a Markdown text.
pub(crate) fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let relative = targets.filter(|target| !target.is_empty() && !target.contains(':'));
    relative.map(str::to_owned).collect()
}

/// The environment variables that a file of a demo service reads.
pub(crate) fn variables(text: &str) -> Vec<String> {
    let reads = ["env = \"", "env::var(\"", "env::var_os(\""];
    let named = reads.iter().flat_map(|read| text.split(read).skip(1));
    let mut found: Vec<String> =
        named.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect();
    found.extend(text.contains("from_default_env").then(|| "RUST_LOG".to_owned()));
    found
}

/// The environment variables that the first column of the tables of a page's section names.
pub(crate) fn variables_of_page(page: &str, section: &str) -> Vec<String> {
    let own = page.split_once(&format!("\n## {section}\n")).map_or("", |(_, rest)| rest);
    let own = own.split("\n## ").next().unwrap_or_default();
    let cells = own.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    words.map(str::to_owned).collect()
}

/// The rows of the table of faults: every one of `numbers` is there once, and names tests that
/// exist, or says that it is open. `has_test` says whether a file has a function.
pub(crate) fn faults_name_tests(
    text: &str,
    numbers: &[u32],
    has_test: impl Fn(&str, &str) -> bool,
) -> Problems {
    let (mut problems, mut found) = (Problems::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(fault) = cells.get(1).and_then(|cell| cell.parse::<u32>().ok()) else { continue };
        found.push(fault);
        let [_, _, _, _, tests, databases, _] = cells[..] else {
            problems.push(format!("{number}: fault {fault} has not five columns"));
            continue;
        };
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if named.is_empty() && !databases.contains("**open**") {
            problems.push(format!("{number}: fault {fault} has no test and is not open"));
        }
        for test in named {
            if !test.split_once("::").is_some_and(|(path, name)| has_test(path, name)) {
                problems.push(format!("{number}: fault {fault} names no test: {test}"));
            }
        }
    }
    if found != numbers {
        problems.push(format!("0: the faults {found:?} instead of {numbers:?}"));
    }
    problems
}

/// Whether a file has a function of this name, in its tests too.
pub(crate) fn has_function(text: &str, name: &str) -> bool {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")).any(|line| {
        line.split_once("fn ").is_some_and(|(before, rest)| {
            (before.is_empty() || before.ends_with(' ')) && first_word(rest) == name
        })
    })
}
