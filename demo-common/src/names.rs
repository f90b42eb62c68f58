//! Names by which people know a user: which characters they may have, and which spellings are one.
//! Both services ask here, so that a name is the same to both.

use std::{cmp::Ordering, ops::RangeInclusive, sync::LazyLock};

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup, NoncharacterCodePoint,
        WhiteSpace,
    },
};
use unicode_normalization::UnicodeNormalization;

/// The Braille pattern without dots: a symbol by its category, and nothing to the eye.
const BLANK: RangeInclusive<u32> = 0x2800..=0x2800;
/// Planes of which nothing is seen: unassigned ones, tags and selectors, private use.
const BEYOND: RangeInclusive<u32> = 0x4_0000..=0x10_FFFF;

/// Characters that show nothing: controls, formats (zero width ones among them), spaces, private use,
/// and what Unicode lets programs ignore. Sorted, and no two of them touch.
static HIDDEN: LazyLock<Vec<RangeInclusive<u32>>> = LazyLock::new(|| {
    let category = CodePointMapData::<GeneralCategory>::new();
    let mut ranges = vec![BLANK, BEYOND];
    for group in [
        GeneralCategoryGroup::Control,
        GeneralCategoryGroup::Format,
        GeneralCategoryGroup::PrivateUse,
        GeneralCategoryGroup::Separator,
    ] {
        ranges.extend(category.iter_ranges_for_group(group));
    }
    ranges.extend(CodePointSetData::new::<WhiteSpace>().iter_ranges());
    ranges.extend(CodePointSetData::new::<DefaultIgnorableCodePoint>().iter_ranges());
    ranges.extend(CodePointSetData::new::<NoncharacterCodePoint>().iter_ranges());
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u32>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if *range.start() <= last.end() + 1 => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => merged.push(range),
        }
    }
    merged
});

/// Whether a reader sees this character.
pub fn is_visible(character: char) -> bool {
    let code = u32::from(character);
    let found = HIDDEN.binary_search_by(|range| {
        if *range.end() < code {
            Ordering::Less
        } else if *range.start() > code {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    });
    found.is_err()
}

/// The hidden characters as the inside of a regular expression's class; those of `but` are left out.
/// It is read alike by ECMAScript, Python and Rust: escapes have four digits, and the few characters
/// that need more stand for themselves.
pub(crate) fn hidden_class(but: Option<char>) -> String {
    let mut text = String::new();
    let but = but.map(u32::from);
    for range in HIDDEN.iter() {
        let (from, to) = (*range.start(), *range.end());
        match but.filter(|but| range.contains(but)) {
            None => push_range(&mut text, from, to),
            Some(but) => {
                if from < but {
                    push_range(&mut text, from, but - 1);
                }
                if but < to {
                    push_range(&mut text, but + 1, to);
                }
            }
        }
    }
    text
}

fn push_range(text: &mut String, from: u32, to: u32) {
    push_code(text, from);
    if to > from {
        text.push('-');
        push_code(text, to);
    }
}

fn push_code(text: &mut String, code: u32) {
    match char::from_u32(code) {
        Some(character) if code > 0xFFFF => text.push(character),
        _ => text.push_str(&format!("\\u{code:04x}")),
    }
}

/// The one spelling (NFC) under which a user's id is stored. Composed and decomposed letters look
/// alike, and keyboards send both.
pub fn id_form(id: &str) -> String {
    id.nfc().collect()
}

/// Whether no user can have this id, also none of earlier days, when more characters were allowed.
/// Databases are not asked for it: PostgreSQL's text has no NUL, and MariaDB takes `ann ` for `ann`.
pub fn names_nobody(id: &str) -> bool {
    id.is_empty()
        || id.len() > 1024
        || id.chars().any(|character| character.is_control() || character.is_whitespace())
}

/// Two spellings of a display name that have this in common are one: case, width, composition and
/// the number of spaces do not tell names apart (as in RFC 8266).
pub fn display_key(name: &str) -> String {
    let folded: String = name.nfkc().collect::<String>().to_lowercase().nfkc().collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Two spellings of an e-mail address that have this in common are one address to both services.
pub fn email_key(email: &str) -> String {
    email.trim().nfc().collect::<String>().to_lowercase().nfc().collect()
}

/// Where hidden characters begin and end, and those beside them.
#[cfg(test)]
pub(crate) fn hidden_edges() -> Vec<u32> {
    let edges = |range: &RangeInclusive<u32>| {
        let (from, to) = (*range.start(), *range.end());
        [from.saturating_sub(1), from, to, to + 1]
    };
    HIDDEN.iter().flat_map(edges).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_without_a_picture_is_not_visible() {
        let hidden = "\u{0}\t \u{7f}\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{200b}\u{200d}\u{202e}\
                      \u{2028}\u{2060}\u{2800}\u{3164}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{1d173}\u{1ffff}\
                      \u{e0041}\u{e000}\u{10ffff}";
        for character in hidden.chars() {
            assert!(!is_visible(character), "{:x}", u32::from(character));
        }
        for character in "aZ0'\"%./@é陳م\u{301}😀𝅘𝅥€\u{fffd}".chars() {
            assert!(is_visible(character), "{:x}", u32::from(character));
        }
    }

    #[test]
    fn spellings_that_look_alike_are_one_name() {
        assert_eq!(id_form("Zoe\u{301}"), id_form("Zo\u{e9}"));
        assert_ne!(id_form("Ann"), id_form("ann"));
        for (one, other) in [
            ("Zo\u{e9}", "ZOE\u{301}"),
            ("Ann", "\u{ff21}\u{ff2e}\u{ff2e}"),
            ("Ann Lee", "ann  lee"),
            ("K", "\u{212a}"),
            ("A", "\u{1d400}"),
        ] {
            assert_eq!(display_key(one), display_key(other), "{one} {other}");
        }
        assert_ne!(display_key("Ann"), display_key("Anna"));
        assert_eq!(email_key("Jose\u{301}@Example.org"), email_key("jos\u{e9}@example.ORG"));
    }
}
