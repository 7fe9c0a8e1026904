// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;

/// The items of a text, `what value line`, and what is left without each.
fn items(syntax: Syntax, name: &str, text: &str) -> Vec<String> {
    let found = syntax.read(name, text).unwrap();
    let told = |definition: &Definition| {
        let id = definition.id.clone();
        definition
            .items
            .iter()
            .map(move |item| format!("{id}: {:?} {} {}", item.what, item.value, item.line))
            .collect::<Vec<_>>()
    };
    for item in found.iter().flat_map(|definition| &definition.items) {
        assert!(item.what == What::Route || text[item.span.clone()].contains(&item.value), "{item:?}");
        let gone = item.without().span;
        assert!(gone.start <= item.span.start && gone.end >= item.span.end, "{item:?}");
        let same = Edit { span: item.span.clone(), new: text[item.span.clone()].to_owned() };
        assert_eq!(apply(text, &[same]), text);
        // What is left still is what it was, less the item.
        let rest = apply(text, &[item.without()]);
        let left = syntax.read(name, &rest).unwrap();
        let count = |all: &[Definition]| all.iter().map(|definition| definition.items.len()).sum::<usize>();
        assert_eq!(count(&left), count(&found) - 1, "{item:?}\n{rest}");
    }
    found.iter().flat_map(told).collect()
}

fn refused(syntax: Syntax, text: &str) -> String {
    syntax.read("x", text).unwrap_err().to_string()
}

const NETPLAN: &str = "\
# made by hand
network:
  version: 2
  renderer: networkd # really
  ethernets:
    ens18:
      match:
        macaddress: \"52:54:00:00:00:01\"   # the first
      set-name: lan0
      addresses:
        - 192.0.2.7/24
        - \"2001:db8::7/64\":
            label: x
      routes:
        - to: default
          via: 192.0.2.1
        - {to: 198.51.100.0/24, via: 192.0.2.2}
      nameservers: {addresses: [192.0.2.53, '192.0.2.54'], search: [example.com]}
    ens19: {match: {macaddress: 52:54:00:00:00:02}, dhcp4: true}
  bonds:
    bond0:
      macaddress: 52:54:00:00:00:03
";

#[test]
fn netplan_is_read_with_its_places() {
    assert_eq!(
        items(Syntax::Netplan, "x.yaml", NETPLAN),
        [
            "ens18: Match 52:54:00:00:00:01 8",
            "ens18: Address 192.0.2.7/24 11",
            "ens18: Address 2001:db8::7/64 12",
            "ens18: Gateway 192.0.2.1 16",
            "ens18: Route 198.51.100.0/24 192.0.2.2 17",
            "ens18: Dns 192.0.2.53 18",
            "ens18: Dns 192.0.2.54 18",
            "ens18: Search example.com 18",
            "ens19: Match 52:54:00:00:00:02 19",
            "ens19: Method true 19",
            "bond0: Pin 52:54:00:00:00:03 22",
        ]
    );
    let found = Syntax::Netplan.read("x", NETPLAN).unwrap();
    assert_eq!(found[0].selector.set_name.as_deref(), Some("lan0"));
    assert!(found[0].selector.names.is_empty());
    let pinned = apply(NETPLAN, &[Syntax::Netplan.pin(NETPLAN, &found[0], Mac([2, 0, 0, 0, 0, 1])).unwrap()]);
    assert_eq!(pinned, NETPLAN.replace("    ens19:", "      macaddress: \"02:00:00:00:00:01\"\n    ens19:"));
    let plain = apply(NETPLAN, &[found[1].items[0].with("x"), found[0].items[0].with("y")]);
    assert_eq!(plain, NETPLAN.replace("52:54:00:00:00:02", "\"x\"").replace("52:54:00:00:00:01", "y"));
    let bare = apply(NETPLAN, &[found[2].items[0].without()]);
    assert!(bare.ends_with("    bond0:\n      {}\n"), "{bare}");
}

