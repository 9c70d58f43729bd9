mod model;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn host(number: u32) -> Arc<str> {
    format!("h{number}.example:80").into()
}

fn ticket(index: u32) -> Ticket {
    Ticket {
        shard: index % 2,
        connection: ConnectionId {
            index,
            generation: 0,
        },
    }
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 80))
}

fn at(millis: u64) -> Instant {
    Instant::ORIGIN + Duration::from_millis(millis)
}

fn limits(connecting_max: u32, connecting_per_address_max: u32) -> AdmissionLimits {
    AdmissionLimits {
        connecting_max: NonZeroU32::new(connecting_max).unwrap(),
        connecting_per_address_max: NonZeroU32::new(connecting_per_address_max).unwrap(),
        ..AdmissionLimits::default()
    }
}

fn granted(admission: &mut Admission, now: Instant) -> Vec<(u32, Stage)> {
    let grants: Vec<_> = std::iter::from_fn(|| admission.poll_grant(now))
        .map(|grant| (grant.ticket.connection.index, grant.stage))
        .collect();
    admission.check_invariants();
    assert!(admission.poll_timeout().is_none_or(|timeout| timeout > now));
    grants
}

#[test]
fn dials_to_one_host_take_turns_in_order() {
    let mut admission = Admission::new(AdmissionLimits::default());
    for index in 0..4 {
        admission.request(at(0), ticket(index), &host(0), Dial::First);
    }
    for index in 0..4 {
        assert_eq!(granted(&mut admission, at(0)), [(index, Stage::Resolve)]);
        admission.narrow(at(0), ticket(index), address(1));
        assert_eq!(granted(&mut admission, at(0)), [(index, Stage::Connect)]);
        assert_eq!(granted(&mut admission, at(0)), []);
        admission.release(at(0), ticket(index));
    }
    assert_eq!(granted(&mut admission, at(0)), []);
}

#[test]
fn two_names_of_one_address_take_turns_in_connecting_and_block_nobody_else() {
    let mut admission = Admission::new(limits(2, 1));
    for index in 0..3 {
        admission.request(at(0), ticket(index), &host(index), Dial::First);
    }
    assert_eq!(
        granted(&mut admission, at(0)),
        [(0, Stage::Resolve), (1, Stage::Resolve)]
    );
    admission.narrow(at(0), ticket(0), address(1));
    assert_eq!(granted(&mut admission, at(0)), [(0, Stage::Connect)]);
    // The second name leads to the same server: it waits, and the third host gets its place.
    admission.narrow(at(0), ticket(1), address(1));
    assert_eq!(granted(&mut admission, at(0)), [(2, Stage::Resolve)]);
    admission.narrow(at(0), ticket(2), address(2));
    assert_eq!(granted(&mut admission, at(0)), [(2, Stage::Connect)]);
    admission.release(at(0), ticket(0));
    assert_eq!(granted(&mut admission, at(0)), [(1, Stage::Connect)]);
}

#[test]
fn an_ipv4_address_inside_ipv6_and_another_port_are_told_apart_rightly() {
    let mut admission = Admission::new(AdmissionLimits::default());
    for index in 0..3 {
        admission.request(at(0), ticket(index), &host(index), Dial::First);
    }
    granted(&mut admission, at(0));
    admission.narrow(at(0), ticket(0), "192.0.2.1:80".parse().unwrap());
    admission.narrow(at(0), ticket(1), "[::ffff:192.0.2.1]:80".parse().unwrap());
    admission.narrow(at(0), ticket(2), "192.0.2.1:81".parse().unwrap());
    assert_eq!(
        granted(&mut admission, at(0)),
        [(0, Stage::Connect), (2, Stage::Connect)]
    );
}

#[test]
fn the_next_address_is_waited_for_after_the_last_was_given_free() {
    let mut admission = Admission::new(AdmissionLimits::default());
    for index in 0..2 {
        admission.request(at(0), ticket(index), &host(index), Dial::First);
    }
    granted(&mut admission, at(0));
    admission.narrow(at(0), ticket(0), address(1));
    admission.narrow(at(0), ticket(1), address(2));
    granted(&mut admission, at(0));
    admission.narrow(at(0), ticket(0), address(2));
    assert_eq!(granted(&mut admission, at(0)), []);
    admission.narrow(at(0), ticket(1), address(1));
    assert_eq!(
        granted(&mut admission, at(0)),
        [(0, Stage::Connect), (1, Stage::Connect)]
    );
}

