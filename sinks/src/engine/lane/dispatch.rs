//! Sending: which operations go next, past which gates, and what the answers mean.

use super::ruling::{Ruling, ruling};
use super::snippet;
use super::window::{Line, Part};
use super::{Lane, micros};
use crate::engine::flow::{GiveUp, Next};
use crate::engine::gates::{Gate, Kind, Pass, Report};
use crate::engine::ports::Hold;
use crate::engine::sink::{Failure, Operation, OrderMode, Scope, Sink, Verdict};
use futures::future::Either;
use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::delivery::{Class, Outcome, Trigger};
use pipeline::egress::{Answer, HttpError};
use pipeline::log::Offset;
use std::sync::Arc;
use std::time::Duration;

/// How much longer than its own limit a request may take before it counts as lost.
const OVERTIME: Duration = Duration::from_secs(5);

/// A credential refused this soon after it was renewed is not too old: it is no good.
const RENEWED: Micros = 60 * SECOND;

/// So many events refused for want of a permission, one after the other, and the lane is held.
const DENIED_MAX: u32 = 3;

/// A request that has come back.
pub(super) struct Landed {
    number: u64,
    parts: Vec<Part>,
    sink: Arc<dyn Sink>,
    pass: Pass,
    host: String,
    started: Micros,
    sent: Option<String>,
    /// `None` where the request was recalled before it left.
    answer: Option<Result<Answer, HttpError>>,
}

/// Events of one request that fared the same.
pub(super) struct Group {
    pub(super) outcome: Outcome,
    pub(super) attempt: u32,
    pub(super) trigger: Trigger,
    pub(super) failure: Option<Failure>,
    pub(super) next_at: Option<Micros>,
    pub(super) offsets: Vec<Offset>,
}

impl Lane {
    /// Sends what can be sent.
    pub(super) fn dispatch(&mut self, now: Micros) {
        if self.renewing.is_some()
            || self.shut.and_then(|shut| shut.until).is_some_and(|until| self.clock.elapsed() < until)
        {
            return;
        }
        self.shut = None;
        while let Some((line, mut pass)) = self.admit(now) {
            let mut limits = self.config.sink.manners().endpoints[line.endpoint];
            limits.operations_max = limits.operations_max.min(self.config.gates.operations_max());
            let cut = self.window.cut(&line, &limits, self.probe_from, &self.state.parking);
            for offset in &cut.returned {
                self.window.finish(*offset);
                self.state.parking.put_back(*offset);
            }
            let moved = !cut.blocked.is_empty() || !cut.returned.is_empty();
            if !cut.blocked.is_empty() {
                self.park_behind(cut.blocked);
            }
            if cut.parts.is_empty() {
                if moved {
                    continue;
                }
                return;
            }
            let operations = cut.parts.iter().map(|part| part.operations.len()).sum();
            if let Err(shut) = pass.charge(operations, self.clock.elapsed()) {
                self.put_back(&cut.parts);
                self.shut = Some(shut);
                return;
            }
            self.send(cut.parts, pass, now);
        }
    }

    /// The line that goes next, and the leave for it.
    fn admit(&mut self, now: Micros) -> Option<(Line, Pass)> {
        let (first, again) = self.due_lines(now);
        let contended = first.is_some() && again.is_some();
        let mut lines = [(false, first), (true, again)];
        if self.turn_again {
            lines.reverse();
        }
        for (is_again, line) in lines {
            let Some(line) = line else { continue };
            let kind = match (self.state.lane().replay.is_some(), is_again) {
                (true, _) => Kind::Replay,
                (false, true) => Kind::Again,
                (false, false) => Kind::First,
            };
            match self.config.gates.ask(kind, contended, &mut self.permit, self.clock.elapsed()) {
                Ok(pass) => {
                    self.turn_again = !is_again;
                    (self.shut, self.waiting) = (None, None);
                    return Some((line, pass));
                }
                Err(shut) => {
                    self.shut = Some(shut);
                    if shut.gate == Gate::Fair && self.waiting.is_none() {
                        self.waiting = Some(Box::pin(self.config.gates.permit(kind)));
                    }
                }
            }
        }
        // A permit that cannot be used now is somebody else's.
        self.permit = None;
        None
    }

