//! How vendors want to be treated, read from their facts, so that each number stands once.

use crate::engine::{Idempotency, Limits, Manners, OrderMode, Rate, RetryProfile};
use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::connection::{Order, WhenAmbiguous};
use pipeline::vendor::{self, Counted, Endpoint, Outbound};
use std::time::Duration;

/// The manners of the vendor with this name; its endpoints in the order of the facts.
///
/// What the facts leave open has no limit: bytes where the vendor states none, and the time for which
/// it knows ids where it states no end.
pub(super) fn of(vendor: &str) -> Manners {
    read(&vendor::named(vendor).expect("every vendor with code has facts, which a test looks after").outbound)
}

fn read(facts: &Outbound) -> Manners {
    let rate = |rate: &vendor::Rate| Rate {
        amount: rate.amount,
        per: Duration::from_secs_f64(rate.per_s),
        operations: rate.of == Counted::Events,
    };
    Manners {
        idempotency: idempotency(&facts.idempotency),
        ambiguous: match facts.idempotency {
            vendor::Idempotency::None { ambiguous, .. } => ambiguous,
            _ => WhenAmbiguous::default(),
        },
        retry: match facts.retry {
            vendor::Retry::Stream {} => RetryProfile::Stream,
            vendor::Retry::Webhooks {} => RetryProfile::Webhook,
            vendor::Retry::Notify {} => RetryProfile::Notify,
            vendor::Retry::Few { attempts } => RetryProfile::Few(attempts),
        },
        order: match facts.order {
            Order::PerUser => OrderMode::PerUser,
            Order::None => OrderMode::None,
            Order::Strict => OrderMode::Strict,
        },
        concurrency_max: facts.concurrency_max,
        rates: facts.rates.iter().map(rate).collect(),
        endpoints: facts.endpoints.iter().map(limits).collect(),
        event_age_max: facts.event_age_max_s.map(micros),
    }
}

fn idempotency(facts: &vendor::Idempotency) -> Idempotency {
    match facts {
        vendor::Idempotency::Upsert { .. } => Idempotency::Upsert,
        vendor::Idempotency::Key { window_s, .. } => {
            Idempotency::Key(window_s.map_or(Duration::MAX, Duration::from_secs))
        }
        vendor::Idempotency::None { .. } => Idempotency::None,
    }
}

fn limits(facts: &Endpoint) -> Limits {
    Limits {
        operations_max: facts.operations_max,
        batch_bytes_max: facts.batch_bytes_max.unwrap_or(usize::MAX),
        operation_bytes_max: facts.operation_bytes_max.unwrap_or(usize::MAX),
        linger: Duration::from_millis(facts.linger_ms),
    }
}

fn micros(seconds: u64) -> Micros {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::event::{Event, Kind};
    use pipeline::log::{PartitionId, Stored};
    use std::sync::Arc;

    /// Mistakes in the facts that a newcomer would make are told here, in the words of the engine.
    #[test]
    fn the_engine_treats_a_vendor_as_its_facts_say() {
        let webhook = of("webhook");
        assert_eq!(webhook.idempotency, Idempotency::Key(Duration::from_secs(4 * 24 * 3600)));
        assert_eq!((webhook.retry, webhook.order), (RetryProfile::Webhook, OrderMode::None));
        assert_eq!((webhook.concurrency_max, webhook.rates.len(), webhook.event_age_max), (4, 0, None));
        let one = Limits {
            operations_max: 1,
            batch_bytes_max: 1 << 20,
            operation_bytes_max: 1 << 20,
            linger: Duration::ZERO,
        };
        assert_eq!(webhook.endpoints, [one]);

        let analytics = of("google_analytics");
        assert_eq!((analytics.idempotency, analytics.retry), (Idempotency::None, RetryProfile::Few(3)));
        assert_eq!(
            (analytics.ambiguous, of("slack").ambiguous),
            (WhenAmbiguous::Resend, WhenAmbiguous::Hold)
        );
        assert_eq!(analytics.event_age_max, Some(72 * 3600 * SECOND));
        assert_eq!(analytics.endpoints[0].linger, Duration::from_secs(1));

        let mixpanel = of("mixpanel");
        assert_eq!((mixpanel.retry, mixpanel.order), (RetryProfile::Stream, OrderMode::PerUser));
        let rate = Rate { amount: 1_800_000.0, per: Duration::from_secs(60), operations: true };
        assert_eq!(mixpanel.rates, [rate]);
        assert_eq!(mixpanel.endpoints.len(), 3);

        let rate = Rate { amount: 1000.0, per: Duration::from_secs(1), operations: false };
        assert_eq!(of("segment").rates, [rate]);
    }

    #[test]
    fn google_takes_what_happened_within_72_hours_whenever_it_was_received() {
        const HOUR: Micros = 3_600 * SECOND;
        let received_at = 1_000 * HOUR;
        let is_too_old = |happened: Option<Micros>, now: Micros| {
            let mut record = Event::new(Kind::Track, "m-1");
            record.original_timestamp = happened;
            let (partition, source) = (PartitionId("00000000000000aa".into()), Arc::from("app"));
            let event = Stored { partition, offset: 1, received_at, source, test: false, record };
            of("google_analytics").is_too_old(&event, now)
        };
        assert!(!is_too_old(None, received_at + 72 * HOUR));
        assert!(is_too_old(None, received_at + 72 * HOUR + 1));
        assert!(is_too_old(Some(received_at - 73 * HOUR), received_at), "it was received late");
        assert!(!is_too_old(Some(received_at + HOUR), received_at + 72 * HOUR), "a clock that is ahead");
    }

    #[test]
    fn what_the_facts_leave_open_has_no_limit() {
        let mut facts = vendor::named("segment").expect("facts").outbound.clone();
        facts.idempotency = vendor::Idempotency::Key { key: "an id.".to_owned(), window_s: None };
        facts.endpoints[0].batch_bytes_max = None;
        facts.endpoints[0].operation_bytes_max = None;
        facts.order = Order::Strict;
        facts.retry = vendor::Retry::Notify {};
        let manners = read(&facts);
        assert_eq!(manners.idempotency, Idempotency::Key(Duration::MAX));
        assert_eq!(manners.endpoints[0].batch_bytes_max, usize::MAX);
        assert_eq!(manners.endpoints[0].operation_bytes_max, usize::MAX);
        assert_eq!((manners.order, manners.retry), (OrderMode::Strict, RetryProfile::Notify));
        facts.idempotency = vendor::Idempotency::Upsert { key: "an id.".to_owned() };
        assert_eq!(read(&facts).idempotency, Idempotency::Upsert);
    }
}
