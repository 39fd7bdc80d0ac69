//! What the command promises, tried on the built binary.
//!
//! Tests that write to the kernel run in a sandbox: a user, network and mount
//! namespace of their own, as its root, with their own `/etc` and `/run`. They
//! need no privilege and cannot reach the machine's settings or files. Tests
//! that need an installed program are ignored by default and say which.

// A test says what it needs by unwrapping it.
#![allow(clippy::unwrap_used)]

mod apply;
mod bench;
mod boots;
mod bytes;
mod command;
mod conformance;
mod enable;
mod faults;
mod fixture;
mod hostile;
mod installed;
mod measure;
mod netns;
mod pair;
mod paths;
mod profiles;
mod readers;
mod rearm;
mod sample;
mod sandbox;
mod scale;
mod show;
mod sockets;
mod ssh;
mod stalls;
mod time_to_drop;
mod unit;
