//! The computed time to drop against this very kernel: `measure`, many times.
//!
//! Each case runs in a network namespace of its own, so they run side by side.
//! The binary predicts before it waits; this suite reads both numbers and judges
//! by itself.

use std::fmt;
use std::fs;
use std::process::{Output, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::program;
use crate::sandbox::namespaces_allowed;
use crate::stalls::{CHANCES, Stalls};

/// One experiment.
#[derive(Debug, Clone, PartialEq)]
struct Case {
    state: &'static str,
    settings: [u32; 3],
    user_timeout_ms: Option<u32>,
    retries2: Option<u32>,
    rto_max_ms: Option<u32>,
    alive_for_ms: Option<u32>,
}

/// As it is typed.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [time, intvl, probes] = self.settings;
        write!(f, "measure --time {time} --intvl {intvl} --probes {probes}")?;
        write!(f, " --state {}", self.state)?;
        for (flag, value, unit) in [
            ("user-timeout", self.user_timeout_ms, "ms"),
            ("retries2", self.retries2, ""),
            ("rto-max", self.rto_max_ms, "ms"),
            ("alive-for", self.alive_for_ms, "ms"),
        ] {
            if let Some(value) = value {
                write!(f, " --{flag} {value}{unit}")?;
            }
        }
        Ok(())
    }
}

/// What came of one that was measured.
#[derive(Debug)]
struct Outcome {
    case: Case,
    earliest_ms: f64,
    latest_ms: f64,
    measured_ms: f64,
    /// For how long this machine stood still meanwhile.
    stalled_ms: f64,
}

impl Outcome {
    /// Reads what one run said; what it complained of, if the machine was too slow
    /// for it to begin.
    fn new(case: Case, output: &Output, stalled: Duration) -> Result<Outcome, String> {
        let complaint = String::from_utf8_lossy(&output.stderr);
        if TOO_SLOW.iter().any(|slow| complaint.contains(slow)) {
            return Err(complaint.into_owned());
        }
        let json: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{case}: {e}: {complaint}"));
        let ms = |field: &str| json[field].as_f64().map(|s| s * 1000.0);
        let outcome = Outcome {
            case,
            earliest_ms: ms("drop_s").unwrap(),
            latest_ms: ms("drop_latest_s").unwrap(),
            measured_ms: ms("measured_s").unwrap_or(f64::INFINITY),
            stalled_ms: stalled.as_secs_f64() * 1000.0,
        };
        outcome.agrees(json["within"] == true, output.status.code());
        Ok(outcome)
    }

    /// Fails unless the binary's own verdict and exit code are the right ones.
    fn agrees(&self, within: bool, code: Option<i32>) {
        let granted_ms = self.latest_ms + SCHEDULING_MS;
        let inside = (self.earliest_ms..=granted_ms).contains(&self.measured_ms);
        assert_eq!(within, inside, "{self:?}");
        assert_eq!(code, Some(if within { 0 } else { 3 }), "{self:?}");
    }

    /// Milliseconds outside of the bounds; negative inside.
    fn error_ms(&self) -> f64 {
        (self.earliest_ms - self.measured_ms).max(self.measured_ms - self.latest_ms)
    }

    /// Passes it on if it lies within its bounds, and says how if it does not.
    fn judged(self) -> Result<Outcome, String> {
        let granted_ms = self.latest_ms + SCHEDULING_MS + self.stalled_ms;
        if (self.earliest_ms..=granted_ms).contains(&self.measured_ms) {
            return Ok(self);
        }
        let (earliest, latest, measured) = (self.earliest_ms, self.latest_ms, self.measured_ms);
        let stalled = self.stalled_ms;
        Err(format!(
            "{measured} ms, not {earliest} to {latest}; stalled for {stalled:.0} ms"
        ))
    }

    /// Whether time + intvl × probes is off by more than late timers explain.
    fn plain_sum_is_wrong(&self) -> bool {
        let [time, intvl, probes] = self.case.settings.map(f64::from);
        let sum_ms = (time + intvl * probes) * 1000.0;
        let latest_ms = sum_ms * 71.0 / 63.0 + SCHEDULING_MS + self.stalled_ms;
        !(sum_ms..=latest_ms).contains(&self.measured_ms)
    }
}

/// What a busy machine may need to tell a program.
const SCHEDULING_MS: f64 = 50.0;

