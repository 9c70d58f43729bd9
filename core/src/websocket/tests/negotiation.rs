//! What is offered and agreed about compression (RFC 7692 §5, §7.1).

use crate::websocket::deflate::{Agreement, Context, Offer, ParameterProblem, WindowBits};
use crate::websocket::{
    Accepted, HandshakeKey, Progress, ResponseReader, UpgradeError, UpgradeLimits, UpgradeRequest,
    write_request,
};

const PLAIN: Offer = Offer {
    server_context: Context::TakenOver,
    client_context: Context::TakenOver,
    server_window: WindowBits::MAX,
    client_window: WindowBits::MAX,
};

fn bits(bits: u8) -> WindowBits {
    WindowBits::new(bits).unwrap()
}

/// Every offer of contexts, with windows from the edges and the middle.
fn offers() -> impl Iterator<Item = Offer> {
    const CONTEXTS: [Context; 2] = [Context::TakenOver, Context::PerMessage];
    const WINDOWS: [u8; 4] = [8, 9, 12, 15];
    let all = 0..CONTEXTS.len() * CONTEXTS.len() * WINDOWS.len() * WINDOWS.len();
    all.map(|index| Offer {
        server_context: CONTEXTS[index % 2],
        client_context: CONTEXTS[index / 2 % 2],
        server_window: bits(WINDOWS[index / 4 % 4]),
        client_window: bits(WINDOWS[index / 16]),
    })
}

/// What comes of these `Sec-WebSocket-Extensions` headers in a 101.
fn answer(offer: Option<Offer>, headers: &[&str]) -> Result<Option<Agreement>, UpgradeError> {
    let key = HandshakeKey::from_nonce([7; 16]);
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        key.accept()
    );
    for header in headers {
        response += &format!("Sec-WebSocket-Extensions: {header}\r\n");
    }
    response += "\r\n";
    let read = |pieces: &[&[u8]]| {
        let mut reader = ResponseReader::new(key.clone()).deflate(offer);
        for piece in pieces {
            if let Progress::Done {
                accepted: Accepted { deflate, .. },
                ..
            } = reader.read(&UpgradeLimits::default(), &[], piece)?
            {
                return Ok(deflate);
            }
        }
        panic!("the response is complete");
    };
    let response = response.as_bytes();
    let whole = read(&[response]);
    let bytes: Vec<_> = response.chunks(1).collect();
    assert_eq!(read(&bytes), whole, "byte by byte: {headers:?}");
    whole
}

#[track_caller]
fn check(offer: Offer, parameters: &str, expected: Result<Agreement, (&str, ParameterProblem)>) {
    let header = format!("permessage-deflate{parameters}");
    let expected =
        expected
            .map(Some)
            .map_err(|(parameter, problem)| UpgradeError::ExtensionParameter {
                parameter: parameter.into(),
                problem,
            });
    assert_eq!(
        answer(Some(offer), &[&header]),
        expected,
        "{offer}: {header}"
    );
}

#[test]
fn an_offer_says_what_differs_from_the_default() {
    let table = [
        (PLAIN, "permessage-deflate; client_max_window_bits"),
        (
            Offer {
                server_context: Context::PerMessage,
                client_context: Context::PerMessage,
                server_window: bits(10),
                client_window: bits(8),
            },
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10; client_max_window_bits=8",
        ),
    ];
    for (offer, expected) in table {
        assert_eq!(offer.to_string(), expected);
        let mut out = Vec::new();
        let request = UpgradeRequest {
            host: "a.example",
            path_and_query: "/",
            headers: &[],
            subprotocols: &[],
            deflate: Some(offer),
        };
        write_request(&mut out, &request, [0; 16]);
        let out = String::from_utf8(out).unwrap();
        let line = format!("\r\nSec-WebSocket-Extensions: {expected}\r\n");
        assert!(out.contains(&line), "{out}");
    }
}

#[test]
fn a_server_that_says_nothing_leaves_the_connection_uncompressed() {
    for offer in offers() {
        assert_eq!(answer(Some(offer), &[]), Ok(None));
    }
    assert_eq!(answer(None, &[]), Ok(None));
}

