//! What the application does, or waits for.

use ropewalk_core::settings::parse_duration;
use ropewalk_core::{Lane, Message, Offline};

use super::{Action, Scenario};
use crate::words::{Word, hex};

pub(super) fn action(scenario: &Scenario, verb: &str, rest: &[Word]) -> Result<Action, String> {
    let wrong = || format!("`{verb}` does not take these words");
    let plain: Vec<Option<&str>> = rest.iter().map(Word::plain).collect();
    let known = |name: &str| match scenario.connection(name) {
        Some(_) => Ok(name.to_owned()),
        None => Err(format!("there is no connection `{name}`")),
    };
    let time = |text: &str| parse_duration(text).map_err(|error| error.to_string());
    let number = |text: &str| {
        text.parse()
            .map_err(|_| format!("`{text}` is not a number"))
    };
    Ok(match (verb, plain.as_slice()) {
        ("send", [Some(name), tail @ ..]) if !tail.is_empty() => {
            Action::Send(known(name)?, message(&rest[1..])?)
        }
        ("send-refused", [Some(name), tail @ ..]) if !tail.is_empty() => {
            Action::SendRefused(known(name)?, message(&rest[1..])?)
        }
        ("pause", [Some(name)]) => Action::Pause(known(name)?),
        ("resume", [Some(name)]) => Action::Resume(known(name)?),
        ("retry-now", [Some(name)]) => Action::RetryNow(known(name)?),
        ("consume", [Some(name)]) => Action::Consume(known(name)?),
        ("hold", [Some(name)]) => Action::Hold(known(name)?),
        ("close", [Some(name), Some(deadline)]) => Action::Close(known(name)?, time(deadline)?),
        ("shutdown", [Some(deadline)]) => Action::Shutdown(time(deadline)?),
        ("signal", [Some(name)]) => Action::Signal((*name).into()),
        ("sleep", [Some(duration)]) => Action::Sleep(time(duration)?),
        ("until", [Some(name), Some("received"), Some(count)]) => {
            Action::UntilReceived(known(name)?, number(count)?)
        }
        ("until", [Some(name), Some("outcomes"), Some(count)]) => {
            Action::UntilOutcomes(known(name)?, number(count)?)
        }
        ("until", [Some(name), Some("letters"), Some(count)]) => {
            Action::UntilLetters(known(name)?, number(count)?)
        }
        ("until", [Some(dial), Some(what @ ("served" | "listening"))]) => {
            let (name, dial) = dial.split_once('#').ok_or_else(wrong)?;
            let dial = dial
                .parse()
                .map_err(|_| format!("`{dial}` is not a number"))?;
            if *what == "served" {
                Action::UntilServed(known(name)?, dial)
            } else {
                Action::UntilListening(known(name)?, dial)
            }
        }
        ("until", [Some(name), Some(token)]) => Action::UntilState(known(name)?, (*token).into()),
        (
            "send" | "send-refused" | "pause" | "resume" | "retry-now" | "consume" | "hold"
            | "close" | "shutdown" | "signal" | "sleep" | "until",
            _,
        ) => return Err(wrong()),
        _ => return Err(format!("there is no step `{verb}`")),
    })
}

/// `"TEXT"` or `binary HEX…`, behind its attributes.
fn message(rest: &[Word]) -> Result<Message, String> {
    let wrong = || {
        "expected \"TEXT\" or binary HEX, and before it any of idempotent, ttl=TIME, lane=priority \
         and offline=refuse"
            .to_owned()
    };
    let (first, tail) = rest.split_first().ok_or_else(wrong)?;
    let Some(word) = first.plain() else {
        return match tail {
            [] => String::from_utf8(first.bytes.clone())
                .map(Message::text)
                .map_err(|_| "a text message is UTF-8".into()),
            _ => Err(wrong()),
        };
    };
    match (word, word.strip_prefix("ttl=")) {
        ("binary", _) => Ok(Message::binary(hex(tail)?)),
        ("idempotent", _) => message(tail).map(Message::idempotent),
        ("lane=priority", _) => message(tail).map(|message| message.lane(Lane::Priority)),
        ("offline=refuse", _) => message(tail).map(|message| message.offline(Offline::Refuse)),
        (_, Some(time)) => {
            let ttl = parse_duration(time).map_err(|error| error.to_string())?;
            message(tail).map(|message| message.ttl(ttl))
        }
        (_, None) => Err(wrong()),
    }
}
