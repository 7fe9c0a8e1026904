// STUB to be replaced
use serde::{Deserialize, Serialize};
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    Vm,
    Container,
    BareMetal,
    Offline,
    Unknown,
}
#[derive(Debug, Clone, Serialize)]
pub struct Link {
    pub name: String,
    pub mac: String,
}
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub place: Place,
    pub smbios_uuid: Option<String>,
    pub smbios_serial: Option<String>,
    pub links: Vec<Link>,
}
impl Machine {
    pub fn offline() -> Machine {
        Machine { place: Place::Offline, smbios_uuid: None, smbios_serial: None, links: vec![] }
    }
    pub fn of_running_system() -> Machine {
        Machine { place: Place::Vm, ..Machine::offline() }
    }
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::default()
    }
    pub fn describe(&self) -> String {
        String::new()
    }
}
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    Same,
    Other,
    Unreadable,
}
impl Fingerprint {
    pub fn compare(&self, _: &Fingerprint) -> Likeness {
        Likeness::Unreadable
    }
}
