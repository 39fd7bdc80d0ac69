//! Names that were perhaps meant.

/// How many are named at the most.
const MOST: usize = 5;

/// Those of `names` that share a word with `wanted`, or the beginning of one;
/// words end at `-`, `_` and `.`, and upper and lower case are alike.
pub fn similar<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let words = |name: &str| -> Vec<String> {
        let parts = name.split(['-', '_', '.', ',', ' ']);
        parts
            .filter(|part| !part.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let wanted = words(wanted);
    let alike = |name: &&str| {
        words(name).iter().any(|w| {
            wanted
                .iter()
                .any(|x| w.starts_with(x.as_str()) || x.starts_with(w.as_str()))
        })
    };
    names.filter(alike).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::similar;

    #[test]
    fn a_word_or_its_beginning_is_enough() {
        let names = || ["aws-nat", "aws-nlb", "azure-nat", "pf"].into_iter();
        assert_eq!(similar("AWS", names()), ["aws-nat", "aws-nlb"]);
        assert_eq!(similar("gcp-nat", names()), ["aws-nat", "azure-nat"]);
        assert_eq!(similar("pfsense", names()), ["pf"]);
        assert!(similar("", names()).is_empty());
        assert!(similar("x", names()).is_empty());
    }
}
