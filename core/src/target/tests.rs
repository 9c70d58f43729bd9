use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn endpoint(url: &str) -> Endpoint {
    Target::parse(url)
        .unwrap_or_else(|error| panic!("{url}: {error}"))
        .endpoints()[0]
        .clone()
}

#[test]
fn a_url_is_taken_apart() {
    // URL, `Host` header, port, path and query, key
    let table = [
        ("ws://a.example", "a.example", 80, "/", "a.example:80"),
        ("ws://a.example:80/", "a.example", 80, "/", "a.example:80"),
        (
            "WS://A.Example:8080/Ws?q=1&r",
            "a.example:8080",
            8080,
            "/Ws?q=1&r",
            "a.example:8080",
        ),
        ("ws://a.example?q", "a.example", 80, "/?q", "a.example:80"),
        ("ws://a.example/?", "a.example", 80, "/?", "a.example:80"),
        ("ws://a.example./x", "a.example.", 80, "/x", "a.example:80"),
        (
            "ws://bücher.example/é?ü",
            "xn--bcher-kva.example",
            80,
            "/%C3%A9?%C3%BC",
            "xn--bcher-kva.example:80",
        ),
        (
            "ws://127.0.0.1:65535/%20",
            "127.0.0.1:65535",
            65535,
            "/%20",
            "127.0.0.1:65535",
        ),
        ("ws://[::1]:9/", "[::1]:9", 9, "/", "[::1]:9"),
        (
            "ws://[2001:DB8:0:0::1]/a/../b",
            "[2001:db8::1]",
            80,
            "/b",
            "[2001:db8::1]:80",
        ),
        (
            "ws://u:p@a.example/@x",
            "a.example",
            80,
            "/@x",
            "a.example:80",
        ),
    ];
    for (url, authority, port, path_and_query, key) in table {
        let endpoint = endpoint(url);
        assert_eq!(endpoint.authority(), authority, "{url}");
        assert_eq!(endpoint.port(), port, "{url}");
        assert_eq!(endpoint.path_and_query(), path_and_query, "{url}");
        assert_eq!(&**endpoint.host_key(), key, "{url}");
    }
}

#[test]
fn an_address_needs_no_look_up_and_a_name_keeps_its_dot() {
    let table = [
        ("ws://127.0.0.1/", Host::Ip(Ipv4Addr::LOCALHOST.into())),
        ("ws://[::1]/", Host::Ip(Ipv6Addr::LOCALHOST.into())),
        ("ws://localhost/", Host::Domain("localhost".into())),
        ("ws://A.example./", Host::Domain("a.example.".into())),
    ];
    for (url, host) in table {
        assert_eq!(endpoint(url).host(), &host, "{url}");
    }
}