#[test]
fn places_in_yaml_are_exact() {
    let text = "network:\n  ethernets:\n    a: {macaddress: '52:54:00:00:00:01'  , mtu: 1} # }\n    b:\n      macaddress:   52:54:00:00:00:02   # it's \"b\"\n    \"c\": {match: {macaddress: \"52:54:00:00:00:03\"  # }\n      }, dhcp4: true} # x\n    d: {macaddress: \"52:54:00:00:00:04\"}\n";
    items(Syntax::Netplan, "x", text);
    let found = Syntax::Netplan.read("x", text).unwrap();
    for item in found.iter().flat_map(|definition| &definition.items) {
        assert_eq!(text[item.span.clone()], item.value, "{item:?}");
    }
    assert!(apply(text, &[found[3].items[0].without()]).ends_with("    d: {}\n"));
}

#[test]
fn cloud_init_is_read_in_both_versions() {
    let text = "version: 1\nconfig:\n  - type: physical\n    name: eth0\n    mac_address: '52:54:00:00:00:01'\n    subnets:\n      - type: static\n        address: 192.0.2.7/24\n        gateway: 192.0.2.1\n";
    assert_eq!(
        items(Syntax::Netplan, "network-config", text),
        [
            "eth0: Match 52:54:00:00:00:01 5",
            "eth0: Method static 7",
            "eth0: Address 192.0.2.7/24 8",
            "eth0: Gateway 192.0.2.1 9"
        ]
    );
    assert_eq!(items(Syntax::Netplan, "x", "#cloud-config\nusers: []\n"), [""; 0]);
    assert_eq!(items(Syntax::Netplan, "x", ""), [""; 0]);
}

#[test]
fn bad_yaml_is_refused_with_its_line() {
    let network = |rest: &str| format!("network:\n  ethernets:\n{rest}");
    assert_eq!(refused(Syntax::Netplan, &network("    a: &x {dhcp4: true}\n    b: *x\n")), "line 3: an anchor");
    let bomb = "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n";
    assert_eq!(refused(Syntax::Netplan, bomb), "line 1: an anchor");
    assert!(refused(Syntax::Netplan, &network("\ta: 1\n")).starts_with("line 3: "));
    assert_eq!(refused(Syntax::Netplan, &network("    a: {}\n    a: {}\n")), "line 4: the key `a` stands twice");
    assert_eq!(refused(Syntax::Netplan, &network("    a: {}\r\n")), "line 3: a carriage return");
    assert_eq!(refused(Syntax::Netplan, "a: 1\n---\nb: 2\n"), "line 3: a second document");
    let long = "x".repeat(64);
    let message = refused(Syntax::Netplan, &network(&format!("    {long}: {{}}\n")));
    assert_eq!(message, format!("line 3: `{long}` is longer than the 15 characters of a link's name"));
    assert!(refused(Syntax::Netplan, &"[".repeat(100_000)).starts_with("line 1: "));
    assert!(refused(Syntax::Ifupdown, &"#\n".repeat(LARGEST)).starts_with("line 1: "));
    // Refused, or read, in no time.
    let many = (0..90_000).map(|n| format!("k{n}=\n")).collect::<String>();
    assert_eq!(Syntax::Keyfile.read("x", &format!("[a]\n{many}")).unwrap()[0].items, []);
    assert!(
        refused(Syntax::Netplan, &(0..90_000).map(|n| format!("k{n}:\n")).collect::<String>()).contains("too large")
    );
    // Bytes and characters are not the same.
    assert_eq!(
        items(
            Syntax::Netplan,
            "x",
            "# \u{e4}\u{20ac}\nnetwork: {ethernets: {e: {macaddress: 52:54:00:00:00:01}}} # \u{e4}\n"
        ),
        ["e: Pin 52:54:00:00:00:01 2"]
    );
}

