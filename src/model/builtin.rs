//! The built-in profiles: the kernel's own defaults, one for each known path
//! that forgets idle flows, and the triples that vendors publish.
//!
//! A vendor's triple is kept as it is published, even where it has a flaw;
//! `survives_idle_s` and the time to drop say what it is worth.

use super::path::{self, PATHS, Path};
use super::profile::{Profile, ProfileName};
use super::settings::Settings;

/// A built-in profile with the reason for its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builtin {
    /// Name, description and settings.
    pub profile: Profile,
    /// Why these numbers.
    pub why: String,
    /// Where they come from.
    pub source: &'static str,
    /// The path it is made for, if it is made for one.
    pub path: Option<&'static Path>,
}

struct Published {
    name: &'static str,
    description: &'static str,
    settings: Settings,
    why: &'static str,
    source: &'static str,
}

const PUBLISHED: &[Published] = &[
    Published {
        name: "aiven-postgresql",
        description: "Aiven for PostgreSQL: the server's published values",
        settings: Settings::literal(180, 10, 6),
        why: "The values Aiven gives its PostgreSQL servers: a dead client is dropped after 4 min.",
        source: "aiven.io, advanced parameters of Aiven for PostgreSQL",
    },
    Published {
        name: "aurora-failover",
        description: "Aurora PostgreSQL clients: notice a failover in seconds",
        settings: Settings::literal(1, 1, 5),
        why: "AWS recommends it for fast failover and says \"within five seconds\"; the kernel \
              needs six. A probe a second on every idle connection: for few connections only.",
        source: "docs.aws.amazon.com, Aurora user guide: fast failover with Aurora PostgreSQL",
    },
    Published {
        name: "azure-postgresql",
        description: "Azure Database for PostgreSQL: the server's default",
        settings: Settings::literal(120, 30, 9),
        why: "The server's default on Azure, whose load balancers forget idle flows after 240 s.",
        source: "learn.microsoft.com, PostgreSQL flexible server: TCP settings",
    },
    Published {
        name: "cassandra",
        description: "Cassandra and DataStax nodes behind a firewall",
        settings: Settings::literal(60, 10, 3),
        why: "DataStax gives these values against idle firewalls: a dead node is dropped after \
              90 s.",
        source: "docs.datastax.com, idle firewall timeouts on Linux",
    },
    Published {
        name: "gcp-published",
        description: "Google Cloud: the published values for VPC's 10 min",
        settings: Settings::literal(60, 60, 5),
        why: "Google's own advice against the 10 min after which VPC forgets a flow. `gcp-vpc` \
              does it with a seventh of the probes.",
        source: "cloud.google.com/compute/docs/troubleshooting/general-tips",
    },
    Published {
        name: "kaspersky-sc",
        description: "Kaspersky Security Center: the published values",
        settings: Settings::literal(900, 1, 10),
        why: "The vendor's values for its administration server: probes a second apart forgive \
              no outage longer than 9 s.",
        source: "support.kaspersky.com, article 313778",
    },
    Published {
        name: "kernel-default",
        description: "The kernel's compiled-in values",
        settings: Settings::literal(7200, 75, 9),
        why: "RFC 1122 wants two hours at least before the first probe. Nearly every NAT, \
              firewall and load balancer forgets a flow sooner.",
        source: "include/net/tcp.h: TCP_KEEPALIVE_TIME, _INTVL, _PROBES; RFC 1122 4.2.3.6",
    },
    Published {
        name: "rabbitmq",
        description: "RabbitMQ: the published values",
        settings: Settings::literal(30, 10, 4),
        why: "RabbitMQ's networking guide gives these: a dead peer is dropped after 70 s.",
        source: "rabbitmq.com/docs/networking",
    },
    Published {
        name: "rds-postgresql",
        description: "RDS and Aurora PostgreSQL: the server's default",
        settings: Settings::literal(300, 30, 2),
        why: "The server's default on RDS: a dead client is dropped after 6 min. With one probe \
              lost, a late timer comes close to the 350 s of an AWS NAT gateway and can miss it.",
        source: "docs.aws.amazon.com, RDS user guide: dead connection handling in PostgreSQL",
    },
    Published {
        name: "redis",
        description: "Redis: what tcp-keepalive 300 sets on its sockets",
        settings: Settings::literal(300, 100, 3),
        why: "Redis sets time to N, intvl to N/3 and probes to 3; its default N is 300.",
        source: "redis.conf: tcp-keepalive; src/anet.c: anetKeepAlive",
    },
    Published {
        name: "redshift",
        description: "Amazon Redshift clients: the published values",
        settings: Settings::literal(200, 200, 5),
        why: "AWS gives these for clients behind a firewall. Each refresh is in time for a NAT \
              gateway's 350 s, but a single lost probe is not forgiven: `aws-nat` forgives two.",
        source: "docs.aws.amazon.com/redshift/latest/mgmt/connecting-firewall-guidance.html",
    },
    Published {
        name: "sap-hana",
        description: "SAP HANA: the values of SAP Note 2696099",
        settings: Settings::literal(60, 5, 5),
        why: "SAP sets them in global.ini for HANA's own connections, with tcp_retries2 = 5 for \
              those with data in flight.",
        source: "SAP Note 2696099",
    },
    Published {
        name: "sap-netweaver",
        description: "SAP application servers: the values of SAP Note 1410736",
        settings: Settings::literal(300, 75, 9),
        why: "SAP's answer to firewalls that cut idle connections between application and \
              database server.",
        source: "SAP Note 1410736",
    },
    Published {
        name: "ssh",
        description: "SSH sessions: a dead peer noticed in three minutes",
        settings: Settings::literal(60, 30, 4),
        why: "The advice for ServerAliveInterval and ServerAliveCountMax, 30 to 60 s and 3 to 5, \
              as kernel settings. It survives every known path that counts segments, and forgives \
              an outage of 90 s.",
        source: "ssh_config(5): ServerAliveInterval, ServerAliveCountMax, TCPKeepAlive",
    },
];

