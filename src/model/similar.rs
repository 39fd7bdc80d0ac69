//! Names that were perhaps meant.

/// How many are named at the most.
const MOST: usize = 3;

/// Less alike than this is not named.
const ALIKE: f64 = 0.75;

/// Those of `names` that are most like `wanted`, the likest first; upper and
/// lower case are alike.
pub fn similar<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(f64, &str)> = names
        .map(|name| (strsim::jaro_winkler(&wanted, name), name))
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored
        .into_iter()
        .map(|(_, name)| name)
        .take(MOST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::similar;

    #[test]
    fn the_likest_come_first() {
        let names = || ["aws-alb", "aws-nat", "aws-nlb", "azure-nat", "pf"].into_iter();
        assert_eq!(similar("awsnat", names())[0], "aws-nat");
        assert_eq!(similar("AWS-NAT", names())[0], "aws-nat");
        assert!(similar("aws", names()).contains(&"aws-nlb"));
        assert!(similar("", names()).is_empty());
        assert!(similar("zzzz", names()).is_empty());
    }
}
