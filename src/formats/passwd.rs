// SPDX-License-Identifier: MIT OR Apache-2.0
//! Users and groups as passwd(5) and group(5) list them.

/// The home directories of people and of root: users from 1000 up (login.defs(5) `UID_MIN`) and number 0.
pub fn homes(passwd: &str) -> Vec<String> {
    let mut homes: Vec<String> = passwd
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, uid, _, _, home, _] = fields[..] else { return None };
            let uid: u32 = uid.parse().ok()?;
            // 65534 is nobody.
            let lives = uid == 0 || (1000..65534).contains(&uid);
            (lives && home.starts_with('/') && home.len() > 1 && !home.contains(['*', '?', '[']))
                .then(|| home.to_owned())
        })
        .collect();
    homes.sort_unstable();
    homes.dedup();
    homes
}

/// The number of a group.
pub fn group_id(group: &str, name: &str) -> Option<u32> {
    group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_homes_and_groups_numbers() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/bin/false\nann:x:1000:1000::/home/ann:/bin/sh\n\
                      nobody:x:65534:65534::/nonexistent:/bin/false\nbad line\nodd:x:1001:1001::/:/bin/sh\n";
        assert_eq!(homes(passwd), ["/home/ann", "/root"]);
        assert_eq!(group_id("root:x:0:\nssh_keys:x:998:\n", "ssh_keys"), Some(998));
        assert_eq!(group_id("root:x:0:\n", "ssh_keys"), None);
    }
}