#[test]
fn a_list_without_an_extension_fails_the_handshake_rfc_6455_9_1() {
    for offer in [None, Some(PLAIN)] {
        for headers in [
            &[""][..],
            &[","],
            &[" , ,"],
            &["\t"],
            &["", ""],
            &[",", " "],
        ] {
            let quoted = headers[0].trim_matches([' ', '\t']);
            let error = UpgradeError::MalformedExtensions(quoted.into());
            assert_eq!(answer(offer, headers), Err(error), "{headers:?}");
        }
    }
    // Several headers are one list, and a list may have empty elements.
    let agreed = Ok(Some(Agreement {
        server_context: Context::TakenOver,
        client_context: Context::TakenOver,
        server_window: WindowBits::MAX,
        client_window: WindowBits::MAX,
    }));
    for headers in [
        &["", "permessage-deflate"][..],
        &["permessage-deflate", ""],
        &[", permessage-deflate ,"],
    ] {
        assert_eq!(answer(Some(PLAIN), headers), agreed, "{headers:?}");
    }
}

#[test]
fn an_extension_that_was_not_offered_fails_the_handshake_rfc_6455_4_1() {
    let unoffered = |name: &str| Err(UpgradeError::UnofferedExtension(name.into()));
    let deflate = "permessage-deflate";
    assert_eq!(answer(None, &[deflate]), unoffered(deflate));
    for name in [
        "permessage-bzip2",
        "x-webkit-deflate-frame",
        "Permessage-Deflate",
        "permessage-deflate2",
    ] {
        assert_eq!(answer(Some(PLAIN), &[name]), unoffered(name));
        assert_eq!(
            answer(Some(PLAIN), &[&format!("{deflate}, {name}")]),
            unoffered(name)
        );
        assert_eq!(answer(Some(PLAIN), &[deflate, name]), unoffered(name));
    }
}

#[test]
fn the_extension_selected_twice_fails_the_handshake_rfc_7692_5() {
    let deflate = "permessage-deflate";
    let repeated = Err(UpgradeError::RepeatedExtension(deflate.into()));
    let twice = "permessage-deflate, permessage-deflate; client_no_context_takeover";
    assert_eq!(answer(Some(PLAIN), &[twice]), repeated);
    assert_eq!(answer(Some(PLAIN), &[deflate, deflate]), repeated);
}

#[test]
fn a_malformed_list_fails_the_handshake_rfc_6455_9_1() {
    for header in [
        "permessage-deflate;",
        "permessage-deflate client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=\"",
        "permessage-deflate; server_max_window_bits=\"\"",
        "permessage-deflate; server_max_window_bits=\"1 0\"",
        "permessage-deflate; =10",
        "permessage-deflate=10",
    ] {
        let error = UpgradeError::MalformedExtensions(header.into());
        assert_eq!(answer(Some(PLAIN), &[header]), Err(error));
    }
}

#[test]
fn context_takeover_is_what_either_side_ruled_out_rfc_7692_7_1_1() {
    for offer in offers() {
        for (server, client) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut parameters = String::new();
            if server {
                parameters += "; server_no_context_takeover";
            }
            if client {
                parameters += ";client_no_context_takeover";
            }
            if offer.server_window < WindowBits::MAX {
                parameters += &format!("; server_max_window_bits={}", offer.server_window.get());
            }
            let per_message = |is| match is {
                true => Context::PerMessage,
                false => Context::TakenOver,
            };
            let agreement = Agreement {
                server_context: per_message(server),
                client_context: per_message(client || offer.client_context == Context::PerMessage),
                server_window: offer.server_window,
                client_window: offer.client_window,
            };
            let expected = match (offer.server_context, server) {
                (Context::PerMessage, false) => {
                    Err(("server_no_context_takeover", ParameterProblem::Missing))
                }
                (Context::PerMessage, true) | (Context::TakenOver, _) => Ok(agreement),
            };
            check(offer, &parameters, expected);
        }
    }
}