#[test]
fn networkd_is_read_with_its_places() {
    let text = "; comment\n[Match]\nMACAddress=52:54:00:00:00:01 \\\n  52-54-00-00-00-02\nName=en* eth0\n\n[Link]\nMACAddress=52:54:00:00:00:03\n[Network]\nDHCP=no\nAddress=192.0.2.7/24\nGateway=192.0.2.1\nDNS=192.0.2.53 192.0.2.54\nDomains=a.example b.example\nAddress=\n";
    assert_eq!(
        items(Syntax::NetworkdNetwork, "10-lan.network", text),
        [
            "en*: Match 52:54:00:00:00:01 3",
            "en*: Match 52-54-00-00-00-02 3",
            "en*: Pin 52:54:00:00:00:03 8",
            "en*: Method no 10",
            "en*: Address 192.0.2.7/24 11",
            "en*: Gateway 192.0.2.1 12",
            "en*: Dns 192.0.2.53 13",
            "en*: Dns 192.0.2.54 13",
            "en*: Search a.example 14",
            "en*: Search b.example 14",
        ]
    );
    let link = "[Match]\nPermanentMACAddress=52:54:00:00:00:01\n[Link]\nName=lan0\nMACAddress=52:54:00:00:00:09\n";
    assert_eq!(
        items(Syntax::Link, "10-lan0.link", link),
        ["lan0: Match 52:54:00:00:00:01 2", "lan0: Pin 52:54:00:00:00:09 5"]
    );
    assert_eq!(
        items(Syntax::NetworkdNetdev, "br0.netdev", "[NetDev]\nName=br0\nKind=bridge\nMACAddress=52:54:00:00:00:03\n"),
        ["br0: Pin 52:54:00:00:00:03 4"]
    );
    assert_eq!(refused(Syntax::Link, "[Match]\nwhat is this\n"), "line 2: neither a section nor an assignment");
}

#[test]
fn keyfiles_are_read_with_their_places() {
    let text = "[connection]\nid=Wired\nuuid=1\ntype=ethernet\ninterface-name=ens18\n\n[ethernet]\nmac-address=52:54:00:00:00:01\ncloned-mac-address=52:54:00:00:00:02\n\n[ipv4]\naddress1=192.0.2.7/24,192.0.2.1\ndns=192.0.2.53;\nmethod=manual\n[proxy]\n";
    assert_eq!(
        items(Syntax::Keyfile, "a.nmconnection", text),
        [
            "ens18: Match 52:54:00:00:00:01 8",
            "ens18: Pin 52:54:00:00:00:02 9",
            "ens18: Address 192.0.2.7/24,192.0.2.1 12",
            "ens18: Dns 192.0.2.53; 13",
            "ens18: Method manual 14",
        ]
    );
    let plain = "[connection]\nid=a\ntype=ethernet\n\n[ethernet]\n\n[ipv4]\n";
    let found = Syntax::Keyfile.read("a", plain).unwrap();
    let pinned = apply(plain, &[Syntax::Keyfile.pin(plain, &found[0], Mac([2, 0, 0, 0, 0, 1])).unwrap()]);
    assert_eq!(pinned, plain.replace("[ethernet]\n", "[ethernet]\ncloned-mac-address=02:00:00:00:00:01\n"));
    assert_eq!(refused(Syntax::Keyfile, "[a]\nb=1\nb=2\n"), "line 3: `b` stands twice in [a]");
    let conf = "[keyfile]\nunmanaged-devices=mac:52:54:00:00:00:01;interface-name:x,except:mac:52:54:00:00:00:02\n";
    assert_eq!(
        items(Syntax::NetworkManagerConf, "a.conf", conf),
        ["keyfile: Match 52:54:00:00:00:01 2", "keyfile: Match 52:54:00:00:00:02 2"]
    );
}

#[test]
fn ifupdown_is_read_with_its_places() {
    let text = "source /etc/network/interfaces.d/*\n\nauto lo eth0\niface lo inet loopback\n\niface eth0 inet static\n\thwaddress ether 52:54:00:00:00:01\n\taddress 192.0.2.7 \n\tnetmask 255.255.255.0\n\tgateway \\\n\t  192.0.2.1\n\tdns-nameservers 192.0.2.53 192.0.2.54\niface eth0:1 inet static\n\taddress 192.0.2.8/24\niface br0 inet dhcp\n\tbridge_hw 52:54:00:00:00:02\n\tup ip link set $IFACE up\n";
    let found = Syntax::Ifupdown.read("interfaces", text).unwrap();
    let told: Vec<String> = found
        .iter()
        .flat_map(|definition| {
            definition
                .items
                .iter()
                .map(|item| format!("{}: {:?} {} {}", definition.id, item.what, item.value, item.line))
        })
        .collect();
    assert_eq!(
        told,
        [
            "lo: Method loopback 4",
            "eth0: Method static 6",
            "eth0: Pin 52:54:00:00:00:01 7",
            "eth0: Address 192.0.2.7 8",
            "eth0: Prefix 255.255.255.0 9",
            "eth0: Gateway 192.0.2.1 10",
            "eth0: Dns 192.0.2.53 12",
            "eth0: Dns 192.0.2.54 12",
            "eth0: Method static 13",
            "eth0: Address 192.0.2.8/24 14",
            "br0: Method dhcp 15",
            "br0: Pin 52:54:00:00:00:02 16",
        ]
    );
    assert_eq!(found.last().unwrap().kind, LinkKind::Virtual);
    let pinned = apply(text, &[Syntax::Ifupdown.pin(text, &found[1], Mac([2, 0, 0, 0, 0, 1])).unwrap()]);
    assert!(pinned.contains("192.0.2.54\n\thwaddress ether 02:00:00:00:00:01\niface eth0:1"), "{pinned}");
    assert_eq!(ifupdown::sources(text), [("/etc/network/interfaces.d/*".to_owned(), false)]);
    assert_eq!(refused(Syntax::Ifupdown, "auto x\niface\n"), "line 2: iface without a name");
}

