//! What both readers make of lines.

use super::*;

fn files(texts: &[(&str, &str)]) -> Files {
    let mut files = Files::default();
    for (path, text) in texts {
        let name = Some((*path).into());
        let left_out = files.take(name, path.into(), text, &mut Budget::default());
        assert!(left_out.is_empty());
    }
    files
}

/// What both readers make of time: (value, line) each.
fn time(texts: &[(&str, &str)]) -> [Option<(i64, usize)>; 2] {
    [Reader::SystemdSysctl, Reader::SysctlSystem].map(|reader| {
        let verdict = reader.decide(&files(texts), Setting::Time, Hz::new(250));
        verdict.decided.map(|d| (d.value, d.line))
    })
}

const T: &str = "net.ipv4.tcp_keepalive_time";

#[test]
fn the_last_assignment_wins_in_both() {
    let later = format!("# comment\n\n{T} = 30\n");
    let found = time(&[("a", &format!("{T}=20")), ("b", &later)]);
    assert_eq!(found, [Some((30, 3)); 2]);
}

#[test]
fn a_refused_value_is_remembered_by_systemd_only() {
    let found = time(&[("a", &format!("{T}=20")), ("b", &format!("{T}=soon"))]);
    assert_eq!(found, [None, Some((20, 1))]);
    let verdict = Reader::SystemdSysctl.decide(
        &files(&[("b", &format!("\n{T}=soon"))]),
        Setting::Time,
        None,
    );
    assert!(verdict.notes[0].starts_with("b:2: the kernel refuses \"soon\""));
}

#[test]
fn a_carriage_return_and_a_nul_end_a_line_in_systemd_only() {
    for end in ['\r', '\0'] {
        let hidden = format!("\n# x{end}{T} = 11\n");
        assert_eq!(time(&[("a", &hidden)]), [Some((11, 2)), None], "{end:?}");
        let cancels = format!("{T}=20\n# x{end}-{T}\n");
        assert_eq!(time(&[("a", &cancels)]), [None, Some((20, 1))], "{end:?}");
    }
    // As other systems end all their lines.
    let text = format!("# x\r\n{T} = 11\r\n");
    assert_eq!(time(&[("a", &text)]), [Some((11, 2)); 2]);
}

#[test]
fn a_bare_minus_cancels_in_systemd_only() {
    let found = time(&[("a", &format!("{T}=20")), ("b", &format!("-{T}"))]);
    assert_eq!(found, [None, Some((20, 1))]);
}

#[test]
fn a_glob_sets_only_what_is_not_named() {
    let glob = "net.ipv4.tcp_keepalive_* = 5";
    assert_eq!(time(&[("a", glob)]), [Some((5, 1)); 2]);
    let named = format!("{T}=20");
    assert_eq!(time(&[("a", &named), ("b", glob)]), [Some((20, 1)); 2]);
    assert_eq!(time(&[("a", glob), ("b", &named)]), [Some((20, 1)); 2]);
    let excluded = format!("-{T}");
    assert_eq!(time(&[("a", glob), ("b", &excluded)]), [None; 2]);
}

#[test]
fn globs_are_written_in_turn() {
    let a = "net/ipv4/tcp_keepalive_[^ip]ime = 1";
    let b = "net.ipv4.tcp_*_time = 2";
    let c = "net.ipv4.tcp_*_time = 3";
    assert_eq!(time(&[("x", a), ("y", b)]), [Some((2, 1)); 2]);
    assert_eq!(time(&[("x", b), ("y", a)]), [Some((1, 1)); 2]);
    // The same glob with another value moves to the end in systemd.
    assert_eq!(time(&[("x", b), ("y", a), ("z", c)]), [Some((3, 1)); 2]);
    assert_eq!(
        time(&[("x", b), ("y", a), ("z", b)]),
        [Some((1, 1)), Some((2, 1))]
    );
}

#[test]
fn sysctl_conf_and_hidden_files_are_not_systemds() {
    let mut files = files(&[(".a", &format!("{T}=1")), ("b", &format!("{T}=2"))]);
    let value = |reader: Reader, files: &Files| {
        let decided = reader.decide(files, Setting::Time, None).decided;
        decided.map(|d| d.value)
    };
    files.read[1].name = None;
    assert_eq!(value(Reader::SystemdSysctl, &files), None);
    assert_eq!(value(Reader::SysctlSystem, &files), Some(2));
    files.read.pop();
    assert_eq!(value(Reader::SysctlSystem, &files), Some(1));
}

