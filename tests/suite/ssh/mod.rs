//! `ssh`: files, programs and sessions.

mod client;
mod lab;
mod programs;
mod putty;
mod server;
mod sessions;