#[test]
fn udev_rules_are_read_with_their_places() {
    let text = "# ATTR{address}==\"52:54:00:00:00:09\"\nSUBSYSTEM==\"net\", ACTION==\"add\", ATTR{address}==\"52:54:00:00:00:01\", NAME=\"lan0\"\nKERNEL==\"sda\"\n";
    let found = Syntax::UdevRules.read("70.rules", text).unwrap();
    assert_eq!((found.len(), found[0].items[0].line, found[0].selector.set_name.as_deref()), (1, 2, Some("lan0")));
    let item = &found[0].items[0];
    assert_eq!(apply(text, &[item.with("x")]), text.replace("52:54:00:00:00:01", "x"));
}

/// A text whose definition `id` was given these addresses; the same again changes nothing.
fn readdressed(syntax: Syntax, text: &str, id: &str, to: &Addresses) -> String {
    let once = |text: &str| {
        let found = syntax.read("x", text).unwrap();
        let edits = found
            .iter()
            .filter(|definition| definition.id == id)
            .flat_map(|definition| syntax.readdress(text, definition, to, false).unwrap());
        apply(text, &edits.collect::<Vec<_>>())
    };
    let new = once(text);
    assert_eq!(once(&new), new, "a second time");
    new
}

fn to(addresses: &[&str], gateways: &[&str], dns: &[&str]) -> Addresses {
    Addresses {
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        gateways: gateways.iter().map(|text| text.parse().unwrap()).collect(),
        dns: dns.iter().map(|text| text.parse().unwrap()).collect(),
        ..Addresses::default()
    }
}

/// A text with these replacements, each of which must be there.
fn changed(text: &str, replacements: &[(&str, &str)]) -> String {
    replacements.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replacen(old, new, 1)
    })
}

#[test]
fn netplan_is_given_addresses() {
    let new = readdressed(Syntax::Netplan, NETPLAN, "ens18", &to(&["10.0.4.17/22"], &["10.0.4.1"], &["10.0.4.53"]));
    let expected = changed(
        NETPLAN,
        &[
            ("- 192.0.2.7/24", "- \"10.0.4.17/22\""),
            ("via: 192.0.2.1", "via: \"10.0.4.1\""),
            ("[192.0.2.53, '192.0.2.54']", "[\"10.0.4.53\"]"),
        ],
    );
    assert_eq!(new, expected);
    let both = to(&["10.0.4.17/22", "10.0.4.18/22", "fd00::17/64"], &["fd00::1"], &[]);
    let new = readdressed(Syntax::Netplan, NETPLAN, "ens18", &both);
    let expected = changed(
        NETPLAN,
        &[
            ("- 192.0.2.7/24", "- \"10.0.4.17/22\""),
            ("2001:db8::7/64", "10.0.4.18/22"),
            ("            label: x\n", "            label: x\n        - \"fd00::17/64\"\n"),
            ("via: 192.0.2.2}\n", "via: 192.0.2.2}\n        - {to: \"::/0\", via: \"fd00::1\"}\n"),
        ],
    );
    assert_eq!(new, expected);
    let dhcp = Addresses { dhcp4: true, dhcp6: true, ..Addresses::default() };
    let new = readdressed(Syntax::Netplan, NETPLAN, "ens18", &dhcp);
    let expected = changed(
        NETPLAN,
        &[
            ("      addresses:\n        - 192.0.2.7/24\n        - \"2001:db8::7/64\":\n            label: x\n", ""),
            ("        - to: default\n          via: 192.0.2.1\n", ""),
            ("    ens19:", "      dhcp4: true\n      dhcp6: true\n    ens19:"),
        ],
    );
    assert_eq!(new, expected);
    let new = readdressed(Syntax::Netplan, NETPLAN, "ens19", &to(&["10.0.4.17/22"], &["10.0.4.1"], &["10.0.4.53"]));
    let expected = changed(
        NETPLAN,
        &[(
            "dhcp4: true}",
            "dhcp4: false, addresses: [\"10.0.4.17/22\"], nameservers: {addresses: [\"10.0.4.53\"]}, routes: [{to: \"0.0.0.0/0\", via: \"10.0.4.1\"}]}",
        )],
    );
    assert_eq!(new, expected);
}

