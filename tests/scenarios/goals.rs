//! The goals as tests.
