//! Who can write a file or folder.
//!
//! The root of a user namespace sees owners that have no number there, such as the
//! machine's root, all as one number. Those are outside, and trusted as the kernel
//! is: this root has no say over them.

/// Says who else than root can write a file or folder of this mode and ownership.
pub fn writable_by_others(mode: u32, owner: u32) -> Option<String> {
    if owner != 0 && !is_outside(owner) {
        return Some(format!("belongs to user {owner}"));
    }
    if mode & 0o002 != 0 {
        return Some("can be written by everybody".to_owned());
    }
    if mode & 0o020 != 0 {
        return Some("can be written by its group".to_owned());
    }
    None
}

/// Whether root alone can replace an entry of this folder that is root's, as in
/// `/nix/store`.
pub(super) fn is_roots_sticky(mode: u32, owner: u32) -> bool {
    (owner == 0 || is_outside(owner)) && mode & 0o1002 == 0o1000
}

/// Whether a number stands for all users that this user namespace has none for.
fn is_outside(user: u32) -> bool {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let overflow = read("/proc/sys/kernel/overflowuid");
    let is_overflow = overflow.is_some_and(|number| number.trim().parse() == Ok(user));
    is_overflow && read("/proc/self/uid_map").is_some_and(|map| !is_mapped(&map, user))
}

/// Whether a user namespace with this map (user_namespaces(7)) has a user of this
/// number.
fn is_mapped(map: &str, user: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => {
                (first..first.saturating_add(count)).contains(&u64::from(user))
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_may_write_what_root_runs() {
        assert_eq!(writable_by_others(0o100_755, 0), None);
        assert!(writable_by_others(0o100_775, 0).is_some());
        assert!(writable_by_others(0o100_755, 1000).is_some());
        assert!(writable_by_others(0o42_775, 0).is_some());
        assert!(writable_by_others(0o41_777, 0).is_some());
        assert!(is_roots_sticky(0o41_775, 0));
        assert!(!is_roots_sticky(0o41_777, 0));
        assert!(!is_roots_sticky(0o41_775, 1000));
    }

    #[test]
    fn a_map_says_who_is_inside() {
        let all = "         0          0 4294967295\n";
        assert!(is_mapped(all, 65534));
        let some = "0 1000 1\n1 100000 65533\n";
        assert!(is_mapped(some, 0) && is_mapped(some, 65533));
        assert!(!is_mapped(some, 65534));
        assert!(!is_mapped("", 0));
    }
}
