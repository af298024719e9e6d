//! Text taken apart into statements, each ended by `;`.

/// The statements of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Statements {
    /// Those that are ended, without their `;` and without blank ones.
    pub(super) whole: Vec<String>,
    /// What stands behind the last `;`.
    pub(super) rest: String,
}

impl Statements {
    /// Cuts at each `;` that stands in no string, quoted name or comment.
    pub(super) fn of(text: &str) -> Self {
        let mut found = Self::default();
        let mut start = 0;
        let mut at = 0;
        while let Some(byte) = text.as_bytes().get(at) {
            let rest = &text[at..];
            at += match byte {
                b'\'' | b'"' => quoted(rest),
                _ if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
                _ if rest.starts_with("/*") => comment(rest),
                b';' => {
                    found.whole.push(text[start..at].trim().to_owned());
                    start = at + 1;
                    1
                }
                _ => rest.chars().next().map_or(1, char::len_utf8),
            };
        }
        found.whole.retain(|statement| !is_blank(statement));
        found.rest = text[start..].to_owned();
        found
    }
}

/// Whether there is nothing but space and comments.
pub(super) fn is_blank(text: &str) -> bool {
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let taken = match rest {
            rest if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            rest if rest.starts_with("/*") => comment(rest),
            _ => return false,
        };
        rest = rest[taken..].trim_start();
    }
    true
}

/// How long a quoted text is; a doubled quote stands for itself.
fn quoted(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut at = 1;
    while let Some(&byte) = text.as_bytes().get(at) {
        at += 1;
        if byte == quote {
            if text.as_bytes().get(at) != Some(&quote) {
                return at;
            }
            at += 1;
        }
    }
    text.len()
}

/// How long a comment is; they nest.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semicolon_ends_a_statement_only_where_it_stands_for_itself() {
        for (text, whole, rest) in [
            ("SELECT 1; SELECT 2;", vec!["SELECT 1", "SELECT 2"], ""),
            ("SELECT 1;\nSELECT", vec!["SELECT 1"], "\nSELECT"),
            ("SELECT ';''; ' || \"a;b\" ;", vec!["SELECT ';''; ' || \"a;b\""], ""),
            ("SELECT 1 -- no; end\n, 2; x", vec!["SELECT 1 -- no; end\n, 2"], " x"),
            ("/* a; /* b; */ c; */ SELECT 'ü;é';;", vec!["/* a; /* b; */ c; */ SELECT 'ü;é'"], ""),
            ("SELECT 'open; ", vec![], "SELECT 'open; "),
            (" ; -- only a comment;\n ;", vec![], ""),
        ] {
            let found = Statements::of(text);
            assert_eq!(
                (found.whole, found.rest.as_str()),
                (whole.into_iter().map(str::to_owned).collect(), rest),
                "{text}"
            );
        }
    }

    #[test]
    fn comments_alone_are_blank() {
        for blank in ["", " \n", "-- a", "/* b */ -- c\n"] {
            assert!(is_blank(blank), "{blank}");
        }
        assert!(!is_blank("-- a\n1"));
    }
}