#[test]
fn networkd_is_given_addresses() {
    let text = "[Match]\nName=eth0\n\n[Network]\n# ours\nAddress=192.0.2.7/24\nDNS=192.0.2.53 192.0.2.54\n\n# out\n[Route]\nGateway=192.0.2.1\n";
    let some = Addresses {
        search: vec!["example.com".into()],
        ..to(&["10.0.4.17/22", "fd00::17/64"], &["10.0.4.1"], &["10.0.4.53"])
    };
    let new = readdressed(Syntax::NetworkdNetwork, text, "eth0", &some);
    let expected = changed(
        text,
        &[
            ("Address=192.0.2.7/24", "Address=10.0.4.17/22"),
            ("Gateway=192.0.2.1", "Gateway=10.0.4.1"),
            ("DNS=192.0.2.53 192.0.2.54\n", "DNS=10.0.4.53\nAddress=fd00::17/64\nDomains=example.com\n"),
        ],
    );
    assert_eq!(new, expected);
    let dhcp = Addresses { dhcp4: true, ..Addresses::default() };
    let new = readdressed(Syntax::NetworkdNetwork, text, "eth0", &dhcp);
    assert_eq!(
        new,
        changed(text, &[("Address=192.0.2.7/24\n", ""), ("54\n", "54\nDHCP=ipv4\n"), ("Gateway=192.0.2.1\n", "")])
    );
    let new = readdressed(
        Syntax::NetworkdNetwork,
        "[Match]\nName=eth0\n[Network]\nDHCP=yes",
        "eth0",
        &to(&["10.0.4.17/22"], &[], &[]),
    );
    assert_eq!(new, "[Match]\nName=eth0\n[Network]\nDHCP=ipv6\nAddress=10.0.4.17/22\n");
}

#[test]
fn keyfiles_are_given_addresses() {
    let text = "[connection]\nid=a\ntype=ethernet\ninterface-name=eth0\n\n[ipv4]\naddress1=192.0.2.7/24,192.0.2.1\naddress2=192.0.2.8/24\ndns=192.0.2.53;\nmethod=manual\n\n[ipv6]\nmethod=auto\n";
    let route =
        addressing::Route { to: "198.51.100.0/24".parse().unwrap(), via: "10.0.4.2".parse().unwrap(), metric: Some(5) };
    let some = Addresses {
        routes: vec![route],
        ..to(&["10.0.4.17/22", "fd00::17/64"], &["10.0.4.1", "fd00::1"], &["10.0.4.53", "fd00::53"])
    };
    let new = readdressed(Syntax::Keyfile, text, "eth0", &some);
    let expected = changed(
        text,
        &[
            ("192.0.2.7/24,192.0.2.1\naddress2=192.0.2.8/24", "10.0.4.17/22,10.0.4.1"),
            ("192.0.2.53;", "10.0.4.53;"),
            ("method=manual\n", "method=manual\nroute1=198.51.100.0/24,10.0.4.2,5\n"),
            ("method=auto\n", "method=manual\naddress1=fd00::17/64\ngateway=fd00::1\ndns=fd00::53;\n"),
        ],
    );
    assert_eq!(new, expected);
    let dhcp = Addresses { dhcp4: true, ..Addresses::default() };
    let new = readdressed(Syntax::Keyfile, text, "eth0", &dhcp);
    let expected =
        changed(text, &[("address1=192.0.2.7/24,192.0.2.1\naddress2=192.0.2.8/24\n", ""), ("manual", "auto")]);
    assert_eq!(new, expected);
}