/// What is said where a stall came before the peer fell silent.
const TOO_SLOW: [&str; 2] = [
    "until its peer falls silent: Connection timed out",
    "catch the moment on this busy machine",
];

/// Runs one; an error if nothing was measured, or not what was predicted.
fn measure(case: &Case, stalls: &Stalls) -> Result<Outcome, String> {
    let started = Instant::now();
    let output = program()
        .args(case.to_string().split_whitespace())
        .arg("--json")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stalled = stalls.between(started, Instant::now());
    Outcome::new(case.clone(), &output, stalled)?.judged()
}

/// Runs all side by side, prints what was found, and fails on any case outside its
/// bounds time and again. A machine that stalls for longer than a granule makes a
/// drop late, for which it is granted as much, or one expiry early, because the
/// limit has passed by then: so what was outside gets more chances. A wrong bound
/// is wrong each time.
fn judge(cases: Vec<Case>) {
    let (mut inside, mut left) = (Vec::new(), cases);
    for chance in 1..=CHANCES {
        let outcomes = side_by_side(&left);
        let mut outside = Vec::new();
        for (case, outcome) in left.into_iter().zip(outcomes) {
            match outcome {
                Ok(outcome) => inside.push(outcome),
                Err(why) => {
                    eprintln!("outside, chance {chance} of {CHANCES}: {case}: {why}");
                    outside.push(case);
                }
            }
        }
        left = outside;
        if left.is_empty() {
            break;
        }
    }
    print(&inside);
    assert!(left.is_empty(), "outside each time: {left:#?}");
}

fn side_by_side(cases: &[Case]) -> Vec<Result<Outcome, String>> {
    let apart = Duration::from_millis(30);
    let stalls = Stalls::watch();
    thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .map(|case| {
                sleep(apart);
                scope.spawn(|| measure(case, &stalls))
            })
            .collect();
        let outcomes = running.into_iter().map(|one| one.join().unwrap());
        outcomes.collect()
    })
}

/// A line for each state.
fn print(outcomes: &[Outcome]) {
    eprintln!(
        "state        cases  least room (ms)  most stalled (ms)  widest bounds (ms)  plain sum wrong"
    );
    for state in ["idle", "in-flight", "zero-window"] {
        let of_state: Vec<&Outcome> = outcomes.iter().filter(|o| o.case.state == state).collect();
        let most =
            |of: fn(&Outcome) -> f64| of_state.iter().map(|o| of(o)).fold(f64::MIN, f64::max);
        let worst = most(Outcome::error_ms);
        let stalled = most(|o| o.stalled_ms);
        let widest = most(|o| o.latest_ms - o.earliest_ms);
        let wrong = of_state.iter().filter(|o| o.plain_sum_is_wrong()).count();
        let (count, room) = (of_state.len(), -worst);
        eprintln!(
            "{state:<12} {count:>5}  {room:>15.0}  {stalled:>17.0}  {widest:>18.0}  {wrong:>15}"
        );
    }
}

fn idle(time: u32, intvl: u32, probes: u32) -> Case {
    Case {
        state: "idle",
        settings: [time, intvl, probes],
        user_timeout_ms: None,
        retries2: None,
        rto_max_ms: None,
        alive_for_ms: None,
    }
}

fn busy(state: &'static str, retries2: u32) -> Case {
    Case {
        state,
        retries2: Some(retries2),
        ..idle(1, 1, 3)
    }
}

fn with_user_timeout(case: Case, ms: u32) -> Case {
    Case {
        user_timeout_ms: Some(ms),
        ..case
    }
}

/// Whether this kernel has `tcp_rto_max_ms` (since 6.15).
fn has_rto_max() -> bool {
    let has = fs::exists("/proc/sys/net/ipv4/tcp_rto_max_ms").unwrap();
    if !has {
        eprintln!("this kernel has no tcp_rto_max_ms: its cases are left out");
    }
    has
}