#[test]
fn a_redial_without_a_token_lets_first_dials_pass_and_comes_when_foretold() {
    let mut admission = Admission::new(limits(64, 100));
    admission.join(&host(0));
    for index in 0..12 {
        admission.request(at(0), ticket(index), &host(0), Dial::Redial);
    }
    admission.request(at(0), ticket(12), &host(0), Dial::First);
    admission.request(at(0), ticket(13), &host(0), Dial::Planned);
    let order: Vec<_> = granted(&mut admission, at(0))
        .into_iter()
        .map(|(index, _)| index)
        .collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13]);
    for (index, millis) in [(10, 200), (11, 400)] {
        assert_eq!(admission.poll_timeout(), Some(at(millis)));
        assert_eq!(granted(&mut admission, at(millis - 1)), []);
        assert_eq!(
            granted(&mut admission, at(millis)),
            [(index, Stage::Resolve)]
        );
    }
    assert_eq!(admission.poll_timeout(), None);
}

#[test]
fn a_full_house_waits_for_a_release_and_not_for_a_timer() {
    let mut admission = Admission::new(limits(1, 1));
    admission.request(at(0), ticket(0), &host(0), Dial::First);
    admission.request(at(0), ticket(1), &host(1), Dial::Redial);
    assert_eq!(granted(&mut admission, at(0)), [(0, Stage::Resolve)]);
    assert_eq!(admission.poll_timeout(), None);
    assert_eq!(granted(&mut admission, at(60_000)), []);
    admission.release(at(60_000), ticket(0));
    assert_eq!(granted(&mut admission, at(60_000)), [(1, Stage::Resolve)]);
}

#[test]
fn a_release_is_idempotent_at_every_stage() {
    let stages: [&[&str]; 4] = [
        &[],
        &["poll"],
        &["poll", "narrow"],
        &["poll", "narrow", "poll"],
    ];
    for steps in stages {
        let mut admission = Admission::new(AdmissionLimits::default());
        admission.request(at(0), ticket(0), &host(0), Dial::First);
        for step in steps {
            if *step == "poll" {
                admission.poll_grant(at(0)).expect("nobody else is there");
            } else {
                admission.narrow(at(0), ticket(0), address(1));
            }
        }
        for _ in 0..2 {
            admission.release(at(0), ticket(0));
            admission.narrow(at(0), ticket(0), address(2));
            admission.check_invariants();
            assert_eq!((admission.connecting(), admission.waiting()), (0, 0));
        }
        assert_eq!(admission.poll_grant(at(0)), None);
    }
}

#[test]
fn a_grant_that_crossed_with_a_release_is_recognised() {
    let mut admission = Admission::new(AdmissionLimits::default());
    let first = admission.request(at(0), ticket(0), &host(0), Dial::First);
    let stale = admission.poll_grant(at(0)).expect("nobody else is there");
    assert_eq!(stale.request, first);
    let second = admission.request(at(0), ticket(0), &host(0), Dial::Redial);
    assert!(second > stale.request);
    assert_eq!(
        admission.connecting(),
        0,
        "asking again releases what was held"
    );
    assert_eq!(
        admission.poll_grant(at(0)).map(|grant| grant.request),
        Some(second)
    );
}

#[test]
fn what_is_gone_leaves_no_memory_behind() {
    let mut admission = Admission::new(AdmissionLimits::default());
    for index in 0..100 {
        admission.join(&host(index));
        admission.request(at(0), ticket(index), &host(index), Dial::Redial);
        admission.poll_grant(at(0)).expect("there is room for one");
        admission.narrow(at(0), ticket(index), address(1));
        admission.poll_grant(at(0)).expect("there is room for one");
        admission.release(at(0), ticket(index));
        admission.leave(&host(index));
    }
    assert!(admission.addresses.is_empty() && admission.requests.is_empty());
    assert_eq!(admission.poll_timeout(), None, "nobody is woken to forget");
    // A host's bucket is kept until it is full again, so that leaving and joining is no way around it.
    assert_eq!(admission.hosts.len(), 100);
    assert_eq!(granted(&mut admission, at(200)), []);
    assert!(admission.hosts.is_empty() && admission.unused.is_empty());
}