    /// The lines for first and for later attempts that are due and whose first event is the earliest.
    fn due_lines(&self, now: Micros) -> (Option<Line>, Option<Line>) {
        let strict = self.config.order == OrderMode::Strict;
        if strict && !self.flying.is_empty() {
            return (None, None);
        }
        let earliest = |again: bool| {
            let due = self.window.lines().filter(|(line, count, since)| {
                line.again == again && self.line_due_at(line, *count, *since) <= now
            });
            due.min_by_key(|(line, ..)| self.window.first(line)).map(|(line, ..)| line.clone())
        };
        let first = if strict && self.state.parking.len() > 0 { None } else { earliest(false) };
        (first, earliest(true))
    }

    /// When a line is sent although its request is not full.
    fn line_due_at(&self, line: &Line, count: usize, since: Micros) -> Micros {
        let limits = &self.config.sink.manners().endpoints[line.endpoint];
        let full = count >= limits.operations_max || self.window.len() >= self.config.bounds.events;
        if line.again || full { Micros::MIN } else { since.saturating_add(micros(limits.linger)) }
    }

    pub(super) fn dispatch_wake(&self, now: Micros) -> Option<Micros> {
        if self.renewing.is_some() {
            return None;
        }
        if let Some(shut) = self.shut {
            return Some(now + (shut.until? - self.clock.elapsed()).max(0));
        }
        if self.config.order == OrderMode::Strict && (!self.flying.is_empty() || self.state.parking.len() > 0)
        {
            return None;
        }
        let first = self.window.lines().filter(|(line, ..)| !line.again);
        first.map(|(line, count, since)| self.line_due_at(line, count, since)).min()
    }

    pub(super) fn put_back(&mut self, parts: &[Part]) {
        for part in parts {
            self.window.put_back(part.offset);
        }
    }

    fn send(&mut self, parts: Vec<Part>, pass: Pass, now: Micros) {
        self.requests += 1;
        let number = self.requests;
        let sink = Arc::clone(&self.config.sink);
        let request = sink.request(&self.operations(&parts), now);
        let sent = Some(snippet::request(&request, &self.config.secrets));
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let durable = self.repeats_count().then(|| self.intend(number, &parts));
        let (http, time) = (Arc::clone(&self.ports.http), Arc::clone(&self.ports.time));
        self.flying.push(Box::pin(async move {
            if let Some(durable) = durable
                && durable.await.is_err()
            {
                let started = time.elapsed();
                return Landed { number, parts, sink, pass, host, started, sent, answer: None };
            }
            let started = time.elapsed();
            let timeout = time.sleep(request.timeout + OVERTIME);
            let answer = match futures::future::select(http.send(request), timeout).await {
                Either::Left((answer, _)) => answer,
                Either::Right(_) => {
                    Err(HttpError { class: Class::Timeout, detail: "no answer came in time".to_owned() })
                }
            };
            Landed { number, parts, sink, pass, host, started, sent, answer: Some(answer) }
        }));
    }

    fn operations(&self, parts: &[Part]) -> Vec<&Operation> {
        let slots = parts.iter().filter_map(|part| Some((part, self.window.get(part.offset)?)));
        slots.flat_map(|(part, slot)| &slot.operations[part.operations.clone()]).collect()
    }