#[test]
fn ifupdown_is_given_addresses() {
    let text = "auto eth0\niface eth0 inet static\n\taddress 192.0.2.7\n\tnetmask 255.255.255.0\n\tbroadcast 192.0.2.255\n\tgateway 192.0.2.1\n\t# dns-* options are implemented by the resolvconf package\n\tdns-nameservers 192.0.2.53 192.0.2.54\n\tdns-search example.com\niface eth0 inet6 static\n\taddress 2001:db8::7/64\n";
    let some = to(&["10.0.4.17/22", "fd00::17/64", "10.0.4.18/22"], &["10.0.4.1", "fd00::1"], &["10.0.4.53"]);
    let new = readdressed(Syntax::Ifupdown, text, "eth0", &some);
    let expected = changed(
        text,
        &[
            ("192.0.2.7", "10.0.4.17"),
            ("255.255.255.0", "255.255.252.0"),
            ("\tbroadcast 192.0.2.255\n", ""),
            ("192.0.2.1", "10.0.4.1"),
            ("192.0.2.53 192.0.2.54", "10.0.4.53"),
            ("example.com\n", "example.com\n\niface eth0 inet static\n\taddress 10.0.4.18/22\n"),
            ("2001:db8::7/64\n", "fd00::17/64\n\tgateway fd00::1\n"),
        ],
    );
    assert_eq!(new, expected);
    let dhcp = Addresses { dhcp4: true, ..Addresses::default() };
    let new = readdressed(Syntax::Ifupdown, text, "eth0", &dhcp);
    let expected = changed(
        text,
        &[
            ("inet static", "inet dhcp"),
            ("\taddress 192.0.2.7\n\tnetmask 255.255.255.0\n\tbroadcast 192.0.2.255\n\tgateway 192.0.2.1\n", ""),
        ],
    );
    assert_eq!(new, expected);
    let new =
        readdressed(Syntax::Ifupdown, "iface eth0 inet dhcp\n", "eth0", &to(&["10.0.4.17/22"], &["10.0.4.1"], &[]));
    assert_eq!(new, "iface eth0 inet static\n    address 10.0.4.17/22\n    gateway 10.0.4.1\n");
}

#[test]
fn ifcfg_files_are_read_with_their_places() {
    let text = "# Generated by dracut initrd\nNAME=\"eth0\"\nDEVICE=eth0\nTYPE=Ethernet\nHWADDR=52:54:00:00:00:01\nMACADDR='52:54:00:00:00:02'\nBOOTPROTO=none # static\nIPADDR=192.0.2.7\nPREFIX=24\nGATEWAY=192.0.2.1\nDNS1=192.0.2.53\nDOMAIN=\"a.example b.example\"\nIPV6ADDR=2001:db8::7/64\nONBOOT=yes\n";
    assert_eq!(
        items(Syntax::IfcfgRedHat, "ifcfg-eth0", text),
        [
            "eth0: Match 52:54:00:00:00:01 5",
            "eth0: Pin 52:54:00:00:00:02 6",
            "eth0: Method none 7",
            "eth0: Address 192.0.2.7 8",
            "eth0: Prefix 24 9",
            "eth0: Gateway 192.0.2.1 10",
            "eth0: Dns 192.0.2.53 11",
            "eth0: Search a.example 12",
            "eth0: Search b.example 12",
            "eth0: Address 2001:db8::7/64 13",
        ]
    );
    let suse = "BOOTPROTO='static'\nSTARTMODE='auto'\nLLADDR='52:54:00:00:00:02'\nIPADDR='192.0.2.7/24'\nIPADDR_1='2001:db8::7/64'\nBONDING_MASTER='yes'\n";
    assert_eq!(
        items(Syntax::IfcfgSuse, "ifcfg-bond0", suse),
        [
            "bond0: Method static 1",
            "bond0: Pin 52:54:00:00:00:02 3",
            "bond0: Address 192.0.2.7/24 4",
            "bond0: Address 2001:db8::7/64 5",
        ]
    );
    assert_eq!(Syntax::IfcfgSuse.read("ifcfg-bond0", suse).unwrap()[0].kind, LinkKind::Virtual);
    let routes = "# routes\ndefault 192.0.2.1 - eth0\n198.51.100.0/24 192.0.2.2 - eth0\ndefault 192.0.2.9 - -\n";
    assert_eq!(
        items(Syntax::Routes, "routes", routes),
        ["eth0: Gateway 192.0.2.1 2", "eth0: Route 198.51.100.0/24 192.0.2.2 3"]
    );
    let routes = "default via 192.0.2.1 dev eth0\n198.51.100.0/24 via 192.0.2.2\n";
    assert_eq!(
        items(Syntax::Routes, "route-eth0", routes),
        ["eth0: Gateway 192.0.2.1 1", "eth0: Route 198.51.100.0/24 192.0.2.2 2"]
    );
    assert_eq!(refused(Syntax::IfcfgRedHat, "A=1\nA=2\n"), "line 2: `A` stands twice");
    assert_eq!(refused(Syntax::IfcfgRedHat, "A=1\nB=\"2\n"), "line 2: a quote without its end");
    assert_eq!(refused(Syntax::IfcfgRedHat, "what\n"), "line 1: neither an assignment nor a comment");
}

