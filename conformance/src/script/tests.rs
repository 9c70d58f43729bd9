use super::*;

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn acts(script: &mut Script) -> Vec<Act> {
    std::iter::from_fn(|| script.poll()).collect()
}

fn start(steps: &[Step]) -> Script {
    let mut script = Script::new(steps, BTreeSet::new());
    script.receive(REQUEST);
    script
}

#[test]
fn an_upgrade_answers_the_key_of_the_request() {
    let mut script = start(&[Step::Upgrade(Vec::new())]);
    let acts = acts(&mut script);
    let [Act::Write(response)] = acts.as_slice() else {
        panic!("{acts:?}");
    };
    let response = String::from_utf8(response.clone()).unwrap();
    // The accept value of RFC 6455 §1.3's example.
    assert!(response.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(script.is_done());
}

#[test]
fn corked_writes_leave_as_one() {
    let steps = [
        Step::Cork,
        Step::Upgrade(Vec::new()),
        Step::SendText("early".into()),
        Step::Uncork,
    ];
    let mut script = start(&steps);
    let acts = acts(&mut script);
    let [Act::Write(bytes)] = acts.as_slice() else {
        panic!("{acts:?}");
    };
    assert!(bytes.ends_with(b"\x81\x05early"));
}

#[test]
fn a_pause_holds_the_steps_after_it_and_not_the_pongs() {
    let steps = [
        Step::Upgrade(Vec::new()),
        Step::Sleep(Duration::from_millis(5)),
        Step::SendText("late".into()),
    ];
    let mut script = start(&steps);
    assert_eq!(acts(&mut script).len(), 2);
    let ping = [0x89, 0x80, 1, 2, 3, 4];
    script.receive(&ping);
    assert_eq!(acts(&mut script), [Act::Write(vec![0x8a, 0x00])]);
    script.woke();
    assert_eq!(acts(&mut script), [Act::Write(b"\x81\x04late".to_vec())]);
}

#[test]
fn an_expectation_that_fails_is_a_problem() {
    let steps = [Step::Upgrade(Vec::new()), Step::ExpectText("a".into())];
    let mut script = start(&steps);
    script.receive(&[0x81, 0x81, 0, 0, 0, 0, b'b']);
    assert_eq!(script.problem(), Some("expected \"a\", not \"b\""));
    let mut script = start(&steps);
    script.client_gone();
    assert!(script.problem().unwrap().contains("the client left"));
}

#[test]
fn a_stalled_server_hears_what_it_missed_when_it_reads_again() {
    let steps = [
        Step::Upgrade(Vec::new()),
        Step::Stall,
        Step::Await("go".into()),
        Step::Unstall,
        Step::ExpectText("b".into()),
    ];
    let mut script = start(&steps);
    script.receive(&[0x81, 0x81, 0, 0, 0, 0, b'b']);
    assert!(script.take_notes().is_empty() && !script.is_done());
    script.signal("go");
    assert!(script.is_done() && script.problem().is_none());
}