#[test]
fn a_url_that_cannot_be_dialled_is_refused_with_the_reason() {
    let label = "a".repeat(64);
    let long = format!("ws://{}.example/", vec!["a".repeat(60); 5].join("."));
    let table = [
        ("", "has no scheme"),
        ("a.example/ws", "has no scheme"),
        ("localhost:8080", "has no scheme"),
        ("//a.example/", "has no scheme"),
        ("1ws://a.example/", "has no scheme"),
        ("wss://a.example/", "needs TLS (`wss`), "),
        ("WSS://a.example/", "needs TLS (`wss`), "),
        ("http://a.example/", "has the scheme `http`"),
        ("https://a.example/", "has the scheme `https`"),
        ("ftp://a.example/", "has the scheme `ftp`"),
        ("ws:a.example", "has no `//`"),
        ("ws:/a.example", "has no `//`"),
        ("ws://", "has no host"),
        ("ws:///a", "has no host"),
        ("ws://:80/", "has no host"),
        ("ws://user@/", "has no host"),
        ("ws://./", "has no host"),
        ("ws://a.example/#top", "has a fragment"),
        ("ws://a.example/#", "has a fragment"),
        ("ws://a.example:0/", "has an impossible port"),
        ("ws://a.example:65536/", "has an impossible port"),
        ("ws://a.example:http/", "has an impossible port"),
        ("ws://[fe80::1%eth0]/", "has an IPv6 zone"),
        ("ws://[fe80::1%25eth0]:80/", "has an IPv6 zone"),
        (
            "ws://[::g]/",
            "has an impossible host (invalid IPv6 address)",
        ),
        (
            "ws://256.0.0.1/",
            "has an impossible host (invalid IPv4 address)",
        ),
        ("ws://a<b/", "has an impossible host"),
        ("ws://a..example/", "has a host with a part"),
        (&format!("ws://{label}.example/"), "has a host with a part"),
        (&long, "has a host of 312 bytes"),
        ("ws://a.example/ x", "has the character ' '"),
        (" ws://a.example/", "has the character ' '"),
        ("ws://a.example/\r\nHost: b", "has the character '\\r'"),
        ("ws://a.exam\tple/", "has the character '\\t'"),
        ("ws://a.example/\u{7f}", "has the character '\\u{7f}'"),
        ("ws://a.example/\u{2028}", "has the character '\\u{2028}'"),
        ("ws:\\\\a.example/", "has the character '\\\\'"),
        (
            "ws://a%3Ab:c@a.example/",
            "has user info that cannot be sent: a user name",
        ),
        (
            "ws://a:%0D%0A@a.example/",
            "has user info that cannot be sent: it contains",
        ),
        (
            "ws://a%3Ab@a.example/",
            "has user info that cannot be sent: a user name",
        ),
    ];
    for (url, wanted) in table {
        let error = Target::parse(url).unwrap_err();
        assert!(matches!(error, TargetError::Url { .. }), "{url}: {error:?}");
        let message = error.to_string();
        assert!(message.contains(wanted), "{url}: {message}");
        assert!(message.starts_with("the URL `"), "{url}: {message}");
        assert!(!message.contains(char::is_control), "{url}: {message:?}");
    }
}

#[test]
fn a_host_as_long_as_a_name_can_be_is_accepted() {
    let label = "a".repeat(63);
    let name = [&*label, &*label, &*label, &label[..61]].join(".");
    assert_eq!(name.len(), 253);
    for url in [format!("ws://{name}/"), format!("ws://{name}./")] {
        assert_eq!(endpoint(&url).port(), 80);
    }
    let error = Target::parse(&format!("ws://{name}a/")).unwrap_err();
    assert!(error.to_string().contains("254 bytes"), "{error}");
}

#[test]
fn further_urls_are_tried_in_the_order_in_which_they_were_added() {
    let target = Target::parse("ws://a.example/")
        .and_then(|target| target.or("ws://b.example/"))
        .unwrap();
    let keys: Vec<_> = target
        .endpoints()
        .iter()
        .map(|it| &**it.host_key())
        .collect();
    assert_eq!(keys, ["a.example:80", "b.example:80"]);
    let dialled = |index| {
        let attempt = target.attempt(index, AttemptRequest::default());
        attempt.endpoint().host_key().to_string()
    };
    assert_eq!(dialled(1), "b.example:80");
    assert_eq!(dialled(2), "a.example:80");
    assert!(target.or("ws://c.example:0/").is_err());
}

fn target() -> Target {
    Target::parse("ws://a.example/").unwrap()
}

#[test]
fn headers_that_cannot_be_sent_are_refused() {
    for (name, value) in [
        ("", "x"),
        ("A B", "x"),
        ("X-A", "a\r\nX-B: b"),
        ("X-A", "a\0"),
        ("Host", "b.example"),
        ("sec-websocket-key", "x"),
    ] {
        assert!(
            matches!(target().header(name, value), Err(TargetError::Header(_))),
            "{name}"
        );
        let request = AttemptRequest::default().header(name, value);
        assert!(matches!(request, Err(TargetError::Header(_))), "{name}");
    }
    let error = target()
        .header("X-A", "1")
        .and_then(|target| target.header("x-a", "2"))
        .unwrap_err();
    assert_eq!(error.to_string(), "the header `x-a` was given twice");
}

