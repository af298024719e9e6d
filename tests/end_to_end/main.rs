//! Promises tested from outside: through the real binary, real HTTP and real disks.
//!
//! `tests/run` builds the binary and runs these; `tests/run NAME` runs those whose name holds NAME.
//! A test that cannot run here (no root, no `FLOWSTATE_SPECS`, no Python) says so through
//! [`harness::skip`] and is counted as skipped.

#[cfg(test)]
mod adoption;
#[cfg(test)]
mod api;
#[cfg(test)]
mod backups;
#[cfg(test)]
mod broken_events;
#[cfg(test)]
mod buckets;
#[cfg(test)]
mod ceph;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod columns;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod disks;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod forwarding;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod load;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod readers;
#[cfg(test)]
mod replays;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod rooms;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod shell;
#[cfg(test)]
mod spec_events;
#[cfg(test)]
mod takeovers;