    /// Draws the conclusions from an answer.
    pub(super) fn landed(&mut self, landed: Landed, now: Micros) {
        let Landed { number, parts, sink, pass, host, started, mut sent, answer } = landed;
        let Some(answer) = answer else {
            self.put_back(&parts);
            return self.came_to_nothing(offsets_of(&parts), |_| {});
        };
        let elapsed = self.clock.elapsed();
        let latency_us = u64::try_from(elapsed - started).unwrap_or(0);
        let verdicts = self.verdicts(&sink, &parts, &answer, now);
        let failure = told_about_destination(&verdicts);
        let operations = verdicts.len();
        let headers = answer.as_ref().ok().map(|answer| &answer.headers);
        let probe = pass.is_probe();
        let outage = pass.answered(&Report { host: &host, failure, headers, latency_us, at: now }, elapsed);
        let mut answered = answer.as_ref().ok().map(|answer| snippet::answer(answer, &self.config.secrets));

        let (mut groups, mut nothing): (Vec<Group>, Vec<Offset>) = (Vec::new(), Vec::new());
        let told = failure.cloned();
        let mut verdicts = verdicts.into_iter();
        for part in &parts {
            let verdicts: Vec<Verdict> = verdicts.by_ref().take(part.operations.len()).collect();
            let spared = (probe || outage) && verdicts.iter().any(is_destinations);
            if let Some(group) = self.conclude(part, verdicts, operations, spared, started, now) {
                join(&mut groups, group);
            } else if self.window.get(part.offset).is_some_and(|slot| slot.done == 0) {
                nothing.push(part.offset);
            }
        }
        self.came_to_nothing(nothing, |record| {
            record.request = Some(number);
            if let Some(failure) = &told {
                snippet::describe(record, failure);
            }
        });
        for group in groups {
            self.decide(group.outcome, group.offsets, |record| {
                record.attempt = group.attempt;
                record.trigger = group.trigger;
                record.next_at = group.next_at;
                record.request = Some(number);
                record.latency_us = Some(latency_us);
                if let Some(failure) = &group.failure {
                    snippet::describe(record, failure);
                    (record.sent, record.answered) = (sent.take(), answered.take());
                }
            });
        }
    }

    /// One verdict for each operation, whatever came back.
    fn verdicts(
        &self,
        sink: &Arc<dyn Sink>,
        parts: &[Part],
        answer: &Result<Answer, HttpError>,
        now: Micros,
    ) -> Vec<Verdict> {
        let operations = self.operations(parts);
        let mut verdicts = match answer {
            Ok(answer) => sink.verdicts(&operations, answer, now),
            Err(error) => vec![Verdict::Failed(Failure::unanswered(error)); operations.len()],
        };
        verdicts.resize_with(operations.len(), || {
            Verdict::Failed(Failure {
                class: Class::Unknown,
                scope: Scope::Batch,
                retry_after: None,
                status: answer.as_ref().ok().map(|answer| answer.status),
                vendor_code: None,
                detail: "the answer says nothing about this event".to_owned(),
                remedy: String::new(),
            })
        });
        verdicts
    }

    /// What becomes of one event of a request; `None` when it is sent again as it is.
    ///
    /// `spared`: the failure is the destination's and was to be expected, so it counts for nothing.
    fn conclude(
        &mut self,
        part: &Part,
        verdicts: Vec<Verdict>,
        operations: usize,
        spared: bool,
        started: Micros,
        now: Micros,
    ) -> Option<Group> {
        let slot = self.window.get_mut(part.offset)?;
        let failure = slot.take_verdicts(verdicts, operations);
        let (attempt, trigger, sendable_us) = (slot.attempt + 1, slot.trigger, slot.sendable_us);
        let group = |outcome, failure, next_at| {
            Some(Group { outcome, attempt, trigger, failure, next_at, offsets: vec![part.offset] })
        };
        let Some(failure) = failure else {
            if slot.done == slot.operations.len() {
                (self.denied, self.probe_from) = (0, 0);
                return group(Outcome::Delivered, None, None);
            }
            self.window.put_back(part.offset);
            return None;
        };
        match ruling(&failure, operations) {
            Ruling::Retry if self.is_ambiguous(&failure) => {
                if spared {
                    self.probe_from = part.offset + 1;
                }
                let next = self.next_resend(attempt, sendable_us, &failure, spared);
                return Some(Self::ambiguous(part.offset, attempt, trigger, failure, next, now));
            }
            Ruling::Retry if !spared => {
                return match self.schedule.next(attempt, sendable_us, &failure, &mut self.random) {
                    Next::At(delay) => {
                        group(Outcome::Retry, Some(failure), Some(now.saturating_add(micros(delay))))
                    }
                    Next::GiveUp(why) => group(Outcome::Dead, Some(failure.given_up(why, attempt)), None),
                };
            }
            Ruling::Dead => {
                self.denied += u32::from(failure.class == Class::Permission);
                if self.denied >= DENIED_MAX {
                    self.hold(hold(&failure));
                }
                return group(Outcome::Dead, Some(failure), None);
            }
            Ruling::Halve => {
                if let Some(slot) = self.window.get_mut(part.offset) {
                    slot.share_max = (operations / 2).max(1);
                }
            }
            Ruling::Renew => self.renew(&failure, started),
            Ruling::Hold => self.hold(hold(&failure)),
            Ruling::Retry => self.probe_from = part.offset + 1,
            Ruling::Freeze | Ruling::Delivered => {}
        }
        self.window.put_back(part.offset);
        None
    }