#[test]
fn subprotocols_are_offered_once_each_and_may_be_required() {
    let target = target().subprotocol("v2").unwrap();
    let target = target.subprotocol("v1").unwrap();
    assert_eq!(target.subprotocols(), ["v2".into(), "v1".into()]);
    for name in ["v2", "", "v 3", "v,3"] {
        assert!(target.clone().subprotocol(name).is_err(), "{name:?}");
    }
    assert_eq!(
        target.subprotocol_requirement(),
        SubprotocolRequirement::Optional
    );
    assert_eq!(
        target.require_subprotocol().subprotocol_requirement(),
        SubprotocolRequirement::Required
    );
}

#[test]
fn credentials_are_given_in_one_way_only() {
    let two = |result: Result<Target, TargetError>| {
        assert_eq!(
            result.unwrap_err().to_string(),
            "the URL `ws://a.example/` has user info, and an `Authorization` header was given too"
        );
    };
    let with_user_info = Target::parse("ws://u:p@a.example/").unwrap();
    two(with_user_info.header("AUTHORIZATION", "Bearer t"));
    let with_header = Target::parse("ws://b.example/")
        .and_then(|target| target.header("Authorization", "Bearer t"))
        .unwrap();
    two(with_header.or("ws://u@a.example/"));
    assert!(
        AttemptRequest::default()
            .header("Authorization", "Bearer t")
            .and_then(|request| request.url("ws://u@a.example/"))
            .is_err()
    );
}

