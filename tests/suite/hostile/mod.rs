//! Attacks: what another user, an image or a fault does must not turn root's
//! tool against root. Each test makes the attack real in a sandbox.

mod boot;
mod edits;
mod output;
mod programs;
mod sockets;
mod trees;
