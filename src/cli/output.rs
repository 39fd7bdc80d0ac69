//! Where reports go: to standard output, for people or as JSON.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use keepalivectl::kernel::signals::{self, Signal};
use keepalivectl::{ops, text};
use serde::Serialize;

use super::errors;
use super::text::Text;

/// How reports are shown.
pub struct Face {
    json: bool,
}

/// Why a command ends badly.
pub enum Failure {
    /// The job failed.
    Job(ops::Error),
    /// The job is done and its report could not be written.
    Output {
        /// The cause.
        cause: io::Error,
        /// Whether the job had changed anything.
        changed: bool,
    },
}

const FAILED: u8 = 1;
const WRONG_INPUT: u8 = 2;
const LEFT_CHANGED: u8 = 4;

impl From<ops::Error> for Failure {
    fn from(e: ops::Error) -> Failure {
        Failure::Job(e)
    }
}

impl Failure {
    /// Says what is wrong, and gives the exit code.
    pub fn report(self) -> ExitCode {
        let code = match self {
            Failure::Job(e) => {
                errors::explain(&e);
                let code = match &e {
                    e if e.left_changed() => LEFT_CHANGED,
                    e if e.is_wrong_input() => WRONG_INPUT,
                    _ => FAILED,
                };
                return end(e.signal(), code.into());
            }
            Failure::Output { cause, changed } => {
                let done = if changed { "it is done, but " } else { "" };
                errors::complain(&format!("{done}cannot write to standard output: {cause}"));
                if changed { LEFT_CHANGED } else { FAILED }
            }
        };
        code.into()
    }
}

/// The exit code of a job with several parts, of which some may have failed and
/// others changed something.
pub fn outcome(failed: usize, changed: bool) -> ExitCode {
    match (failed, changed) {
        (0, _) => return ExitCode::SUCCESS,
        (_, true) => LEFT_CHANGED,
        (_, false) => FAILED,
    }
    .into()
}

/// Ends the program by the signal that interrupted a job, now that all is said; or
/// goes on to its exit code.
pub fn end(signal: Option<Signal>, code: ExitCode) -> ExitCode {
    if let Some(signal) = signal {
        signals::end_by(signal);
    }
    code
}

/// Reports an error, and then lets the signals come that were held back.
pub fn told(error: ops::Error, held: Option<signals::Held>) -> ExitCode {
    let code = Failure::Job(error).report();
    drop(held);
    code
}

impl Face {
    /// Reports as JSON, or for people.
    pub fn new(json: bool) -> Face {
        Face { json }
    }

    /// Prints the report of a job that changes nothing.
    pub fn print<R: Serialize>(
        &self,
        report: &R,
        people: impl Fn(&R) -> Text,
    ) -> Result<ExitCode, Failure> {
        self.print_done(report, false, people)
    }

    /// Prints a report for people that is a text already.
    pub fn print_text(&self, text: &Text) -> Result<ExitCode, Failure> {
        written(people_read(text), false)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Prints the report of a job that has `changed` something.
    pub fn print_done<R: Serialize>(
        &self,
        report: &R,
        changed: bool,
        people: impl Fn(&R) -> Text,
    ) -> Result<ExitCode, Failure> {
        let done = match self.json {
            true => json(report),
            false => people_read(&people(report)),
        };
        written(done, changed)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Whether reports are for programs.
    pub fn is_json(&self) -> bool {
        self.json
    }
}

/// Whether somebody still reads; an output that is closed has been read enough.
/// `changed` says whether the job has changed something.
pub fn written(done: io::Result<()>, changed: bool) -> Result<bool, Failure> {
    match done {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(cause) => Err(Failure::Output { cause, changed }),
    }
}

/// A JSON array on standard output, one element a line.
pub struct Array {
    out: BufWriter<io::Stdout>,
    before: &'static [u8],
}

impl Array {
    /// An empty one.
    pub fn new() -> Array {
        Array {
            out: BufWriter::with_capacity(1 << 16, io::stdout()),
            before: b"[\n",
        }
    }

    /// Adds one.
    pub fn push(&mut self, element: &impl Serialize) -> io::Result<()> {
        self.out.write_all(self.before)?;
        self.before = b",\n";
        let element = serde_json::to_string(element)?;
        self.out.write_all(text::json(&element).as_bytes())
    }

    /// Ends it.
    pub fn end(mut self) -> io::Result<()> {
        let end: &[u8] = if self.before == b"[\n" {
            b"[]\n"
        } else {
            b"\n]\n"
        };
        self.out.write_all(end)?;
        self.out.flush()
    }
}

fn people_read(text: &Text) -> io::Result<()> {
    write(
        &mut anstream::AutoStream::auto(io::stdout().lock()),
        text.as_str(),
    )
}

fn json(report: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    write(&mut io::stdout().lock(), &text::json(&text))
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}
