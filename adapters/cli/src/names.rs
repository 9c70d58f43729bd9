//! What connections are called.

use std::collections::BTreeSet;

use crate::args::NamedUrl;

/// Gives out names, each once.
#[derive(Debug, Default)]
pub(crate) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// Takes a name that was chosen; `false` if another connection has it.
    #[must_use]
    pub(crate) fn take(&mut self, name: &str) -> bool {
        self.taken.insert(name.to_owned())
    }

    /// A name for a connection that was given none: the short form of its URL, with `#2` and so on if that is taken.
    pub(crate) fn derive(&mut self, url: &str) -> String {
        let short = short_form(url);
        let mut name = short.clone();
        let mut number = 1_u64;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = format!("{short}#{number}");
        }
        name
    }
}

/// Names the connections that the command line asks for.
pub(crate) fn name_urls(
    urls: Vec<NamedUrl>,
    names: &mut Names,
) -> Result<Vec<(String, String)>, String> {
    // Chosen names first: a derived one gives way.
    for name in urls.iter().filter_map(|url| url.name.as_ref()) {
        if !names.take(name) {
            return Err(format!("two connections are called `{name}`"));
        }
    }
    let named = urls.into_iter().map(|NamedUrl { name, url }| {
        let name = name.unwrap_or_else(|| names.derive(&url));
        (name, url)
    });
    Ok(named.collect())
}

/// Host, port and path: no scheme, user info or query, which could be long or secret.
fn short_form(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = after_scheme.find(['?', '#']).unwrap_or(after_scheme.len());
    let (authority, path) = match after_scheme[..end].split_once('/') {
        Some((authority, path)) => (authority, path),
        None => (&after_scheme[..end], ""),
    };
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    match path {
        "" => host.to_owned(),
        path => format!("{host}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_without_secrets() {
        let table = [
            ("ws://a.example", "a.example"),
            ("ws://a.example/", "a.example"),
            (
                "ws://user:secret@a.example:81/x/y?token=secret",
                "a.example:81/x/y",
            ),
            ("ws://a.example?token=a/b", "a.example"),
            ("ws://[::1]:9/x", "[::1]:9/x"),
        ];
        for (url, name) in table {
            assert_eq!(Names::default().derive(url), name);
        }
    }

    #[test]
    fn no_name_is_given_out_twice() {
        let mut names = Names::default();
        assert!(names.take("a/x#2") && !names.take("a/x#2"));
        let derived: Vec<_> = (0..3).map(|_| names.derive("ws://a/x")).collect();
        assert_eq!(derived, ["a/x", "a/x#3", "a/x#4"]);
    }
}