#[test]
fn braces_are_systemds_only() {
    let found = time(&[("a", "net.ipv4.tcp_keepalive_{intvl,t{i,x}me}* = 5")]);
    assert_eq!(found, [Some((5, 1)), None]);
    // Without a wildcard it is no glob.
    assert_eq!(
        time(&[("a", "net.ipv4.tcp_keepalive_{time} = 5")]),
        [None; 2]
    );
}

#[test]
fn an_odd_spelling_keeps_no_glob_away_from_procps() {
    let found = time(&[
        ("a", "/net/ipv4/tcp_keepalive_time = 20"),
        ("b", "net.ipv4.tcp_keepalive_* = 5"),
    ]);
    assert_eq!(found, [Some((20, 1)), Some((5, 1))]);
}

#[test]
fn no_wildcard_matches_a_slash() {
    assert_eq!(
        time(&[("a", "net.*.tcp_keepalive_time = 5")]),
        [Some((5, 1)); 2]
    );
    assert_eq!(time(&[("a", "net.* = 5")]), [None; 2]);
    assert_eq!(
        time(&[("a", "net/**/tcp_keepalive_time = 5")]),
        [Some((5, 1)); 2]
    );
    assert_eq!(time(&[("a", "*tcp_keepalive_time = 5")]), [None; 2]);
}

#[test]
fn keys_are_spelt_in_many_ways() {
    for key in [
        "net.ipv4.tcp_keepalive_time",
        "net/ipv4/tcp_keepalive_time",
        "/net/ipv4/tcp_keepalive_time",
        "net/ipv4//tcp_keepalive_time",
        "-net.ipv4.tcp_keepalive_time",
        "  net.ipv4.tcp_keepalive_time  ",
    ] {
        assert_eq!(
            time(&[("a", &format!("{key}=7"))]),
            [Some((7, 1)); 2],
            "{key}"
        );
    }
    for key in [
        "net.ipv4/tcp_keepalive_time",
        "#net.ipv4.tcp_keepalive_time",
    ] {
        assert_eq!(time(&[("a", &format!("{key}=7"))]), [None; 2], "{key}");
    }
}

#[test]
fn a_planned_file_takes_its_place() {
    let mut files = files(&[("a", ""), ("c", "")]);
    files.read[1].name = None;
    let text = |t: &str| Some((PathBuf::from("b"), t.to_owned()));
    let paths = |f: &Files| -> Vec<PathBuf> { f.read.iter().map(|f| f.path.clone()).collect() };
    let (first, second) = (format!("{T}=1"), format!("{T}=2"));
    let with = files.clone().with("b", text(&first));
    let with = with.with("b", text(&second));
    assert_eq!(paths(&with), ["a", "b", "c"].map(PathBuf::from));
    assert_eq!(with.read[1].lines[0].value.as_deref(), Some("2"));
    assert_eq!(with.with("b", None), files);
}

#[test]
fn numbers_as_the_kernel_reads_them() {
    // Each pair was tried on a 6.18 kernel with HZ=250.
    for (text, value) in [
        ("72", Some(72)),
        ("0x10", Some(16)),
        ("0X1F", Some(31)),
        ("010", Some(8)),
        ("72 75", Some(72)),
        ("72\tx", Some(72)),
        ("8589934", Some(8_589_934)),
        ("0", Some(0)),
        ("-1", Some(-1)),
        ("8589935", None),
        ("72abc", None),
        ("72;", None),
        ("", None),
        ("+5", None),
        ("1e3", None),
        ("09", None),
        ("0b11", None),
        ("--5", None),
        ("00000000000000000000000000000000000009", None),
    ] {
        let taken = kernel_takes(Setting::Time, text, Hz::new(250));
        assert_eq!(taken, value, "{text:?}");
    }
    assert_eq!(kernel_takes(Setting::Probes, "256", None), None);
    assert_eq!(kernel_takes(Setting::Probes, "255", None), Some(255));
    assert_eq!(kernel_takes(Setting::Probes, "-1", None), None);
}
