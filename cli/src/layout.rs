//! Tables in the columns that a terminal has: ids stay whole, other cells are cut, and nothing is broken
//! over lines.

use unicode_width::UnicodeWidthChar;

use crate::text;

/// A cell that may be cut keeps so many columns while others can still be left out, and so many at last.
const ROOMY: usize = 16;
const LEAST: usize = 6;
/// The column in which a text under its row begins.
const INDENT: usize = 4;

/// A column's name, which is the field's in `--json`, and what becomes of it in a narrow terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Cut,
    Spare,
    Text,
}

/// It is never cut: an id, a number, a state.
pub(crate) const fn whole(name: &'static str) -> Column {
    Column { name, kind: Kind::Whole }
}

/// It is cut where there is no room.
pub(crate) const fn cut(name: &'static str) -> Column {
    Column { name, kind: Kind::Cut }
}

/// It is left out where there is no room; `--json` and `show` have it.
pub(crate) const fn spare(name: &'static str) -> Column {
    Column { name, kind: Kind::Spare }
}

/// The last column, such as an error: whole, under its row where there is no room beside it.
pub(crate) const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

impl From<&'static str> for Column {
    fn from(name: &'static str) -> Self {
        if name == "id" { whole(name) } else { cut(name) }
    }
}

/// The lines of a table in at most `room` columns; each row is one line where nothing limits it. Cells must
/// have been escaped.
pub(crate) fn lines<const N: usize>(
    columns: &[Column; N],
    rows: &[[String; N]],
    room: Option<usize>,
) -> Vec<String> {
    let natural: Vec<usize> = (0..N)
        .map(|n| {
            rows.iter().map(|row| width(&row[n])).max().unwrap_or(0).max(width(columns[n].name))
        })
        .collect();
    let Some(widths) = fit(columns, natural, room.unwrap_or(usize::MAX)) else {
        return records(columns, rows);
    };
    let header: [&str; N] = columns.map(|column| column.name);
    let mut lines = Vec::new();
    lines.extend(line(columns, &header, &widths, room).into_iter().take(1));
    for row in rows {
        let cells: [&str; N] = std::array::from_fn(|n| row[n].as_str());
        lines.extend(line(columns, &cells, &widths, room));
    }
    lines
}

/// Columns for each cell, none for those that are left out; none at all when there is no room for what
/// must stay whole.
fn fit<const N: usize>(
    columns: &[Column; N],
    natural: Vec<usize>,
    room: usize,
) -> Option<Vec<Option<usize>>> {
    let mut widths: Vec<Option<usize>> = natural.into_iter().map(Some).collect();
    // A text that is not there is a dash beside the others.
    let texts = columns.iter().filter(|one| one.kind == Kind::Text).count();
    let room = room.saturating_sub(3 * texts);
    for (width, _) in widths.iter_mut().zip(columns).filter(|(_, one)| one.kind == Kind::Text) {
        *width = None;
    }
    shrink(columns, &mut widths, room, ROOMY);
    for n in (0..N).rev().filter(|n| columns[*n].kind == Kind::Spare) {
        if total(&widths) > room {
            widths[n] = None;
        }
    }
    shrink(columns, &mut widths, room, LEAST);
    (total(&widths) <= room).then_some(widths)
}

/// Takes columns from the widest cells that may be cut, down to `least` each.
fn shrink(columns: &[Column], widths: &mut [Option<usize>], room: usize, least: usize) {
    while total(widths) > room {
        let cells = widths.iter_mut().zip(columns).filter(|(_, one)| one.kind == Kind::Cut);
        let widest = cells.filter_map(|(width, _)| width.as_mut()).max_by_key(|width| **width);
        match widest {
            Some(width) if *width > least => *width -= 1,
            _ => return,
        }
    }
}

/// The columns of a line: a space, and two between cells.
fn total(widths: &[Option<usize>]) -> usize {
    widths.iter().flatten().map(|width| width + 2).sum::<usize>().saturating_sub(1)
}