#[test]
fn ifcfg_files_are_given_addresses() {
    let text = "DEVICE=eth0\nBOOTPROTO=static\nIPADDR=192.0.2.7\nNETMASK=255.255.255.0\nNETWORK=192.0.2.0\nBROADCAST=192.0.2.255\nGATEWAY=192.0.2.1\nIPADDR1=192.0.2.8\nPREFIX1=24\nDNS1=192.0.2.53\nDNS2=192.0.2.54\nIPV6INIT=\"yes\"\nIPV6ADDR=\"2001:db8::7/64\"\n";
    let some = to(&["10.0.4.17/22", "fd00::17/64", "fd00::18/64"], &["10.0.4.1", "fd00::1"], &["10.0.4.53"]);
    let new = readdressed(Syntax::IfcfgRedHat, text, "eth0", &some);
    let expected = changed(
        text,
        &[
            ("192.0.2.7", "10.0.4.17"),
            ("255.255.255.0", "255.255.252.0"),
            ("NETWORK=192.0.2.0\nBROADCAST=192.0.2.255\n", ""),
            ("192.0.2.1", "10.0.4.1"),
            ("IPADDR1=192.0.2.8\nPREFIX1=24\n", ""),
            ("192.0.2.53\nDNS2=192.0.2.54\n", "10.0.4.53\n"),
            ("2001:db8::7/64\"\n", "fd00::17/64\"\nIPV6ADDR_SECONDARIES=fd00::18/64\nIPV6_DEFAULTGW=fd00::1\n"),
        ],
    );
    assert_eq!(new, expected);
    let dhcp = Addresses { dhcp4: true, ..Addresses::default() };
    let new =
        readdressed(Syntax::IfcfgRedHat, "DEVICE=eth0\nBOOTPROTO=none\nIPADDR=192.0.2.7\nPREFIX=24\n", "eth0", &dhcp);
    assert_eq!(new, "DEVICE=eth0\nBOOTPROTO=dhcp\n");
    let new = readdressed(
        Syntax::IfcfgRedHat,
        "DEVICE=eth0\nBOOTPROTO=dhcp\n",
        "eth0",
        &to(&["10.0.4.17/22", "10.0.4.18/22"], &["10.0.4.1"], &[]),
    );
    assert_eq!(
        new,
        "DEVICE=eth0\nBOOTPROTO=none\nIPADDR=10.0.4.17\nPREFIX=22\nIPADDR1=10.0.4.18\nPREFIX1=22\nGATEWAY=10.0.4.1\n"
    );
    let suse = "BOOTPROTO='static'\nIPADDR='192.0.2.7/24'\nIPADDR_1='2001:db8::7/64'\n";
    let new = readdressed(Syntax::IfcfgSuse, suse, "x", &to(&["10.0.4.17/22", "10.0.4.18/22"], &[], &[]));
    assert_eq!(new, changed(suse, &[("192.0.2.7/24", "10.0.4.17/22"), ("64'\n", "64'\nIPADDR_2='10.0.4.18/22'\n")]));
    let new = readdressed(Syntax::IfcfgSuse, suse, "x", &dhcp);
    assert_eq!(new, changed(suse, &[("static", "dhcp4"), ("IPADDR='192.0.2.7/24'\n", "")]));
    let routes = "default 192.0.2.1 - eth0\n";
    assert_eq!(
        readdressed(Syntax::Routes, routes, "eth0", &to(&["10.0.4.17/22"], &["10.0.4.1"], &[])),
        "default 10.0.4.1 - eth0\n"
    );
}