    /// Asks for a new credential, unless one has come since the request was sent.
    fn renew(&mut self, failure: &Failure, started: Micros) {
        match self.renewed_at {
            Some(renewed_at) if started < renewed_at => return,
            Some(renewed_at) if self.clock.elapsed() - renewed_at < RENEWED => {
                return self.hold(Hold { class: Class::AuthRevoked, ..hold(failure) });
            }
            _ => {}
        }
        if self.renewing.is_none() {
            let (owner, lane) = (Arc::clone(&self.ports.owner), self.state.lane().clone());
            self.renewing = Some(Box::pin(async move { owner.renew(&lane).await }));
        }
    }
}

impl Failure {
    /// The same failure of an event that is given up after so many attempts.
    pub(super) fn given_up(self, why: GiveUp, attempts: u32) -> Self {
        let detail = format!("given up ({}) after {attempts} attempts: {}", why.as_str(), self.detail);
        Self { detail, ..self }
    }
}

fn offsets_of(parts: &[Part]) -> Vec<Offset> {
    parts.iter().map(|part| part.offset).collect()
}

fn is_destinations(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Failed(failure) if failure.scope == Scope::Destination)
}

/// The failure that the gates should know of. A vendor that asks to wait is always heard; otherwise
/// there is none where it took any operation, or answered well and refused them one by one.
fn told_about_destination(verdicts: &[Verdict]) -> Option<&Failure> {
    let failures = || {
        verdicts.iter().filter_map(|verdict| match verdict {
            Verdict::Failed(failure) => Some(failure),
            Verdict::Delivered => None,
        })
    };
    if let Some(wait) = failures().find(|failure| ruling(failure, 1) == Ruling::Freeze) {
        return Some(wait);
    }
    if verdicts.contains(&Verdict::Delivered) {
        return None;
    }
    let one_by_one = |failure: &&Failure| {
        failure.scope == Scope::Item && failure.status.is_some_and(|status| status < 300)
    };
    let told = failures().find(|failure| failure.scope == Scope::Destination);
    told.or(failures().next()).filter(|failure| !one_by_one(failure))
}

fn hold(failure: &Failure) -> Hold {
    Hold {
        class: failure.class,
        status: failure.status,
        detail: failure.detail.clone(),
        remedy: failure.remedy.clone(),
    }
}

/// Puts the event of `group` to those that fared the same; they are due together.
fn join(groups: &mut Vec<Group>, group: Group) {
    let same = |other: &&mut Group| {
        (other.outcome, other.attempt, other.trigger) == (group.outcome, group.attempt, group.trigger)
            && other.failure == group.failure
    };
    match groups.iter_mut().find(same) {
        Some(known) => known.offsets.extend(group.offsets),
        None => groups.push(group),
    }
}
