//! The control store in SQLite.
