//! The arithmetic of TCP keepalive, apart from every input and output.
//!
//! This room knows what the three settings mean, which values are legal, and
//! what they add up to. It opens no file, asks no kernel and has no clock, so
//! that each number can be tested as plain arithmetic and each formula can be
//! held against the kernel function it comes from.

pub mod builtin;
pub mod check;
pub mod cost;
pub mod duration;
pub mod path;
pub mod plan;
pub mod profile;
pub mod settings;
pub mod similar;
pub mod span;
pub mod ssh;
pub mod time_to_drop;
pub mod wheel;

pub use profile::{Profile, ProfileName};
pub use settings::{Partial, Setting, Settings, SettingsError, Values};
pub use span::Span;
pub use time_to_drop::{State, TcpLimits, UserTimeout};
pub use wheel::Hz;
