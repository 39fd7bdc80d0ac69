//! `ssh`: files, programs and sessions.

mod lab;
mod sessions;