/// The headers of an attempt as `name=value`.
fn headers(target: &Target, request: AttemptRequest) -> Vec<String> {
    let attempt = target.attempt(0, request);
    attempt
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

#[test]
fn user_info_is_sent_as_basic_credentials() {
    let target = Target::parse("ws://u:p@a.example/").unwrap();
    let endpoint = &target.endpoints()[0];
    assert_eq!(endpoint.authorization(), Some("Basic dTpw"));
    assert_eq!(endpoint.authority(), "a.example");
    assert_eq!(
        headers(&target, AttemptRequest::default()),
        ["Authorization=Basic dTpw"]
    );
    // Only to the endpoint that it belongs to.
    let target = target.or("ws://b.example/").unwrap();
    let attempt = target.attempt(1, AttemptRequest::default());
    assert_eq!(attempt.headers(), []);
}

#[test]
fn a_request_replaces_what_it_names_and_leaves_the_rest() {
    let request = AttemptRequest::default;
    let target = target()
        .header("Authorization", "Bearer old")
        .and_then(|target| target.header("X-A", "1"))
        .and_then(|target| target.subprotocol("v1"))
        .unwrap();

    let unchanged = target.attempt(0, request());
    assert_eq!(unchanged.endpoint(), &target.endpoints()[0]);
    assert_eq!(unchanged.headers(), target.headers());
    assert_eq!(unchanged.subprotocols(), target.subprotocols());

    let fresh = request()
        .header("authorization", "Bearer new")
        .and_then(|request| request.header("X-B", "2"))
        .unwrap();
    assert_eq!(
        headers(&target, fresh),
        ["X-A=1", "authorization=Bearer new", "X-B=2"]
    );

    let elsewhere = request()
        .url("ws://u:p@b.example/b?q")
        .and_then(|request| request.subprotocol("v3"))
        .and_then(|request| request.subprotocol("v2"))
        .unwrap();
    assert_eq!(
        headers(&target, elsewhere.clone()),
        ["X-A=1", "Authorization=Basic dTpw"]
    );
    let attempt = target.attempt(0, elsewhere);
    assert_eq!(attempt.endpoint().path_and_query(), "/b?q");
    assert_eq!(attempt.subprotocols(), ["v3".into(), "v2".into()]);

    let same_credentials = request().url("ws://b.example/").unwrap();
    assert_eq!(
        headers(&target, same_credentials),
        ["Authorization=Bearer old", "X-A=1"]
    );

    let target = Target::parse("ws://u:p@a.example/").unwrap();
    let fresh = request().header("Authorization", "Bearer new").unwrap();
    assert_eq!(headers(&target, fresh), ["Authorization=Bearer new"]);
    let without_user_info = request().url("ws://b.example/").unwrap();
    assert_eq!(headers(&target, without_user_info), [""; 0]);
}

#[test]
fn an_endpoint_shows_where_it_goes_and_nothing_secret() {
    let table = [
        ("ws://a.example", "ws://a.example/"),
        (
            "ws://u:canary@a.example:81/p?t=canary",
            "ws://a.example:81/p?…",
        ),
        ("ws://canary@[::1]/p?", "ws://[::1]/p?…"),
    ];
    for (url, shown) in table {
        assert_eq!(endpoint(url).to_string(), shown);
        assert_eq!(format!("{:?}", endpoint(url)), format!("Endpoint({shown})"));
    }
}

#[test]
fn no_form_of_a_target_shows_a_secret() {
    let url = "ws://canary:canary@a.example/path?token=canary";
    let secrets = ["canary", "Y2FuYXJ5"];
    let target = Target::parse(url)
        .and_then(|target| target.header("Cookie", "canary"))
        .and_then(|target| target.header("X-Api-Key", "canary"))
        .unwrap();
    let request = AttemptRequest::default()
        .url(url)
        .and_then(|request| request.header("Proxy-Authorization", "canary"))
        .unwrap();
    let attempt = target.attempt(0, request.clone());
    assert!(
        attempt
            .headers()
            .iter()
            .any(|(_, v)| v.contains("Y2FuYXJ5"))
    );
    let conflict = target
        .clone()
        .header("Authorization", "canary")
        .unwrap_err();
    for shown in [
        format!("{target:?}"),
        format!("{request:?}"),
        format!("{attempt:?}"),
        format!("{conflict} {conflict:?}"),
    ] {
        assert!(shown.contains("a.example/path"), "{shown}");
        assert!(!secrets.iter().any(|it| shown.contains(it)), "{shown}");
    }
}

#[test]
fn no_refusal_of_a_url_or_header_shows_a_secret() {
    for url in [
        "wss://u:canary@a.example/?canary",
        "http://canary@a.example/?canary",
        "ws://u:canary@a.example:0/#canary",
        "ws://u:can/ary:canary@a.example:x/",
        "ws://u:canary?canary@a.example/#",
        "u:canary@a.example/path?canary",
        "ws:u:canary@a.example",
        "canary@a.example",
        "http://a.example/?email=x@canary",
        "@canary?@://a.example",
        "ws://u:canary%0A@a.example/",
        "ws://u:canary @a.example/",
    ] {
        let error = Target::parse(url).unwrap_err();
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("canary"), "{url}: {shown}");
        }
    }
    // And it still shows which URL it is.
    let error = Target::parse("wss://u:canary@a.example/feed?canary").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the URL `wss://a.example/feed?…`"),
        "{error}"
    );
    let error = target().header("Cookie", "canary\r\n").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
    let long = Target::parse(&format!("http://{}", "x".repeat(100_000))).unwrap_err();
    assert!(long.to_string().len() < 400);
}

proptest! {
    #[test]
    fn whatever_is_accepted_can_stand_in_a_request(
        url in "(ws://)?[a-z0-9.:@%/?#\\[\\]\\\\ \\r\\n-]{0,40}|ws://\\PC{0,30}",
    ) {
        let Ok(target) = Target::parse(&url) else { return Ok(()) };
        let endpoint = &target.endpoints()[0];
        for text in [endpoint.authority(), endpoint.path_and_query()] {
            prop_assert!(!text.is_empty());
            prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()), "{text:?}");
        }
        prop_assert!(endpoint.path_and_query().starts_with('/'));
        prop_assert_ne!(endpoint.port(), 0);
        // What is shown parses again, and means the same place.
        let shown = endpoint.to_string().replace('…', "");
        let again = Target::parse(&shown).expect("a shown endpoint is a URL");
        prop_assert_eq!(again.endpoints()[0].host(), endpoint.host());
        prop_assert_eq!(again.endpoints()[0].host_key(), endpoint.host_key());
    }
}
