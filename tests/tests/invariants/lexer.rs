//! Takes a Rust file apart just far enough: code, strings, and no comments or tests.

/// A file without its comments and without its `#[cfg(test)]` modules.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// The code; comments are gone and every string is empty. Lines keep their numbers.
    pub(crate) code: String,
    /// The strings, each with the line that it begins in (from 1).
    pub(crate) strings: Vec<(usize, String)>,
}

impl Source {
    /// Takes `text` apart.
    pub(crate) fn new(text: &str) -> Self {
        let chars: Vec<char> = without_tests(text).chars().collect();
        let mut source = Self::default();
        let mut at = 0;
        while let Some(&char) = chars.get(at) {
            let rest = &chars[at..];
            at += match char {
                '/' if rest.starts_with(&['/', '/']) => {
                    rest.iter().take_while(|&&c| c != '\n').count()
                }
                '/' if rest.starts_with(&['/', '*']) => source.skip_comment(rest),
                '"' => source.string(rest, 0, true),
                'r' if !in_word(&chars, at) => match raw_hashes(&rest[1..]) {
                    Some(hashes) => source.string(&rest[1 + hashes..], hashes, false) + 1 + hashes,
                    None => source.code(rest, 1),
                },
                '\'' => source.code(rest, char_literal(rest)),
                _ => source.code(rest, 1),
            };
        }
        source
    }

    fn code(&mut self, rest: &[char], count: usize) -> usize {
        self.code.extend(&rest[..count]);
        count
    }

    /// The string that begins at the quote; returns how long it is in the text.
    fn string(&mut self, rest: &[char], hashes: usize, escapes: bool) -> usize {
        let (mut at, mut value) = (1, String::new());
        let line = self.line();
        while let Some(&char) = rest.get(at) {
            if escapes && char == '\\' {
                value.extend(rest.get(at + 1).filter(|&&c| c != '\n'));
                self.code.extend(rest.get(at + 1).filter(|&&c| c == '\n'));
                at += 2;
                continue;
            }
            let closing = rest[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count();
            if char == '"' && closing == hashes {
                break;
            }
            value.push(char);
            self.code.extend((char == '\n').then_some('\n'));
            at += 1;
        }
        self.code.push_str("\"\"");
        self.strings.push((line, value));
        (at + 1 + hashes).min(rest.len())
    }

    fn skip_comment(&mut self, rest: &[char]) -> usize {
        let (mut at, mut depth) = (0, 0);
        while at < rest.len() {
            match &rest[at..] {
                ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
                ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
                [char, ..] => {
                    self.code.extend((*char == '\n').then_some('\n'));
                    at += 1;
                }
                [] => break,
            }
            if depth == 0 {
                break;
            }
        }
        at
    }

    fn line(&self) -> usize {
        self.code.matches('\n').count() + 1
    }

    /// The identifiers of the code, each with its line (from 1).
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines()).flat_map(|(number, line)| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|word| !word.is_empty())
                .map(move |word| (number, word))
        })
    }
}

/// The text up to the tests, which stand at the end of a file.
pub(crate) fn without_tests(text: &str) -> &str {
    let tests = "\n#[cfg(test)]\nmod ";
    text.match_indices(tests)
        .find(|(at, _)| text[at + tests.len()..].lines().next().is_some_and(|l| l.ends_with('{')))
        .map_or(text, |(at, _)| &text[..=at])
}

fn in_word(chars: &[char], at: usize) -> bool {
    // The b of br"" belongs to the string, too.
    let word = |c: char| (c.is_alphanumeric() || c == '_') && c != 'b';
    at > 0 && word(chars[at - 1])
}

/// How many hashes a raw string has; none when it is not one.
fn raw_hashes(rest: &[char]) -> Option<usize> {
    let hashes = rest.iter().take_while(|&&c| c == '#').count();
    (rest.get(hashes) == Some(&'"')).then_some(hashes)
}

/// How long a char literal is; 1 for the quote of a lifetime.
fn char_literal(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', _, tail @ ..] => 4 + tail.iter().take_while(|&&c| c != '\'').count(),
        ['\'', _, '\'', ..] => 3,
        _ => 1,
    }
    .min(rest.len())
}

#[test]
fn comments_go_strings_are_kept_apart_and_lines_keep_their_numbers() {
    let text = "let a = \"x // y\"; // \"z\"\n/* \" /* */ \n */ let b = r#\"q\"q\"#;\n\
                let c = ('\"', '\\'', '\\u{1}'); fn f<'a>(a: &'a str) {} let d = b\"e\\\"f\";";
    let source = Source::new(text);
    let strings = [(1, "x // y"), (3, "q\"q"), (4, "e\"f")];
    assert_eq!(source.strings, strings.map(|(line, s)| (line, s.to_owned())));
    assert_eq!(source.code.lines().count(), text.lines().count());
    assert!(source.words().any(|word| word == (4, "str")));
    assert!(!source.code.contains('z') && !source.code.contains('/'));
}

#[test]
fn tests_at_the_end_are_cut_off() {
    let text = "fn a() {}\n#[cfg(test)]\nmod b;\nfn c() {}\n#[cfg(test)]\nmod tests {\n    x\n}\n";
    assert_eq!(without_tests(text), "fn a() {}\n#[cfg(test)]\nmod b;\nfn c() {}\n");
}
