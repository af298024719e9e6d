//! tests/vendors
