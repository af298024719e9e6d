//! The parameters of an address, taken one by one, so that every mistake is named.

use crate::fields::TIME;
use crate::problem::Problem;
use actix_web::web::Query;
use pipeline::Micros;
use pipeline::event::parse_timestamp;
use std::ops::RangeInclusive;

/// The parameters as actix reads them: pairs, so that unknown ones can be refused.
pub(crate) type Pairs = Query<Vec<(String, String)>>;

/// The parameters that were not taken yet.
#[derive(Debug)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn new(pairs: Pairs) -> Self {
        Self(pairs.into_inner())
    }

    /// A text, the last where there are several.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let mut last = None;
        self.0.retain_mut(|(given, text)| {
            let wanted = given == name;
            if wanted {
                last = Some(std::mem::take(text));
            }
            !wanted
        });
        last
    }

    /// A text such as `example` that must be there.
    pub(crate) fn needed(&mut self, name: &str, example: &str) -> Result<String, Problem> {
        self.text(name).ok_or_else(|| Problem::wrong(name, "is missing, it must be a text", example))
    }

    /// A whole number in this range.
    pub(crate) fn number(
        &mut self,
        name: &str,
        allowed: RangeInclusive<u32>,
        default: u32,
    ) -> Result<u32, Problem> {
        let Some(text) = self.text(name) else { return Ok(default) };
        text.parse().ok().filter(|number| allowed.contains(number)).ok_or_else(|| {
            let rule = format!("must be a whole number from {} to {}", allowed.start(), allowed.end());
            Problem::wrong(name, rule, default.to_string())
        })
    }

    /// A time.
    pub(crate) fn time(&mut self, name: &str) -> Result<Option<Micros>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let time = parse_timestamp(&text).map(Some);
        time.ok_or_else(|| Problem::wrong(name, "must be a time as RFC 3339", TIME))
    }

    /// Refuses what was not taken.
    pub(crate) fn end(self, allowed: &str) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let shown: String = name.chars().take(80).collect();
                Err(Problem::wrong(shown, format!("is not known, allowed are {allowed}"), ""))
            }
        }
    }
}