/// All built-in profiles, by name.
pub fn all() -> Vec<Builtin> {
    let mut all: Vec<Builtin> = PATHS
        .iter()
        .filter_map(of_path)
        .chain(PUBLISHED.iter().map(of_published))
        .collect();
    all.sort_by(|a, b| a.profile.name.cmp(&b.profile.name));
    all
}

/// The built-in profile of that name.
pub fn find(name: &ProfileName) -> Option<Builtin> {
    let path = path::find(name.as_str());
    let published = || PUBLISHED.iter().find(|p| p.name == name.as_str());
    path.and_then(of_path)
        .or_else(|| published().map(of_published))
}

fn of_path(path: &'static Path) -> Option<Builtin> {
    let settings = path.settings()?;
    let (title, timeout_s) = (path.title, path.idle_timeout_s);
    let description = format!("{title}: forgets idle flows after {timeout_s} s");
    Some(Builtin {
        profile: profile(path.name, description, settings),
        why: format!(
            "The path forgets a flow after {timeout_s} s without a segment. time + intvl = {} s \
             leaves room for a lost probe and for the kernel's timers, which fire up to 8/63 late.",
            settings.time() + settings.intvl(),
        ),
        source: path.source,
        path: Some(path),
    })
}

fn of_published(p: &'static Published) -> Builtin {
    Builtin {
        profile: profile(p.name, p.description.to_owned(), p.settings),
        why: p.why.to_owned(),
        source: p.source,
        path: None,
    }
}

fn profile(name: &str, description: String, settings: Settings) -> Profile {
    let name = name
        .parse()
        .expect("a test holds every built-in name against the rule");
    Profile {
        name,
        description,
        settings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check::survives_idle_ms;
    use crate::model::time_to_drop::idle;

    #[test]
    fn names_are_unique_and_legal() {
        let names: Vec<_> = all().into_iter().map(|b| b.profile.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        for name in &names {
            assert_eq!(find(name).unwrap().profile.name, *name);
        }
    }

    fn settings(name: &str) -> Settings {
        find(&name.parse().unwrap()).unwrap().profile.settings
    }

    #[test]
    fn what_the_reasons_claim_is_so() {
        let drop = |name| idle(settings(name), None, None).drop.earliest_ms / 1000;
        assert_eq!(drop("aurora-failover"), 6);
        assert_eq!(drop("aiven-postgresql"), 240);
        assert_eq!(drop("cassandra"), 90);
        assert_eq!(drop("rabbitmq"), 70);
        assert_eq!(drop("rds-postgresql"), 360);
        assert_eq!(drop("ssh"), 180);
        let survives =
            |name, timeout_s: u64| survives_idle_ms(settings(name)) < Some(timeout_s * 1000);
        assert!(!survives("redshift", 350));
        assert!(!survives("rds-postgresql", 350));
        assert!(survives("azure-postgresql", 240));
        let counting_segments = PATHS.iter().filter(|p| p.refreshed_by_keepalive());
        for path in counting_segments {
            assert!(survives("ssh", path.idle_timeout_s.into()), "{}", path.name);
        }
    }
}