/// A few seconds' worth of each kind.
fn short_cases() -> Vec<Case> {
    let mut cases = vec![
        idle(1, 1, 1),
        idle(2, 1, 2),
        idle(1, 2, 2),
        idle(3, 1, 5),
        with_user_timeout(idle(1, 1, 9), 500),
        with_user_timeout(idle(1, 1, 9), 3001),
        with_user_timeout(idle(2, 1, 1), 3000),
        Case {
            // An answered probe, and then the longer intvl.
            alive_for_ms: Some(1500),
            ..idle(1, 3, 1)
        },
    ];
    for state in ["in-flight", "zero-window"] {
        cases.extend((0..5).map(|retries2| busy(state, retries2)));
        cases.extend([300, 1000, 2500].map(|ms| with_user_timeout(busy(state, 15), ms)));
    }
    cases.push(Case {
        // The timer has doubled, and answers do not set that back.
        alive_for_ms: Some(3000),
        ..busy("zero-window", 2)
    });
    cases.push(Case {
        // The user timeout's clock runs already.
        alive_for_ms: Some(2000),
        ..with_user_timeout(busy("zero-window", 15), 4000)
    });
    cases
}

/// Random numbers that are the same in each run.
struct Sequence(u64);

impl Sequence {
    fn up_to(&mut self, least: u32, most: u32) -> u32 {
        // Knuth's constants for a linear congruential generator.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        least + (self.0 >> 33) as u32 % (most - least + 1)
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.up_to(1, n) == 1
    }
}

fn grid() -> Vec<Case> {
    let mut cases = Vec::new();
    for (time, intvl) in [(1, 1), (1, 4), (2, 3), (4, 1), (5, 2), (17, 1)] {
        cases.extend([1, 2, 4].map(|probes| idle(time, intvl, probes)));
    }
    for ms in [1, 1000, 4000, 4001, 5500, 9000] {
        cases.push(with_user_timeout(idle(2, 2, 1), ms));
    }
    for state in ["in-flight", "zero-window"] {
        cases.extend((0..=6).map(|retries2| busy(state, retries2)));
        for ms in [1, 205, 410, 1224, 5000, 20_000] {
            cases.push(with_user_timeout(busy(state, 15), ms));
        }
        cases.push(with_user_timeout(busy(state, 2), 8000));
        if has_rto_max() {
            // Whole ticks, and not.
            cases.extend([1000, 2500, 1021].map(|ms| Case {
                rto_max_ms: Some(ms),
                ..busy(state, if ms == 1021 { 10 } else { 7 })
            }));
        }
    }
    cases
}

/// A window that was closed for long: both clocks may run already.
fn long_closed() -> Vec<Case> {
    [
        (5, None),
        (5, Some(15_000)),
        (15, Some(9000)),
        (3, Some(20_000)),
    ]
    .map(|(retries2, user_timeout_ms)| Case {
        user_timeout_ms,
        alive_for_ms: Some(8000),
        ..busy("zero-window", retries2)
    })
    .to_vec()
}

fn random(count: usize, seed: u64) -> Vec<Case> {
    let mut next = Sequence(seed);
    (0..count)
        .map(|n| {
            let state = ["idle", "in-flight", "zero-window"][n % 3];
            let alive = state == "zero-window" && next.one_in(4);
            Case {
                state,
                settings: [next.up_to(1, 12), next.up_to(1, 6), next.up_to(1, 4)],
                // A live peer is dropped too, with these: a Linux peer answers one
                // window probe in 500 ms (tcp_invalid_ratelimit).
                user_timeout_ms: (!alive && next.one_in(2)).then(|| next.up_to(1, 20_000)),
                retries2: Some(if alive {
                    next.up_to(2, 3)
                } else {
                    next.up_to(0, 6)
                }),
                rto_max_ms: None,
                alive_for_ms: alive.then(|| next.up_to(1, 4000)),
            }
        })
        .collect()
}

#[test]
fn a_few_cases_of_each_state() {
    if measurable() {
        judge(short_cases());
    }
}

/// Whether this process may measure: as root in any case.
fn measurable() -> bool {
    nix::unistd::geteuid().is_root() || namespaces_allowed()
}

#[test]
#[ignore = "needs a minute or two"]
fn a_grid_and_a_random_sample() {
    const SEED: u64 = 20_240_229;
    let mut cases = grid();
    cases.extend(long_closed());
    cases.extend(random(60, SEED));
    eprintln!("{} cases, seed {SEED}", cases.len());
    assert!(measurable());
    judge(cases);
}

#[test]
fn a_case_prints_as_its_command() {
    let case = with_user_timeout(busy("in-flight", 3), 900);
    assert_eq!(
        case.to_string(),
        "measure --time 1 --intvl 1 --probes 3 --state in-flight --user-timeout 900ms --retries2 3"
    );
}
