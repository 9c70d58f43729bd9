//! The header that lists extensions (RFC 6455 §9.1).

/// An extension that the server selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::websocket) struct Extension {
    pub(in crate::websocket) name: String,
    pub(in crate::websocket) parameters: Vec<Parameter>,
}

/// A parameter of an extension, its value without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::websocket) struct Parameter {
    pub(in crate::websocket) name: String,
    pub(in crate::websocket) value: Option<String>,
}

/// The header is not as RFC 6455 §9.1 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::websocket) struct NotExtensions;

/// Parses the value of one `Sec-WebSocket-Extensions` header. Several headers are one list, in order, and
/// it is the list that must not be empty: the caller sees to that.
///
/// Empty elements of the list are skipped (RFC 9110 §5.6.1).
pub(in crate::websocket) fn parse_extensions(
    value: &[u8],
) -> Result<Vec<Extension>, NotExtensions> {
    let mut rest = value;
    let mut extensions = Vec::new();
    loop {
        skip_space(&mut rest);
        if !rest.is_empty() && rest[0] != b',' {
            extensions.push(extension(&mut rest)?);
        }
        match rest.split_first() {
            None => return Ok(extensions),
            Some((b',', after)) => rest = after,
            Some(_) => return Err(NotExtensions),
        }
    }
}

/// Whether the byte may stand in a token (RFC 9110 §5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

fn extension(rest: &mut &[u8]) -> Result<Extension, NotExtensions> {
    let name = token(rest)?;
    let mut parameters = Vec::new();
    skip_space(rest);
    while let Some((b';', after)) = rest.split_first() {
        *rest = after;
        skip_space(rest);
        parameters.push(parameter(rest)?);
        skip_space(rest);
    }
    Ok(Extension { name, parameters })
}

fn parameter(rest: &mut &[u8]) -> Result<Parameter, NotExtensions> {
    let name = token(rest)?;
    skip_space(rest);
    let mut value = None;
    if let Some((b'=', after)) = rest.split_first() {
        *rest = after;
        skip_space(rest);
        value = Some(match rest.first() {
            Some(b'"') => quoted(rest)?,
            Some(_) | None => token(rest)?,
        });
    }
    Ok(Parameter { name, value })
}

fn token(rest: &mut &[u8]) -> Result<String, NotExtensions> {
    let len = rest.iter().take_while(|&&byte| is_token_byte(byte)).count();
    let (token, after) = rest.split_at(len);
    *rest = after;
    text(token.to_vec())
}

/// A quoted string; what it stands for must be a token all the same (RFC 6455 §9.1).
fn quoted(rest: &mut &[u8]) -> Result<String, NotExtensions> {
    let mut bytes = rest.iter().copied().skip(1);
    let mut unquoted = Vec::new();
    let mut len = 1;
    loop {
        len += 1;
        match bytes.next().ok_or(NotExtensions)? {
            b'"' => break,
            b'\\' => {
                len += 1;
                unquoted.push(bytes.next().ok_or(NotExtensions)?);
            }
            byte => unquoted.push(byte),
        }
    }
    *rest = &rest[len..];
    text(unquoted)
}

fn text(token: Vec<u8>) -> Result<String, NotExtensions> {
    if token.is_empty() || !token.iter().copied().all(is_token_byte) {
        return Err(NotExtensions);
    }
    Ok(String::from_utf8(token).expect("a token is ASCII"))
}

fn skip_space(rest: &mut &[u8]) {
    while let Some((b' ' | b'\t', after)) = rest.split_first() {
        *rest = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The list in one notation: `name[parameter=value parameter]`.
    fn shown(value: &str) -> Option<String> {
        let extensions = parse_extensions(value.as_bytes()).ok()?;
        let shown = extensions.iter().map(|extension| {
            let parameters = extension.parameters.iter().map(|p| match &p.value {
                Some(value) => format!("{}={value}", p.name),
                None => p.name.clone(),
            });
            let parameters: Vec<_> = parameters.collect();
            format!("{}[{}]", extension.name, parameters.join(" "))
        });
        Some(shown.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn a_list_of_extensions_is_read_with_its_parameters() {
        for (value, expected) in [
            ("", ""),
            ("a", "a[]"),
            (" a ", "a[]"),
            ("a,b", "a[],b[]"),
            (",, a ,\t, b ,", "a[],b[]"),
            ("a;x", "a[x]"),
            ("a ; x = 1 ; y;z=\"2\" , b;w", "a[x=1 y z=2],b[w]"),
            ("a;x=\"1\\0\"", "a[x=10]"),
            ("a;x;x", "a[x x]"),
        ] {
            assert_eq!(shown(value).as_deref(), Some(expected), "{value:?}");
        }
    }

    #[test]
    fn a_list_that_breaks_the_grammar_is_refused() {
        for value in [
            ";",
            "=",
            "a;",
            "a;;x",
            "a;x=",
            "a;x=;y",
            "a b",
            "a;x y",
            "a;x=1 2",
            "a;x=\"",
            "a;x=\"1",
            "a;x=\"1\\",
            "a;x=\"\"",
            "a;x=\"1 2\"",
            "a;x=\"1\"2",
            "a=1",
            "\"a\"",
            "a;\"x\"",
            "a;x==1",
            "a\u{e9}",
            "a;x=\u{1}",
            "a/b",
            "(a)",
        ] {
            assert_eq!(shown(value), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_the_parser_panic(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_extensions(&value);
        }

        #[test]
        fn nearly_valid_values_do_not_make_the_parser_panic(value in "[ab,;=\"\\\\ \t10]{0,24}") {
            let _ = parse_extensions(value.as_bytes());
        }
    }
}