#[test]
fn ten_thousand_connections_to_one_host_all_get_their_turn_in_order() {
    let mut admission = Admission::new(AdmissionLimits::default());
    let host = host(0);
    for index in 0..10_000 {
        admission.join(&host);
        admission.request(at(0), ticket(index), &host, Dial::First);
    }
    for index in 0..10_000 {
        let grant = admission.poll_grant(at(0)).expect("somebody waits");
        assert_eq!((grant.ticket, grant.stage), (ticket(index), Stage::Resolve));
        admission.narrow(at(0), grant.ticket, address(1));
        let grant = admission.poll_grant(at(0)).expect("the address is free");
        assert_eq!((grant.ticket, grant.stage), (ticket(index), Stage::Connect));
        admission.release(at(0), grant.ticket);
    }
    admission.check_invariants();
    assert_eq!(admission.waiting(), 0);
}

#[test]
fn the_end_of_time_is_no_busy_loop() {
    let mut admission = Admission::new(limits(64, 64));
    for index in 0..20 {
        admission.request(Instant::FAR_FUTURE, ticket(index), &host(0), Dial::Redial);
    }
    let count = std::iter::from_fn(|| admission.poll_grant(Instant::FAR_FUTURE)).count();
    assert_eq!(count, 10);
}

#[test]
fn time_that_runs_backwards_neither_makes_nor_takes_tokens() {
    let mut admission = Admission::new(limits(64, 64));
    for index in 0..12 {
        admission.request(at(1_000), ticket(index), &host(0), Dial::Redial);
    }
    assert_eq!(granted(&mut admission, at(1_000)).len(), 10);
    admission.request(at(0), ticket(12), &host(0), Dial::Redial);
    assert_eq!(granted(&mut admission, at(0)).len(), 0);
    assert_eq!(granted(&mut admission, at(1_199)).len(), 0);
    assert_eq!(granted(&mut admission, at(1_200)).len(), 1);
}

/// Everybody redials as often as allowed; returns the times of the grants.
fn stampede(limits: AdmissionLimits, connections: u32, until: Instant) -> Vec<Instant> {
    let mut admission = Admission::new(limits);
    let host = host(0);
    for index in 0..connections {
        admission.join(&host);
        admission.request(at(0), ticket(index), &host, Dial::Redial);
    }
    let (mut now, mut times) = (at(0), Vec::new());
    loop {
        while let Some(grant) = admission.poll_grant(now) {
            times.push(now);
            admission.request(now, grant.ticket, &host, Dial::Redial);
        }
        now = admission
            .poll_timeout()
            .expect("somebody waits for a token");
        if now > until {
            return times;
        }
    }
}

