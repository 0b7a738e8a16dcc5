//! Parses `.env`: lines of `NAME=value`, without substitution, because a `$` in a password is literal.
//!
//! - Empty lines, and lines that begin with `#`, are skipped; so is what follows a blank and `#` behind a value.
//! - `export ` before a name is allowed, and blanks around the name, the `=` and the value.
//! - A value in `'…'` is literal. In `"…"` a backslash escapes `"`, `\`, `$` and `` ` ``, as in a shell, and is literal before
//!   all other characters. A value without quotes contains no blanks, and a backslash in it is literal.
//! - Lines end in LF or CRLF. A byte order mark at the beginning is skipped.

/// The content of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The line number, from 1.
    pub(super) number: usize,
    /// The name and the value, or the error, which never quotes the line because it may contain a secret.
    pub(super) found: Result<(String, String), &'static str>,
}

const NOT_A_VARIABLE: &str = "this is no NAME=value; a value with spaces or # needs quotes";
const UNCLOSED: &str = "the quotes around this value do not end on its line";

/// Parses all lines that are not blank or comments.
pub(super) fn parse(text: &str) -> impl Iterator<Item = Line> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().enumerate().filter_map(|(index, line)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        Some(Line { number: index + 1, found: variable(line) })
    })
}

fn variable(line: &str) -> Result<(String, String), &'static str> {
    let (name, value) = line.split_once('=').ok_or(NOT_A_VARIABLE)?;
    let name = name.trim_end();
    let name = name.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).map_or(name, str::trim_start);
    let mut letters = name.chars();
    let is_name = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "_.".contains(letter));
    if !is_name {
        return Err(NOT_A_VARIABLE);
    }
    let value = value.trim_start();
    let (value, rest) = match value.chars().next() {
        Some('\'') => single_quoted(value)?,
        Some('"') => double_quoted(value)?,
        _ => bare(value),
    };
    // After a value only a comment may follow, with a blank before it.
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return Err(NOT_A_VARIABLE);
    }
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') { Ok((name.to_owned(), value)) } else { Err(NOT_A_VARIABLE) }
}

fn bare(text: &str) -> (String, &str) {
    if text.starts_with('#') {
        return (String::new(), "");
    }
    let (value, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    (value.to_owned(), rest)
}

fn single_quoted(text: &str) -> Result<(String, &str), &'static str> {
    let (value, rest) = text.get(1..).and_then(|text| text.split_once('\'')).ok_or(UNCLOSED)?;
    Ok((value.to_owned(), rest))
}

fn double_quoted(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            '\\' => {
                let escaped = letters.next_if(|(_, next)| "\"\\$`".contains(*next));
                value.push(escaped.map_or('\\', |(_, next)| next));
            }
            other => value.push(other),
        }
    }
    Err(UNCLOSED)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(line: &str) -> Option<String> {
        let mut lines = parse(line);
        let found = lines.next()?.found.ok()?;
        assert_eq!((found.0.as_str(), lines.next()), ("A", None), "{line}");
        Some(found.1)
    }

    #[test]
    fn values_are_taken_as_they_stand() {
        for (line, expected) in [
            ("A=b", "b"),
            ("A=$b", "$b"),
            ("A=p$HOME-${HOME}x", "p$HOME-${HOME}x"),
            ("A=\"p$HOME ${HOME}\"", "p$HOME ${HOME}"),
            ("A='p$HOME \"\\n'", "p$HOME \"\\n"),
            ("A=\"a\\\"b\\\\c\\$d\\n\"", "a\"b\\c$d\\n"),
            ("A=C:\\new\\$x", "C:\\new\\$x"),
            ("A=\"C:\\new\"", "C:\\new"),
            ("A=b#c", "b#c"),
            ("A=b # c", "b"),
            ("A=b\t#c", "b"),
            ("A=\"b # c\" # d", "b # c"),
            ("A=", ""),
            ("A= # nothing", ""),
            ("A=''", ""),
            ("A=#b", ""),
            (" export  A = b ", "b"),
            ("export\tA=b", "b"),
            ("\u{feff}A=b", "b"),
            ("A=a=b==", "a=b=="),
            ("A=postgresql://u:p%40$x@h/db?a=b&c=d", "postgresql://u:p%40$x@h/db?a=b&c=d"),
            ("A=it's", "it's"),
            ("A=日本", "日本"),
        ] {
            assert_eq!(value(line).as_deref(), Some(expected), "{line}");
            assert_eq!(value(&format!("\n# comment\n{}\r\n", line.trim_start_matches('\u{feff}'))).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_cannot_be_read_is_reported_by_line() {
        for (line, why) in [
            ("x y z", NOT_A_VARIABLE),
            ("A=b c", NOT_A_VARIABLE),
            ("A B=c", NOT_A_VARIABLE),
            ("=b", NOT_A_VARIABLE),
            ("1A=b", NOT_A_VARIABLE),
            ("A='b'c", NOT_A_VARIABLE),
            ("A='b'#c", NOT_A_VARIABLE),
            ("A=\"b", UNCLOSED),
            ("A=\"b\\\"", UNCLOSED),
            ("A='b", UNCLOSED),
        ] {
            let lines: Vec<Line> = parse(&format!("B=c\n\n{line}\nD=e")).collect();
            assert_eq!(lines[1], Line { number: 3, found: Err(why) }, "{line}");
            assert_eq!((lines.len(), lines[2].number), (3, 4));
        }
        let joined = parse("exportA=b").next().unwrap().found.unwrap();
        assert_eq!(joined.0, "exportA");
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            parse(&text).for_each(drop);
        }

        #[test]
        fn a_quoted_value_is_read_back(value in "[^\r\n]*") {
            let escape = |c| "\"\\$`".contains(c).then_some('\\');
            let quoted: String = value.chars().flat_map(|c| escape(c).into_iter().chain([c])).collect();
            let line = parse(&format!("A=\"{quoted}\"")).next().unwrap();
            prop_assert_eq!(line.found, Ok(("A".to_owned(), value)));
        }
    }
}
