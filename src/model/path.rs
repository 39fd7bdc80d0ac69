//! Known paths: boxes between two hosts that forget a flow that is idle for
//! too long.
//!
//! Each row has its source, because these numbers are the vendors', not ours.
//! Most boxes count segments, and a keepalive probe is one. Proxies that end the
//! connection themselves count bytes, and no probe refreshes them.

use serde::Serialize;
use thiserror::Error;

use super::settings::Settings;
use super::similar::similar;
use Counts::{Bytes, Segments};
use OnExpiry::{Closes, Forgets, NotPublished, Resets};

/// One kind of box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Its name, and that of the built-in profile for it.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// Seconds of idleness after which it forgets a TCP flow, by default.
    pub idle_timeout_s: u32,
    /// How or in which range it can be changed; empty if it cannot.
    pub configurable: &'static str,
    /// What becomes of a connection that was idle for too long.
    pub on_expiry: OnExpiry,
    /// What it takes for a sign of life.
    pub counts: Counts,
    /// Where the timeout is published.
    pub source: &'static str,
}

/// What becomes of a connection that was idle for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExpiry {
    /// The flow is forgotten, and later segments vanish.
    Forgets,
    /// The flow is forgotten, and a later segment is answered with RST.
    Resets,
    /// Both connections are closed.
    Closes,
    /// The vendor does not say.
    NotPublished,
}

/// What a box takes for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// Any segment, and so a keepalive probe or its answer: with the settings of
    /// the built-in profile, which refresh it in time with two probes lost and
    /// each timer as late as it can be. None where the kernel's own settings do.
    Segments(Option<Settings>),
    /// Bytes that a program sends. No keepalive probe refreshes it.
    Bytes,
}

impl Path {
    /// The settings of the built-in profile, if there is one.
    pub fn settings(&self) -> Option<Settings> {
        match self.counts {
            Segments(settings) => settings,
            Bytes => None,
        }
    }

    /// Whether keepalive refreshes it.
    pub fn refreshed_by_keepalive(&self) -> bool {
        matches!(self.counts, Segments(_))
    }
}

/// The known path of that name.
pub fn find(name: &str) -> Option<&'static Path> {
    PATHS.iter().find(|path| path.name == name)
}

/// A name that no known path has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no known path of that name{}", perhaps(.0))]
pub struct UnknownPath(pub String);

