//! Linux TCP keepalive: show it, compute what it adds up to, set it, keep it.
//!
//! Three settings decide how long the kernel waits before it asks a silent peer
//! for a sign of life, and when it gives up: `net.ipv4.tcp_keepalive_time`,
//! `_intvl` and `_probes`. This library does all that the `keepalivectl` command
//! does, and prints nothing:
//!
//! ```
//! use keepalivectl::kernel::{keepalive, tick};
//! use keepalivectl::model::{Settings, time_to_drop};
//! use keepalivectl::ops::apply::Plan;
//!
//! // What is in force in this network namespace?
//! let in_force = keepalive::read()?;
//!
//! // How long would these settings take to drop a silent peer?
//! let wanted = Settings::new(240, 30, 6)?;
//! let idle = time_to_drop::idle(wanted, None, tick::rate());
//! assert_eq!(idle.drop.earliest_ms, 420_000);
//!
//! // What would have to be written? `ops::apply::apply` does it.
//! let plan = Plan::new(in_force, wanted);
//! for write in &plan.writes {
//!     println!("{}: {} -> {}", write.setting.key(), write.from, write.to);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Rooms
//!
//! Each room uses only those above it; rooms on one level do not know each
//! other.
//!
//! | level | room | what lives there | may touch |
//! |---|---|---|---|
//! | 0 | [`model`] | settings, profiles, known paths, the arithmetic | nothing |
//! | 0 | [`mod@chain`] | an error with its causes, as one line | nothing |
//! | 0 | [`root`] | the file tree we act on | files under a root |
//! | 0 | [`text`] | what others have named, for a terminal and for a shell | nothing |
//! | 1 | [`kernel`] | one file for each kernel interface | /proc, netlink, syscalls |
//! | 1 | [`boot`] | what decides the next boot | files under a root, systemctl |
//! | 1 | [`ssh`] | the client's, the server's and PuTTY's configuration | files under a root, `ssh -G`, `sshd -T` |
//! | 2 | [`ops`] | one file for each job: read, plan, carry out, report | |
//!
//! The command's own room, `cli`, belongs to the binary: arguments and
//! rendering.
//!
//! # Errors
//!
//! Errors are enums, one for each room, and meant to be matched:
//!
//! ```
//! use keepalivectl::model::{Settings, SettingsError};
//! assert!(matches!(
//!     Settings::new(60, 10, 0),
//!     Err(SettingsError::NoProbes { value: 0 })
//! ));
//! ```

pub mod boot;
pub mod chain;
pub mod kernel;
pub mod model;
pub mod ops;
pub mod root;
pub mod ssh;
pub mod text;
