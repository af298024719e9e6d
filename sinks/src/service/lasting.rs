//! Webhooks whose receiver has been failing for days: nobody is there any more.

use super::custodian;
use super::{Service, ServiceError};
use crate::engine::Hold;
use pipeline::Micros;
use pipeline::clock::DAY;
use pipeline::delivery::Class;
use std::sync::Arc;

/// A receiver is given up after so long of nothing but failure…
const FAILING_MIN: Micros = 5 * DAY;
/// …if it was tried over this time at least: one bad attempt long ago says nothing.
const SPAN_MIN: Micros = 2 * DAY;

impl Service {
    /// Disables webhooks whose receiver took nothing for days. A record in the log, `connection.disabled`,
    /// and a warning tell of it; events wait for a person.
    pub(super) async fn disable_what_failed_for_days(&self) -> Result<(), ServiceError> {
        let webhooks: Vec<_> = {
            let destinations = self.lock();
            let kept = destinations.values().filter(|destination| destination.template.gives_up_for_good());
            kept.map(|destination| Arc::clone(&destination.template)).collect()
        };
        for template in webhooks {
            let connection = &template.connection;
            let failing = self.parts.history.failing(&connection.id).await.map_err(ServiceError::History)?;
            let Some((first, last)) = failing else { continue };
            // What failed before a person resumed or changed it is forgiven.
            let first = first.max(connection.updated_at);
            if !is_lasting(first, last, self.parts.clock.now()) {
                continue;
            }
            let name = &connection.name;
            tracing::warn!(connection.id = %connection.id, "`{name}` is disabled: its receiver took nothing for days");
            let hold = Hold {
                class: Class::Gone,
                status: None,
                detail: format!("nothing but failures since {}", pipeline::event::format_timestamp(first)),
                remedy: "See that the receiver answers with 2xx, test the connection, then resume it: its events wait."
                    .to_owned(),
            };
            custodian::move_to(&self.parts, connection, &hold).await;
        }
        Ok(())
    }
}

/// Whether failures from `first` to `last` mean that nobody is there at `now`.
fn is_lasting(first: Micros, last: Micros, now: Micros) -> bool {
    now - first >= FAILING_MIN && last - first >= SPAN_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_of_attempts_disable_a_webhook() {
        for (first, last, now, lasting) in [
            (0, 5 * DAY, 5 * DAY, true),
            (0, 2 * DAY, 6 * DAY, true),
            (0, 5 * DAY - 1, 5 * DAY - 1, false),
            (0, 2 * DAY - 1, 30 * DAY, false),
            (0, 0, 30 * DAY, false),
            // It was resumed after the last attempt.
            (20 * DAY, 10 * DAY, 30 * DAY, false),
        ] {
            assert_eq!(is_lasting(first, last, now), lasting, "{first} {last} {now}");
        }
    }
}
