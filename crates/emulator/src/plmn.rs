//! The list of PLMN profiles: the SIM's operator decides which PDP types the firmware allows.
//!
//! The factory list is that of a real unit (`AT^PLMNLIST?`). An operator in no list has the profile
//! "00000", which is IPv4 only; "99999" is the generic profile with IPv4v6. A change takes effect
//! at the next start of the firmware.

/// Name of the profile of operators in no list.
pub const GENERIC: &str = "00000";
/// Name of the generic profile with IPv4v6.
pub const GENERIC_V4V6: &str = "99999";

/// Largest number of operators in a profile; further ones are refused.
const MOST: usize = 256;

/// The factory list, as `AT^PLMNLIST?` of a real unit printed it (T. Anderson, "Huawei ME906s / HP
/// lt4132: enabling IPv6", 2018).
const FACTORY: [(&str, &str); 9] = [
    (GENERIC, "00000,23106,26207,23802,23806"),
    (
        "20205",
        "26801,20205,26202,26209,27201,27402,50503,54201,53001,40401,40405,40411,40413,40415,40420,40427,40430,40443,40446,40460,40484,40486,40488,40566,40567,405750,405751,405752,405753,405754,405755,405756,20404,20601,20810,21401,21670,22210,22601,23003,23415,24405,24802,27602,27801,28001,28602,28802,29340,42702,60202,62002,63001,63902,64004,64304,65101,65501,90128,23201,28401,64710,46601,42602,22005,41302,29403,50213,50219,21910,25001,27077,52505,23801,40004,42403,46692,52503,73001,24602,24705",
    ),
    (
        "26201",
        "26201,23001,20416,23203,23207,21901,21630,23102,29702,29401,26002,20201,23431,23432",
    ),
    (
        "21403",
        "20610,20801,20802,21403,22610,23101,23430,23433,26803,26003",
    ),
    ("50501", "50501,50571,50572"),
    ("22801", "22801,29501"),
    ("21407", "21405,21407,23402"),
    (GENERIC_V4V6, "24491,24001,23820"),
    ("50502", "50502"),
];

/// The list of profiles in the module's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profiles(Vec<(String, Vec<String>)>);

impl Default for Profiles {
    /// Returns the list with which the module leaves the factory.
    fn default() -> Self {
        Self(
            FACTORY
                .iter()
                .map(|(name, list)| {
                    (
                        (*name).to_owned(),
                        list.split(',').map(str::to_owned).collect(),
                    )
                })
                .collect(),
        )
    }
}

impl Profiles {
    /// Returns the profile that applies to an operator.
    #[must_use]
    pub fn of(&self, plmn: &str) -> &str {
        self.0
            .iter()
            .find(|(_, list)| list.iter().any(|entry| entry == plmn))
            .map_or(GENERIC, |(name, _)| name)
    }

    /// Returns the operators of a profile; `None` when there is no such profile.
    #[must_use]
    pub fn list(&self, profile: &str) -> Option<&[String]> {
        self.0
            .iter()
            .find(|(name, _)| name == profile)
            .map(|(_, list)| list.as_slice())
    }

    /// Adds an operator to a profile; adding one that is there already succeeds. Returns `false`
    /// when there is no such profile, the operator is no PLMN, or the profile is full.
    pub fn add(&mut self, profile: &str, plmn: &str) -> bool {
        if !(5..=6).contains(&plmn.len()) || !plmn.bytes().all(|byte| byte.is_ascii_digit()) {
            return false;
        }
        let Some((_, list)) = self.0.iter_mut().find(|(name, _)| name == profile) else {
            return false;
        };
        if list.iter().any(|entry| entry == plmn) {
            return true;
        }
        if list.len() >= MOST {
            return false;
        }
        list.push(plmn.to_owned());
        true
    }

    /// Removes an operator from a profile. Returns `false` when it is not there.
    pub fn remove(&mut self, profile: &str, plmn: &str) -> bool {
        let Some((_, list)) = self.0.iter_mut().find(|(name, _)| name == profile) else {
            return false;
        };
        let before = list.len();
        list.retain(|entry| entry != plmn);
        list.len() != before
    }

    /// Returns the lines of `AT^PLMNLIST?`.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(name, list)| line(name, list))
    }
}

/// Returns one line of `AT^PLMNLIST`.
#[must_use]
pub fn line(profile: &str, list: &[String]) -> String {
    format!("^PLMNLIST: \"{profile}\",{}", list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_posts_unlock_moves_the_operator() {
        let mut profiles = Profiles::default();
        assert_eq!(profiles.of("24201"), GENERIC);
        assert_eq!(
            line("99999", profiles.list("99999").unwrap()),
            "^PLMNLIST: \"99999\",24491,24001,23820"
        );
        assert!(profiles.add("99999", "24201"));
        assert!(profiles.add("99999", "24201"));
        assert_eq!(profiles.of("24201"), GENERIC_V4V6);
        assert_eq!(
            line("99999", profiles.list("99999").unwrap()),
            "^PLMNLIST: \"99999\",24491,24001,23820,24201"
        );
        assert!(profiles.remove("99999", "24201"));
        assert!(!profiles.remove("99999", "24201"));
        assert_eq!(profiles, Profiles::default());
    }

    #[test]
    fn nonsense_is_refused() {
        let mut profiles = Profiles::default();
        assert!(!profiles.add("99999", "242"));
        assert!(!profiles.add("99999", "24201x"));
        assert!(!profiles.add("12345", "24201"));
        for n in 0..1000 {
            profiles.add("99999", &format!("{:05}", 60000 + n));
        }
        assert_eq!(profiles.list("99999").unwrap().len(), MOST);
        assert_eq!(profiles.lines().count(), 9);
    }
}