/// A row on its line, and under it a text that has no room there.
fn line<const N: usize>(
    columns: &[Column; N],
    cells: &[&str; N],
    widths: &[Option<usize>],
    room: Option<usize>,
) -> Vec<String> {
    let mut line = String::from(" ");
    for (cell, shown) in
        cells.iter().zip(widths).filter_map(|(cell, width)| Some((cell, (*width)?)))
    {
        let cell = if width(cell) > shown { text::cut(cell, shown) } else { (*cell).to_owned() };
        let pad = shown.saturating_sub(width(&cell)) + 2;
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', pad));
    }
    let mut lines = vec![line];
    for (cell, _) in cells.iter().zip(columns).filter(|(_, one)| one.kind == Kind::Text) {
        match room.is_none_or(|room| width(&lines[0]) + width(cell) <= room) {
            true => lines[0].push_str(cell),
            false => lines.push(format!("{:INDENT$}{cell}", "")),
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Each cell on a line of its own: the terminal is narrower than what must stay whole.
fn records<const N: usize>(columns: &[Column; N], rows: &[[String; N]]) -> Vec<String> {
    let of = |row: &[String; N]| -> Vec<String> {
        columns.iter().zip(row).map(|(one, cell)| format!("{}: {cell}", one.name)).collect()
    };
    let mut lines = Vec::new();
    for row in rows {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(of(row));
    }
    lines
}

/// Names and their values, one a line.
pub(crate) fn fields(fields: &[(&str, String)], room: Option<usize>) -> Vec<String> {
    let names = fields.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    // Beside its name a value would have little room.
    let narrow = room.is_some_and(|room| room < names + 24);
    let line = |(name, value): &(&str, String)| match narrow {
        true => format!("{name}: {value}"),
        false => format!(" {name:names$}  {value}"),
    };
    fields.iter().map(|field| line(field).trim_end().to_owned()).collect()
}

/// The columns that a terminal takes for a text.
fn width(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01920bf1-5c8a-7e31-9d3f-1c1f5d0a7c11";
    const ERROR: &str = "compensation of open: error returned from the driver: the shop is closed";

    const COLUMNS: [Column; 6] = [
        whole("id"),
        cut("saga"),
        cut("key"),
        whole("status"),
        spare("started_at"),
        text("problem"),
    ];

    fn rows() -> Vec<[String; 6]> {
        let row = |key: &str, problem: &str| {
            [ID, "registration@1", key, "compensating", "12 min ago", problem].map(str::to_owned)
        };
        vec![row("request-17", ERROR), row("漢字漢字漢字漢字漢字漢字", "-")]
    }

    #[test]
    fn ids_and_errors_are_whole_at_any_width_and_no_line_is_longer_than_must_be() {
        let rows = rows();
        for room in [1, 20, 40, 60, 72, 80, 100, 120, 400] {
            let lines = lines(&COLUMNS, &rows, Some(room));
            let all = lines.join("\n");
            assert_eq!(all.matches(ID).count(), 2, "{room}: {all}");
            assert!(all.contains(ERROR), "{room}: {all}");
            // Only what must stay whole stands on a line that is too long.
            for line in lines.iter().filter(|line| width(line) > room) {
                let lone = line.starts_with("    ") || line.contains(": ");
                assert!(lone, "{room}: {line}");
            }
            // No cell goes on over lines: each line begins a row, a record's field or a text.
            let fields = COLUMNS.map(|column| format!("{}: ", column.name));
            let begins = |line: &&String| {
                [" id", "    comp"].iter().any(|begin| line.starts_with(begin))
                    || line.starts_with(&format!(" {ID}"))
                    || fields.iter().any(|field| line.starts_with(field.as_str()))
                    || line.is_empty()
            };
            assert!(lines.iter().all(|line| begins(&line)), "{room}: {all}");
        }
    }

    #[test]
    fn at_80_columns_a_row_is_a_line_with_its_error_under_it() {
        let lines = lines(&COLUMNS, &rows(), Some(80));
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(lines[0].starts_with(" id  ") && !lines[0].contains("started_at"), "{lines:#?}");
        assert!(lines[1].starts_with(&format!(" {ID}  regist")), "{lines:#?}");
        assert!(lines[1].ends_with("  compensating") && lines[1].contains('…'), "{lines:#?}");
        assert_eq!(lines[2], format!("    {ERROR}"));
        assert!(lines[3].ends_with("  -"), "a short text stands in its row: {lines:#?}");
    }

    #[test]
    fn what_no_terminal_reads_is_one_line_a_row_with_everything() {
        let lines = lines(&COLUMNS, &rows(), None);
        assert_eq!(lines.len(), 3);
        for word in [ID, "registration@1", "request-17", "12 min ago", ERROR] {
            assert!(lines[1].contains(word), "{word}: {lines:#?}");
        }
        assert_eq!(lines[1].find("compensating"), lines[0].find("status"));
    }

    #[test]
    fn names_stand_before_their_values() {
        let all = [("id", "1".to_owned()), ("held_at", "now".to_owned())];
        assert_eq!(fields(&all, None), [" id       1", " held_at  now"]);
        assert_eq!(fields(&all, Some(20)), ["id: 1", "held_at: now"]);
    }
}
