//! A setting that a vendor's code cannot work with.

/// A destination's setting or credential that cannot be used. The message never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct SettingError {
    /// Which setting, and which part of it.
    pub setting: &'static str,
    /// What is wrong with it and what is allowed.
    pub problem: String,
}
