//! The delivery engine: it brings events to destinations in order, with retries, and keeps account
//! of every one.

mod sink;

pub use sink::{
    Account, Check, Failure, Idempotency, Limits, Mapped, Manners, Operation, OrderMode, Rate, RetryProfile,
    Scope, Sink, Step, StepState, Verdict,
};
