//! User info of a URL as basic credentials (RFC 7617).

use data_encoding::BASE64;
use percent_encoding::percent_decode_str;

use super::UrlProblem;

/// The value of the `Authorization` header for a URL's user name and password, both percent-encoded.
pub(super) fn basic_authorization(
    username: &str,
    password: Option<&str>,
) -> Result<Box<str>, UrlProblem> {
    // A `%` without two digits after it stands for itself, as it does for the URL parser.
    let mut credentials: Vec<u8> = percent_decode_str(username).collect();
    if credentials.contains(&b':') {
        return Err(UrlProblem::UserInfo("a user name cannot contain `:`"));
    }
    credentials.push(b':');
    credentials.extend(percent_decode_str(password.unwrap_or_default()));
    if credentials.iter().any(u8::is_ascii_control) {
        return Err(UrlProblem::UserInfo("it contains a control character"));
    }
    Ok(format!("Basic {}", BASE64.encode(&credentials)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

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
