//! User info of a URL as basic credentials (RFC 7617).

use super::UrlProblem;

/// The value of the `Authorization` header for a URL's user name and password, both percent-encoded.
pub(super) fn basic_authorization(
    username: &str,
    password: Option<&str>,
) -> Result<Box<str>, UrlProblem> {
    let mut credentials = percent_decode(username);
    if credentials.contains(&b':') {
        return Err(UrlProblem::UserInfo("a user name cannot contain `:`"));
    }
    credentials.push(b':');
    credentials.extend(percent_decode(password.unwrap_or_default()));
    if credentials.iter().any(u8::is_ascii_control) {
        return Err(UrlProblem::UserInfo("it contains a control character"));
    }
    Ok(format!("Basic {}", base64(&credentials)).into())
}

/// A `%` without two digits after it stands for itself, as it does for the URL parser.
fn percent_decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match *rest {
            [] => return bytes,
            [b'%', high, low, ref after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push(hex_digit(high) << 4 | hex_digit(low));
                after
            }
            [byte, ref after @ ..] => {
                bytes.push(byte);
                after
            }
        };
    }
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Base64 with padding (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            // A group of n bytes has n + 1 digits.
            text.push(if digit <= group.len() {
                char::from(ALPHABET[(bits >> (18 - 6 * digit) & 0x3f) as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_specification() {
        let table = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in table {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn user_info_becomes_basic_credentials() {
        // The examples of RFC 7617 §2 and §2.1.
        assert_eq!(
            basic_authorization("Aladdin", Some("open%20sesame")).as_deref(),
            Ok("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        );
        assert_eq!(
            basic_authorization("test", Some("123%C2%A3")).as_deref(),
            Ok("Basic dGVzdDoxMjPCow==")
        );
        // Without a password, and with a percent sign that encodes nothing.
        assert_eq!(
            basic_authorization("user", None).as_deref(),
            Ok("Basic dXNlcjo=")
        );
        assert_eq!(
            basic_authorization("u", Some("5%zz%")).as_deref(),
            Ok("Basic dTo1JXp6JQ==")
        );
    }

    #[test]
    fn user_info_that_has_no_basic_form_is_refused() {
        for (username, password) in [("a%3Ab", None), ("a", Some("%0d%0ax: y")), ("%00", None)] {
            assert!(matches!(
                basic_authorization(username, password),
                Err(UrlProblem::UserInfo(_))
            ));
        }
    }
}
