//! The condition, asked in bulk.

use super::Decision;
use pipeline::condition::Condition;
use pipeline::event::Event;
use pipeline::log::Stored;
use std::borrow::Cow;

type Events = [Stored<Event<'static>>];

/// Asks the condition about the events that are to be sent so far.
pub(super) fn decide(condition: &dyn Condition, events: &Events, decisions: &mut [Decision]) {
    let asked: Vec<usize> =
        (0..decisions.len()).filter(|&index| decisions[index] == Decision::Send).collect();
    if asked.is_empty() {
        return;
    }
    // Cloning costs more than asking about a few too many.
    let some = asked.len() * 2 < events.len();
    let (batch, places): (Cow<'_, Events>, Vec<usize>) = if some {
        let batch = asked.iter().map(|&index| events[index].clone()).collect();
        (Cow::Owned(batch), (0..asked.len()).collect())
    } else {
        (Cow::Borrowed(events), asked.clone())
    };
    match ask(condition, &batch) {
        Ok(holds) => {
            for (index, place) in asked.into_iter().zip(places) {
                decisions[index] = decision(Ok(holds[place]));
            }
        }
        // One event that cannot be evaluated stops no other.
        Err(_) => {
            for index in asked {
                let alone = ask(condition, std::slice::from_ref(&events[index]));
                decisions[index] = decision(alone.map(|holds| holds[0]));
            }
        }
    }
}

/// One answer for each event.
fn ask(condition: &dyn Condition, events: &Events) -> Result<Vec<bool>, String> {
    let holds = condition.holds(events)?;
    if holds.len() == events.len() {
        return Ok(holds);
    }
    Err(format!("the condition gave {} answers for {} events", holds.len(), events.len()))
}

fn decision(holds: Result<bool, String>) -> Decision {
    match holds {
        Ok(true) => Decision::Send,
        Ok(false) => Decision::Filtered("condition"),
        Err(detail) => Decision::Refused { reason: "condition_failed", detail },
    }
}
