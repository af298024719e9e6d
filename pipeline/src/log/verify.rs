//! What checking a log found.

/// All that was checked, in the order in which it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The checks.
    pub checks: Vec<Check>,
}

/// One promise that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked, in a few words, such as `offsets of events`.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// How much was checked, or what is damaged and where.
    pub detail: String,
}

impl Report {
    /// Whether every check holds.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}