#[test]
fn the_end_of_an_outage_is_no_stampede() {
    let minute = at(60_000);
    for (limits, connections, expected) in [
        (AdmissionLimits::default(), 50, 10 + 60 * 5),
        (AdmissionLimits::default(), 3_000, 10 + 60 * 100),
        (AdmissionLimits::spread(), 50, 5 + 60),
        (AdmissionLimits::spread(), 3_000, 5 + 60 * 30),
    ] {
        let dials = stampede(limits, connections, minute).len();
        assert_eq!(dials, expected, "{connections} connections");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_every_window_there_are_at_most_burst_and_rate_times_window_dials(
        burst in 1_u32..20,
        rate_min in 1_u32..200,
        divisor in 1_u32..200,
        connections in 1_u32..300,
    ) {
        let limits = AdmissionLimits {
            redial_burst: NonZeroU32::new(burst).unwrap(),
            redial_rate_min: NonZeroU32::new(rate_min).unwrap(),
            redial_divisor: NonZeroU32::new(divisor).unwrap(),
            ..AdmissionLimits::default()
        };
        let times = stampede(limits, connections, at(2_000));
        // Tokens a second, times the divisor.
        let rate = u128::from((rate_min * divisor).max(connections));
        for (first, start) in times.iter().enumerate() {
            for (last, end) in times.iter().enumerate().skip(first) {
                let window = u128::from(end.as_nanos() - start.as_nanos());
                let dials = (last - first + 1) as u128;
                let beyond_burst = dials.saturating_sub(u128::from(burst));
                prop_assert!(beyond_burst * u128::from(divisor) * 1_000_000_000 <= rate * window);
            }
        }
    }
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Join(u32),
    Leave(u32),
    Request(u32, u32, Dial),
    Narrow(u32, u8),
    Release(u32),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let dial = prop_oneof![
        Just(Dial::First),
        Just(Dial::Redial),
        Just(Dial::Redial),
        Just(Dial::Planned)
    ];
    prop_oneof![
        2 => (0_u32..4).prop_map(Step::Join),
        1 => (0_u32..4).prop_map(Step::Leave),
        6 => (0_u32..16, 0_u32..4, dial).prop_map(|(t, h, d)| Step::Request(t, h, d)),
        6 => (0_u32..16, 0_u8..3).prop_map(|(t, a)| Step::Narrow(t, a)),
        4 => (0_u32..16).prop_map(Step::Release),
        2 => (0_u64..400_000_000).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_behaves_like_a_list_that_is_searched_from_its_start(
        (connecting_max, per_address_max) in (1_u32..6, 1_u32..3),
        burst in 1_u32..4,
        divisor in 1_u32..3,
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let limits = AdmissionLimits {
            redial_burst: NonZeroU32::new(burst).unwrap(),
            redial_rate_min: NonZeroU32::MIN,
            redial_divisor: NonZeroU32::new(divisor).unwrap(),
            ..limits(connecting_max, per_address_max)
        };
        let mut admission = Admission::new(limits);
        let mut model = model::Model::new(limits);
        let mut joined: BTreeMap<u32, u32> = BTreeMap::new();
        let mut now = Instant::ORIGIN;
        for step in steps {
            match step {
                Step::Join(number) => {
                    admission.join(&host(number));
                    model.join(&host(number));
                    *joined.entry(number).or_default() += 1;
                }
                Step::Leave(number) => {
                    let count = joined.entry(number).or_default();
                    if *count > 0 {
                        *count -= 1;
                        admission.leave(&host(number));
                        model.leave(&host(number));
                    }
                }
                Step::Request(index, number, dial) => {
                    admission.request(now, ticket(index), &host(number), dial);
                    model.request(ticket(index), &host(number), dial);
                }
                Step::Narrow(index, number) => {
                    admission.narrow(now, ticket(index), address(number));
                    model.narrow(ticket(index), address(number));
                }
                Step::Release(index) => {
                    admission.release(now, ticket(index));
                    model.release(ticket(index));
                }
                Step::Pass(nanos) => {
                    now += Duration::from_nanos(nanos);
                    model.pass(Duration::from_nanos(nanos));
                }
            }
            loop {
                let grant = admission.poll_grant(now);
                prop_assert_eq!(grant.map(|grant| (grant.ticket, grant.stage)), model.grant());
                admission.check_invariants();
                if grant.is_none() {
                    break;
                }
            }
            prop_assert_eq!(admission.connecting() as usize, model.connecting());
            prop_assert_eq!(admission.waiting(), model.waiting());
            let timeout = admission.poll_timeout();
            prop_assert!(timeout.is_none_or(|timeout| timeout > now));
            let wait = timeout.map(|timeout| timeout.saturating_since(now));
            prop_assert_eq!(wait, model.next_token());
        }
        // Once everybody who holds something lets go, everybody who waits gets a turn.
        let mut rounds = 0;
        while admission.waiting() > 0 || admission.connecting() > 0 {
            for index in 0..16 {
                if model.holds(ticket(index)) {
                    admission.release(now, ticket(index));
                    model.release(ticket(index));
                }
            }
            now += Duration::from_secs(1);
            model.pass(Duration::from_secs(1));
            while let Some(grant) = admission.poll_grant(now) {
                prop_assert_eq!(Some((grant.ticket, grant.stage)), model.grant());
            }
            rounds += 1;
            prop_assert!(rounds < 100, "somebody starves");
        }
    }
}
