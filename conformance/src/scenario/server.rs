//! `on CONNECTION#DIAL STEP`: what the server does.

use ropewalk_core::settings::parse_duration;

use super::parse::quoted;
use super::{ConnectionPlan, Place, Reach};
use crate::script::{DialPlan, Greeting, Step};
use crate::words::{Word, hex};

/// What a server does with a dial that the scenario does not mention.
pub(super) fn echo_plan() -> DialPlan {
    DialPlan {
        greeting: Greeting::Accept,
        steps: vec![Step::Upgrade(Vec::new()), Step::Echo],
    }
}

pub(super) fn line(plans: &mut [ConnectionPlan], rest: &[Word]) -> Result<(), String> {
    let usage =
        "expected `on CONNECTION#DIAL STEP`, with a `+` behind DIAL for all dials from it on";
    let (dial, rest) = rest.split_first().ok_or(usage)?;
    let (name, number) = dial.plain().and_then(|w| w.split_once('#')).ok_or(usage)?;
    let (number, reach) = match number.strip_suffix('+') {
        Some(number) => (number, Reach::Onwards),
        None => (number, Reach::One),
    };
    let number: u32 = number.parse().map_err(|_| usage)?;
    let plan = plans
        .iter_mut()
        .find(|plan| plan.name == name)
        .ok_or_else(|| format!("there is no connection `{name}`"))?;
    let (verb, rest) = rest.split_first().ok_or(usage)?;
    let verb = verb.plain().ok_or("a step begins with a word")?;
    let known = plan
        .dials
        .iter()
        .position(|(at, r, _)| (*at, *r) == (number, reach));
    let index = known.unwrap_or_else(|| {
        plan.dials.push((number, reach, DialPlan::default()));
        plan.dials.len() - 1
    });
    let dial = &mut plan.dials[index].2;
    if let Some(greeting) = greeting(verb) {
        if !dial.steps.is_empty() || !rest.is_empty() {
            return Err(format!("`{verb}` is the first and only step of a dial"));
        }
        dial.greeting = greeting;
        return Ok(());
    }
    if dial.greeting != Greeting::Accept {
        return Err("a dial that is not accepted has no further steps".into());
    }
    dial.steps.push(step(verb, rest)?);
    Ok(())
}

/// Refuses steps that only the simulator can do in a scenario for everywhere.
pub(super) fn check_place(plan: &ConnectionPlan, place: &Place) -> Result<(), String> {
    let is_simulated = |dial: &DialPlan| match dial.greeting {
        Greeting::Accept | Greeting::Refuse => false,
        Greeting::Blackhole
        | Greeting::Unreachable
        | Greeting::OutOfResources
        | Greeting::Denied
        | Greeting::SelfConnect
        | Greeting::Unresolvable
        | Greeting::ResolverSilent
        | Greeting::NoAddress => true,
    };
    match plan.dials.iter().find(|(.., dial)| is_simulated(dial)) {
        Some((number, ..)) if *place == Place::Everywhere => Err(format!(
            "dial {}#{number} can only be simulated: the scenario needs `sim-only` with a reason",
            plan.name
        )),
        Some(_) | None => Ok(()),
    }
}

fn greeting(verb: &str) -> Option<Greeting> {
    Some(match verb {
        "refuse" => Greeting::Refuse,
        "blackhole" => Greeting::Blackhole,
        "unreachable" => Greeting::Unreachable,
        "out-of-resources" => Greeting::OutOfResources,
        "denied" => Greeting::Denied,
        "self-connect" => Greeting::SelfConnect,
        "unresolvable" => Greeting::Unresolvable,
        "resolver-silent" => Greeting::ResolverSilent,
        "no-address" => Greeting::NoAddress,
        _ => return None,
    })
}

fn step(verb: &str, rest: &[Word]) -> Result<Step, String> {
    let wrong = || format!("`{verb}` does not take these words");
    let plain: Vec<Option<&str>> = rest.iter().map(Word::plain).collect();
    Ok(match (verb, plain.as_slice()) {
        ("upgrade", _) => Step::Upgrade(rest.iter().map(quoted).collect::<Result<_, _>>()?),
        ("http", [Some(status), ..]) => {
            let status = status
                .parse()
                .map_err(|_| format!("`{status}` is not a status"))?;
            let headers = rest[1..].iter().map(quoted).collect::<Result<_, _>>()?;
            Step::Status(status, headers)
        }
        ("respond", [None]) => Step::Respond(rest[0].bytes.clone()),
        ("expect-request", [None]) => Step::ExpectRequest(rest[0].bytes.clone()),
        ("send", [Some("text"), None]) => Step::SendText(quoted(&rest[1])?),
        ("send", [Some("binary"), _, ..]) => Step::SendBinary(hex(&rest[1..])?),
        ("send", [Some("ping"), None]) => Step::SendPing(rest[1].bytes.clone()),
        ("send", [Some("raw"), _, ..]) => Step::SendRaw(hex(&rest[1..])?),
        ("echo", []) => Step::Echo,
        ("expect", [Some("text"), None]) => Step::ExpectText(quoted(&rest[1])?),
        ("expect", [Some("binary"), _, ..]) => Step::ExpectBinary(hex(&rest[1..])?),
        ("expect", [Some("ping")]) => Step::ExpectPing,
        ("expect", [Some("pong"), None]) => Step::ExpectPong(rest[1].bytes.clone()),
        ("expect", [Some("close")]) => Step::ExpectClose,
        ("expect", [Some("end")]) => Step::ExpectEnd,
        ("close", []) => Step::Close(None),
        ("close", [Some(code), tail @ ..]) if tail.len() <= 1 => {
            let code = code
                .parse()
                .map_err(|_| format!("`{code}` is not a close code"))?;
            let reason = rest.get(1).map_or(Ok(String::new()), quoted)?;
            Step::Close(Some((code, reason)))
        }
        ("reset", []) => Step::Reset,
        ("eof", []) => Step::Eof,
        ("stall", []) => Step::Stall,
        ("unstall", []) => Step::Unstall,
        ("cork", []) => Step::Cork,
        ("uncork", []) => Step::Uncork,
        ("pace", [Some(bytes), Some(pause)]) => Step::Pace(
            bytes.parse().map_err(|_| wrong())?,
            parse_duration(pause).map_err(|error| error.to_string())?,
        ),
        ("sleep", [Some(time)]) => {
            Step::Sleep(parse_duration(time).map_err(|error| error.to_string())?)
        }
        ("await", [Some(name)]) => Step::Await((*name).into()),
        (
            "respond" | "expect-request" | "send" | "echo" | "expect" | "close" | "reset" | "eof"
            | "stall" | "unstall" | "cork" | "uncork" | "pace" | "sleep" | "await" | "http",
            _,
        ) => return Err(wrong()),
        _ => return Err(format!("the server knows no step `{verb}`")),
    })
}