fn perhaps(name: &str) -> String {
    match similar(name, PATHS.iter().map(|path| path.name)) {
        none if none.is_empty() => "; `keepalivectl paths` lists them".to_owned(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// The known path of that name.
///
/// # Errors
/// There is none.
pub fn parse(name: &str) -> Result<&'static Path, UnknownPath> {
    find(name).ok_or_else(|| UnknownPath(name.to_owned()))
}

const fn path(
    name: &'static str,
    title: &'static str,
    idle_timeout_s: u32,
    configurable: &'static str,
    on_expiry: OnExpiry,
    counts: Counts,
    source: &'static str,
) -> Path {
    Path {
        name,
        title,
        idle_timeout_s,
        configurable,
        on_expiry,
        counts,
        source,
    }
}

// One set of settings for each timeout. Each survives even two lost probes:
// (time + 2·intvl), with the latest timers, is below the timeout.
const FOR_240: Settings = Settings::literal(150, 30, 5);
const FOR_300: Settings = Settings::literal(200, 30, 5);
const FOR_350: Settings = Settings::literal(240, 30, 6);
const FOR_600: Settings = Settings::literal(420, 50, 5);
const FOR_900: Settings = Settings::literal(600, 75, 5);
const FOR_1200: Settings = Settings::literal(900, 75, 5);
const FOR_1800: Settings = Settings::literal(1200, 75, 9);
const FOR_3600: Settings = Settings::literal(2700, 75, 9);
const FOR_7440: Settings = Settings::literal(6000, 75, 9);

/// The known paths, by name.
pub const PATHS: &[Path] = &[
    path(
        "aks-outbound",
        "Azure AKS outbound load balancer",
        1800,
        "4 to 120 min",
        Forgets,
        Segments(Some(FOR_1800)),
        "learn.microsoft.com, AKS load balancer profile: idleTimeoutInMinutes 30",
    ),
    path(
        "aws-alb",
        "AWS Application Load Balancer",
        60,
        "1 to 4000 s",
        Closes,
        Bytes,
        "docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html",
    ),
    path(
        "aws-clb",
        "AWS Classic Load Balancer",
        60,
        "1 to 4000 s",
        Closes,
        Bytes,
        "docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-idle-timeout.html: TCP \
         keep-alive probes do not prevent it",
    ),
    path(
        "aws-firewall",
        "AWS Network Firewall",
        350,
        "60 to 6000 s",
        Forgets,
        Segments(Some(FOR_350)),
        "docs.aws.amazon.com/network-firewall/latest/APIReference/API_FlowTimeouts.html",
    ),
    path(
        "aws-nat",
        "AWS NAT gateway",
        350,
        "",
        Resets,
        Segments(Some(FOR_350)),
        "docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html",
    ),
    path(
        "aws-nitro6",
        "AWS EC2 security groups on Nitro v6 instances",
        350,
        "60 to 432000 s",
        NotPublished,
        Segments(Some(FOR_350)),
        "docs.aws.amazon.com, EC2 ConnectionTrackingConfiguration: TcpEstablishedTimeout",
    ),
    path(
        "aws-nlb",
        "AWS Network Load Balancer",
        350,
        "60 to 6000 s; 350 s with TLS",
        Resets,
        Segments(Some(FOR_350)),
        "docs.aws.amazon.com/elasticloadbalancing/latest/network/update-idle-timeout.html",
    ),
    path(
        "aws-security-group",
        "AWS EC2 security groups before Nitro v6",
        432000,
        "60 to 432000 s",
        NotPublished,
        Segments(None),
        "docs.aws.amazon.com, EC2 ConnectionTrackingConfiguration: TcpEstablishedTimeout",
    ),
    path(
        "azure-firewall",
        "Azure Firewall, north-south",
        240,
        "up to 15 min, by support",
        Resets,
        Segments(Some(FOR_240)),
        "learn.microsoft.com/azure/firewall/tcp-session-behavior",
    ),
    path(
        "azure-firewall-east-west",
        "Azure Firewall, east-west",
        300,
        "",
        Forgets,
        Segments(Some(FOR_300)),
        "learn.microsoft.com/azure/firewall/tcp-session-behavior",
    ),
    path(
        "azure-lb",
        "Azure Load Balancer",
        240,
        "4 to 100 min",
        Forgets,
        Segments(Some(FOR_240)),
        "learn.microsoft.com/azure/load-balancer/load-balancer-tcp-idle-timeout",
    ),
    path(
        "azure-nat",
        "Azure NAT Gateway",
        240,
        "4 to 120 min",
        Resets,
        Segments(Some(FOR_240)),
        "learn.microsoft.com/azure/nat-gateway/nat-gateway-resource",
    ),
    path(
        "cisco-asa",
        "Cisco ASA",
        3600,
        "yes",
        NotPublished,
        Segments(Some(FOR_3600)),
        "timeout conn 1:00:00, as in published ASA configurations",
    ),
    path(
        "cloudflare",
        "Cloudflare proxy to origin",
        900,
        "",
        Closes,
        Bytes,
        "developers.cloudflare.com, connection limits: proxy idle timeout 900 s",
    ),
    path(
        "conntrack",
        "Linux conntrack (nf_conntrack)",
        432000,
        "net.netfilter.nf_conntrack_tcp_timeout_established",
        Forgets,
        Segments(None),
        "net/netfilter/nf_conntrack_proto_tcp.c: TCP_CONNTRACK_ESTABLISHED, 5 days",
    ),
    path(
        "envoy-tcp",
        "Envoy TCP proxy",
        3600,
        "idle_timeout",
        Closes,
        Bytes,
        "envoyproxy.io, tcp_proxy.proto: idle_timeout, bytes sent or received, 1 h",
    ),
    path(
        "f5-fastl4",
        "F5 BIG-IP FastL4",
        300,
        "yes",
        Resets,
        Segments(Some(FOR_300)),
        "clouddocs.f5.com, AS3 schema L4_Profile: idleTimeout 300",
    ),
    path(
        "fortigate",
        "FortiGate",
        3600,
        "300 to 604800 s",
        NotPublished,
        Segments(Some(FOR_3600)),
        "docs.fortinet.com, FortiOS CLI reference: session-ttl default 3600",
    ),
    path(
        "gcp-nat",
        "Google Cloud NAT",
        1200,
        "yes",
        NotPublished,
        Segments(Some(FOR_1200)),
        "cloud.google.com, Cloud NAT: tcpEstablishedIdleTimeoutSec 1200",
    ),
    path(
        "gcp-vpc",
        "Google Cloud VPC firewall",
        600,
        "",
        NotPublished,
        Segments(Some(FOR_600)),
        "cloud.google.com/compute/docs/troubleshooting/general-tips",
    ),
    path(
        "haproxy",
        "HAProxy with the timeouts of its manual's examples",
        50,
        "timeout client, timeout server",
        Closes,
        Bytes,
        "doc/configuration.txt of HAProxy: 50 s in the examples; there is no default",
    ),
    path(
        "ipvs",
        "Linux IPVS",
        900,
        "yes",
        NotPublished,
        Segments(Some(FOR_900)),
        "github.com/docker/docs issue 5519; github.com/moby/moby issue 31208",
    ),
    path(
        "juniper-srx",
        "Juniper SRX",
        1800,
        "yes",
        NotPublished,
        Segments(Some(FOR_1800)),
        "juniper.net, flow-based sessions: TCP 1800 s",
    ),
    path(
        "kube-proxy",
        "Kubernetes kube-proxy (conntrack)",
        86400,
        "--conntrack-tcp-timeout-established",
        Forgets,
        Segments(None),
        "kubernetes.io, kube-proxy: conntrack-tcp-timeout-established 24 h",
    ),
    path(
        "mobile",
        "Mobile networks",
        300,
        "",
        Forgets,
        Segments(Some(FOR_300)),
        "a rule of thumb (\"assume vanish after 5 minutes\", iatip.blogspot.com, 2012); carriers \
         publish no figure",
    ),
    path(
        "nginx-http",
        "nginx, between two HTTP requests",
        75,
        "keepalive_timeout",
        Closes,
        Bytes,
        "nginx.org, ngx_http_core_module: keepalive_timeout 75 s",
    ),
    path(
        "nginx-stream",
        "nginx stream proxy",
        600,
        "proxy_timeout",
        Closes,
        Bytes,
        "nginx.org, ngx_stream_proxy_module: proxy_timeout 10 min",
    ),
    path(
        "pan-os",
        "Palo Alto Networks PAN-OS",
        3600,
        "yes",
        NotPublished,
        Segments(Some(FOR_3600)),
        "docs.paloaltonetworks.com/ngfw, configure session timeouts: TCP 3600 s",
    ),
    path(
        "pf",
        "pf: OpenBSD, FreeBSD, pfSense",
        86400,
        "tcp.established",
        Forgets,
        Segments(None),
        "pfvar.h: PFTM_TCP_ESTABLISHED_VAL, 24 h",
    ),
    path(
        "rfc5382-nat",
        "A NAT that keeps to RFC 5382",
        7440,
        "",
        NotPublished,
        Segments(Some(FOR_7440)),
        "RFC 5382, REQ-5: at least 2 h 4 min",
    ),
    path(
        "swarm",
        "Docker Swarm virtual IPs (IPVS)",
        900,
        "",
        NotPublished,
        Segments(Some(FOR_900)),
        "github.com/docker/docs issue 5519; github.com/moby/moby issue 31208",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check::{silence_ms, survives_idle_ms};

    fn profiles() -> impl Iterator<Item = (&'static Path, Settings)> {
        PATHS
            .iter()
            .filter_map(|path| Some((path, path.settings()?)))
    }

    #[test]
    fn each_profile_survives_its_path() {
        for (path, settings) in profiles() {
            let (time, intvl) = (settings.time(), settings.intvl());
            let timeout_ms = u64::from(path.idle_timeout_s) * 1000;
            assert!(
                u64::from(time + intvl) * 1125 < timeout_ms,
                "{}: the rule of 1.125",
                path.name
            );
            assert!(
                survives_idle_ms(settings) < Some(timeout_ms),
                "{}",
                path.name
            );
            let two_lost = silence_ms(settings, 2, None);
            assert!(two_lost < timeout_ms, "{}: two lost probes", path.name);
        }
    }

    #[test]
    fn the_kernels_own_settings_survive_where_there_is_no_profile() {
        let kernels = Settings::literal(7200, 75, 9);
        for path in PATHS {
            let survives = silence_ms(kernels, 1, None) < u64::from(path.idle_timeout_s) * 1000;
            let none = path.settings().is_none();
            assert_eq!(
                none && path.refreshed_by_keepalive(),
                survives,
                "{}",
                path.name
            );
        }
    }

    #[test]
    fn no_profile_probes_more_than_it_must() {
        // Half of the timeout would do for any path: below that, the probes
        // cost packets and buy nothing.
        for (path, settings) in profiles() {
            assert!(settings.time() * 2 >= path.idle_timeout_s, "{}", path.name);
        }
    }

    #[test]
    fn names_are_sorted_and_legal() {
        assert!(PATHS.is_sorted_by(|a, b| a.name < b.name));
        for path in PATHS {
            assert!(path.name.parse::<crate::model::ProfileName>().is_ok());
        }
    }
}
