//! Known paths: boxes between two hosts that forget a flow that is idle for
//! too long, with the settings that keep one alive through them.
//!
//! Each row has its source, because these numbers are the vendors', not ours.
//! Proxies that count bytes instead of segments (AWS CLB and ALB, Envoy, nginx,
//! HAProxy) are not here: no keepalive probe refreshes them.

use super::settings::Settings;

/// One box, and the profile for connections through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// The name, and that of its built-in profile.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// Seconds of idleness after which it forgets a TCP flow, by default.
    pub idle_timeout_s: u32,
    /// Where the timeout is published.
    pub source: &'static str,
    /// Settings that refresh it in time, with one probe lost and each timer as
    /// late as it can be.
    pub settings: Settings,
}

const fn path(
    name: &'static str,
    title: &'static str,
    idle_timeout_s: u32,
    settings: Settings,
    source: &'static str,
) -> Path {
    Path {
        name,
        title,
        idle_timeout_s,
        source,
        settings,
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
        FOR_1800,
        "learn.microsoft.com, AKS load balancer profile: idleTimeoutInMinutes 30",
    ),
    path(
        "aws-firewall",
        "AWS Network Firewall",
        350,
        FOR_350,
        "docs.aws.amazon.com/network-firewall/latest/APIReference/API_FlowTimeouts.html",
    ),
    path(
        "aws-nat",
        "AWS NAT gateway",
        350,
        FOR_350,
        "docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html",
    ),
    path(
        "aws-nitro6",
        "AWS EC2 security groups on Nitro v6 instances",
        350,
        FOR_350,
        "docs.aws.amazon.com, EC2 ConnectionTrackingConfiguration: TcpEstablishedTimeout",
    ),
    path(
        "aws-nlb",
        "AWS Network Load Balancer",
        350,
        FOR_350,
        "docs.aws.amazon.com/elasticloadbalancing/latest/network/update-idle-timeout.html",
    ),
    path(
        "azure-firewall",
        "Azure Firewall, north-south",
        240,
        FOR_240,
        "learn.microsoft.com/azure/firewall/tcp-session-behavior",
    ),
    path(
        "azure-lb",
        "Azure Load Balancer",
        240,
        FOR_240,
        "learn.microsoft.com/azure/load-balancer/load-balancer-tcp-idle-timeout",
    ),
    path(
        "azure-nat",
        "Azure NAT Gateway",
        240,
        FOR_240,
        "learn.microsoft.com/azure/nat-gateway/nat-gateway-resource",
    ),
    path(
        "cisco-asa",
        "Cisco ASA",
        3600,
        FOR_3600,
        "timeout conn 1:00:00, as in published ASA configurations",
    ),
    path(
        "f5-fastl4",
        "F5 BIG-IP FastL4",
        300,
        FOR_300,
        "clouddocs.f5.com, AS3 schema L4_Profile: idleTimeout 300",
    ),
    path(
        "fortigate",
        "FortiGate",
        3600,
        FOR_3600,
        "docs.fortinet.com, FortiOS CLI reference: session-ttl default 3600",
    ),
    path(
        "gcp-nat",
        "Google Cloud NAT",
        1200,
        FOR_1200,
        "cloud.google.com, Cloud NAT: tcpEstablishedIdleTimeoutSec 1200",
    ),
    path(
        "gcp-vpc",
        "Google Cloud VPC firewall",
        600,
        FOR_600,
        "cloud.google.com/compute/docs/troubleshooting/general-tips",
    ),
    path(
        "ipvs",
        "Linux IPVS",
        900,
        FOR_900,
        "github.com/docker/docs issue 5519; github.com/moby/moby issue 31208",
    ),
    path(
        "juniper-srx",
        "Juniper SRX",
        1800,
        FOR_1800,
        "juniper.net, flow-based sessions: TCP 1800 s",
    ),
    path(
        "mobile",
        "Mobile networks",
        300,
        FOR_300,
        "a rule of thumb (\"assume vanish after 5 minutes\", iatip.blogspot.com, 2012); carriers \
         publish no figure",
    ),
    path(
        "pan-os",
        "Palo Alto Networks PAN-OS",
        3600,
        FOR_3600,
        "docs.paloaltonetworks.com/ngfw, configure session timeouts: TCP 3600 s",
    ),
    path(
        "rfc5382-nat",
        "A NAT that keeps to RFC 5382",
        7440,
        FOR_7440,
        "RFC 5382, REQ-5: at least 2 h 4 min",
    ),
    path(
        "swarm",
        "Docker Swarm virtual IPs (IPVS)",
        900,
        FOR_900,
        "github.com/docker/docs issue 5519; github.com/moby/moby issue 31208",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time_to_drop::survives_idle_ms;
    use crate::model::wheel::lateness_ms;

    #[test]
    fn each_profile_survives_its_path() {
        for path in PATHS {
            let (time, intvl) = (path.settings.time(), path.settings.intvl());
            let timeout_ms = u64::from(path.idle_timeout_s) * 1000;
            assert!(
                u64::from(time + intvl) * 1125 < timeout_ms,
                "{}: the rule of 1.125",
                path.name
            );
            assert!(
                survives_idle_ms(path.settings) < timeout_ms,
                "{}",
                path.name
            );
            let two_lost = survives_idle_ms(path.settings)
                + u64::from(intvl) * 1000
                + lateness_ms(u64::from(intvl) * 1000, None);
            assert!(two_lost < timeout_ms, "{}: two lost probes", path.name);
        }
    }

    #[test]
    fn no_profile_probes_more_than_it_must() {
        // Half of the timeout would do for any path: below that, the probes
        // cost packets and buy nothing.
        for path in PATHS {
            assert!(
                path.settings.time() * 2 >= path.idle_timeout_s,
                "{}",
                path.name
            );
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
