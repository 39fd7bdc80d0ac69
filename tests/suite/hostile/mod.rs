//! Attacks: what another user, an image or a fault does must not turn root's
//! tool against root. Each test makes the attack real in a sandbox.

mod advice;
mod boot;
mod configurations;
mod fuse;
mod halfway;
mod output;
mod programs;
mod races;
mod records;
mod sockets;
mod trees;
