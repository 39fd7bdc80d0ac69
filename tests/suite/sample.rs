//! A seeded sample of many cases: the whole set by default, a share of it where
//! the environment says so.
//!
//! `KEEPALIVECTL_TEST_SAMPLE` is the share in percent, and
//! `KEEPALIVECTL_TEST_SEED` a whole number that decides which cases it is. Every
//! kind of case keeps at least one.

use std::collections::BTreeMap;
use std::env;

const SHARE: &str = "KEEPALIVECTL_TEST_SAMPLE";
const SEED: &str = "KEEPALIVECTL_TEST_SEED";

/// Which part of the cases is run.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    percent: usize,
    seed: u64,
}

impl Sample {
    /// Reads the environment. A value that makes no sense fails the test.
    pub fn from_environment() -> Sample {
        let percent = number(SHARE, 100);
        assert!((1..=100).contains(&percent), "{SHARE}: use 1 to 100");
        Sample {
            percent: percent as usize,
            seed: number(SEED, 1),
        }
    }

    /// Returns how many of this many cases are run.
    pub fn share(self, of: usize) -> usize {
        (of * self.percent).div_ceil(100)
    }

    /// Chooses from the cases of each kind, and keeps their order. Prints how to
    /// repeat the choice; `tests` is a filter that names the tests it is for.
    pub fn choose<T, K: Ord>(self, tests: &str, cases: Vec<T>, kind: impl Fn(&T) -> K) -> Vec<T> {
        let all = cases.len();
        let mut random = Random(self.seed);
        let mut kinds: BTreeMap<K, Vec<(u64, usize)>> = BTreeMap::new();
        for (place, case) in cases.iter().enumerate() {
            let drawn = (random.next(), place);
            kinds.entry(kind(case)).or_default().push(drawn);
        }
        let mut chosen = vec![false; all];
        for drawn in kinds.values_mut() {
            drawn.sort_unstable();
            for (_, place) in &drawn[..self.share(drawn.len())] {
                chosen[*place] = true;
            }
        }
        let cases = cases.into_iter().zip(chosen);
        let cases: Vec<T> = cases.filter_map(|(case, is)| is.then_some(case)).collect();
        self.print(tests, cases.len(), all);
        cases
    }

    /// Prints how many cases are run, and the command that repeats it.
    pub fn print(self, tests: &str, run: usize, of: usize) {
        let Sample { percent, seed } = self;
        eprintln!(
            "sample: {run} of {of} cases, seed {seed}. Repeat it: {SHARE}={percent} {SEED}={seed} \
             cargo test --test suite {tests} -- --ignored"
        );
    }

    /// Returns the seed in as many bytes as a generator wants.
    pub fn seed_bytes<const N: usize>(self) -> [u8; N] {
        let mut random = Random(self.seed);
        std::array::from_fn(|_| random.next() as u8)
    }
}

/// Reads a whole number from the environment.
fn number(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|e| panic!("{name}={text:?}: {e}")),
        Err(_) => default,
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[test]
fn a_sample_keeps_every_kind_and_follows_its_seed() {
    let cases = || (0..100).collect::<Vec<u32>>();
    // A kind of 90 cases, and ten of one each.
    let kind = |case: &u32| case.saturating_sub(89);
    let choose = |percent, seed| Sample { percent, seed }.choose("sample", cases(), kind);
    assert_eq!(choose(100, 1), cases());
    let some = choose(10, 1);
    assert_eq!(some.len(), 9 + 10);
    assert!(some.is_sorted() && (90..100).all(|case| some.contains(&case)));
    assert_eq!(choose(10, 1), some);
    assert_ne!(choose(10, 2), some);
    assert_eq!(choose(1, 1).len(), 1 + 10);
}

#[test]
fn the_generator_is_splitmix64() {
    // The first numbers of the published reference for this seed.
    let mut random = Random(1_234_567);
    assert_eq!(random.next(), 6_457_827_717_110_365_317);
    assert_eq!(random.next(), 3_203_168_211_198_807_973);
}
