//! One file for each vendor that events go to.

pub mod segment;