#[test]
fn a_context_parameter_takes_no_value_and_stands_once_rfc_7692_7_1() {
    for name in ["server_no_context_takeover", "client_no_context_takeover"] {
        for value in ["1", "true", "\"x\"", "8"] {
            let error = Err((name, ParameterProblem::Valued));
            check(PLAIN, &format!("; {name}={value}"), error);
        }
        let error = Err((name, ParameterProblem::Repeated));
        check(PLAIN, &format!("; {name}; {name}"), error);
    }
}

#[test]
fn window_bits_are_8_to_15_and_no_more_than_offered_rfc_7692_7_1_2() {
    for offered in 8..=15 {
        let offer = Offer {
            server_window: bits(offered),
            client_window: bits(offered),
            ..PLAIN
        };
        let required = match offered {
            15 => String::new(),
            _ => format!("; server_max_window_bits={offered}"),
        };
        for value in 0..=99_u8 {
            for text in [
                value.to_string(),
                format!("\"{value}\""),
                format!("\"\\{value}\""),
            ] {
                let verdict = match value {
                    8..=15 if value <= offered => Ok(()),
                    8..=15 => Err(ParameterProblem::Exceeds { offered }),
                    _ => Err(ParameterProblem::NotWindowBits),
                };
                let name = "server_max_window_bits";
                let agreement = |server_window, client_window| Agreement {
                    server_context: Context::TakenOver,
                    client_context: Context::TakenOver,
                    server_window,
                    client_window,
                };
                let expected = verdict
                    .map(|()| agreement(bits(value), bits(offered)))
                    .map_err(|problem| (name, problem));
                check(offer, &format!("; {name}={text}"), expected);

                let name = "client_max_window_bits";
                let expected = verdict
                    .map(|()| agreement(bits(offered), bits(value)))
                    .map_err(|problem| (name, problem));
                check(offer, &format!("{required}; {name}={text}"), expected);
            }
        }
    }
}

#[test]
fn window_bits_are_a_plain_decimal_number_rfc_7692_7_1_2() {
    for name in ["server_max_window_bits", "client_max_window_bits"] {
        let error = Err((name, ParameterProblem::NotWindowBits));
        check(PLAIN, &format!("; {name}"), error);
        for junk in [
            "08",
            "010",
            "\"09\"",
            "+10",
            "-10",
            "1e1",
            "0xa",
            "10.0",
            "x",
            "256",
            "264",
            "266",
            "65546",
            "4294967306",
            "99999999999999999999999",
            "10x",
            "x10",
            "~10",
        ] {
            check(PLAIN, &format!("; {name}={junk}"), error);
        }
        let error = Err((name, ParameterProblem::Repeated));
        check(PLAIN, &format!("; {name}=10; {name}=10"), error);
    }
}

#[test]
fn a_smaller_window_that_was_required_must_be_granted_rfc_7692_7_1_2_1() {
    for offered in 8..15 {
        let offer = Offer {
            server_window: bits(offered),
            ..PLAIN
        };
        let error = Err(("server_max_window_bits", ParameterProblem::Missing));
        check(offer, "", error);
        check(offer, "; client_max_window_bits=8", error);
    }
}

#[test]
fn an_unknown_parameter_fails_the_handshake_and_is_quoted_within_bounds_rfc_7692_7_1() {
    for name in [
        "x",
        "Server_No_Context_Takeover",
        "server_max_window_bit",
        "8",
    ] {
        let error = Err((name, ParameterProblem::Unknown));
        check(PLAIN, &format!("; {name}"), error);
        check(PLAIN, &format!("; {name}=10"), error);
        check(
            PLAIN,
            &format!("; client_no_context_takeover; {name}"),
            error,
        );
    }
    let long = "x".repeat(5_000);
    let error = answer(Some(PLAIN), &[&format!("permessage-deflate; {long}")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the parameter \"{}\" of permessage-deflate is not known",
            &long[..64]
        )
    );
}
