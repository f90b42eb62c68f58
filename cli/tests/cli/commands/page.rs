//! The pages that commands are held against, and the times in a text.

const PAGE: &str = include_str!("../../../../docs/commands.md");

/// The cells of the page's table rows, without the ticks of the first one.
pub(super) fn rows() -> Vec<Vec<String>> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| "));
    let cells = |row: &str| -> Vec<String> {
        let cells = row.trim_matches('|').split(" | ").map(str::trim);
        cells.map(|cell| cell.trim_matches('|').trim().to_owned()).collect()
    };
    rows.map(cells).collect()
}

/// The form and the fields of a command's row.
pub(super) fn row(name: &str) -> (String, String) {
    let ticked = format!("`{name}`");
    let found = rows().into_iter().find(|row| row[0] == ticked);
    let row = found.unwrap_or_else(|| panic!("docs/commands.md does not name {ticked}"));
    (row[1].clone(), row[2].clone())
}

/// The codes of the page, each with its kind.
pub(super) fn codes() -> Vec<(i32, String)> {
    let code = |row: &Vec<String>| {
        let code = row[0].parse().ok()?;
        Some((code, row[1].trim_matches('`').to_owned()))
    };
    rows().iter().filter_map(code).collect()
}

/// Whether a text is a time in the one form.
pub(super) fn is_time(text: &str) -> bool {
    const FORM: &str = "dddd-dd-ddTdd:dd:dd.dddZ";
    text.len() == FORM.len()
        && text.bytes().zip(FORM.bytes()).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            form => byte == form,
        })
}

/// Everything in a text that looks like a time.
pub(super) fn times(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let begins = |at: usize| {
        let form = b"dddd-dd-ddTdd:dd";
        let own = bytes.get(at..at + form.len());
        own.is_some_and(|own| {
            own.iter().zip(form).all(|(byte, form)| match form {
                b'd' => byte.is_ascii_digit(),
                form => byte == form,
            })
        })
    };
    let end = |at: usize| {
        let rest = bytes[at..].iter();
        at + rest.take_while(|b| b.is_ascii_digit() || b"-+:.TZ".contains(b)).count()
    };
    let starts = (0..bytes.len()).filter(|at| begins(*at));
    let found = starts.map(|at| text[at..end(at)].trim_end_matches(['.', ':']));
    found.collect()
}

/// The first line of a table, in a text whose lines begin so.
pub(super) fn header(text: &str, indent: &str) -> Option<Vec<String>> {
    let begins = format!("{indent} ");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(begins.as_str()));
    let line = lines.find(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))?;
    Some(line.split_whitespace().map(str::to_owned).collect())
}

/// The outputs of `docs/operating.md` for one command line.
pub(super) fn samples(of: &str) -> Vec<&'static str> {
    let page = include_str!("../../../../docs/operating.md");
    let command = format!("    $ syncline {of}\n");
    // Up to the next command, or the text that follows.
    let ends = |rest: &'static str| {
        let end = rest.find("    $ ").unwrap_or(rest.len());
        let text = rest.lines().map_while(|line| {
            (line.is_empty() || line.starts_with("    ")).then_some(line.len() + 1)
        });
        &rest[..end.min(text.sum::<usize>()).min(rest.len())]
    };
    page.split(command.as_str()).skip(1).map(ends).collect()
}
